//! Where a target is, and connections to nowhere else.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};

use dsm_core::provider::{MAX_ANSWER, ProviderError, check_address};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A host and, where it is given, a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    host: String,
    port: Option<u16>,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || "must be HOST, HOST:PORT or [IPV6]:PORT".to_owned();
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, port) = rest.split_once(']').ok_or_else(form)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| form())?;
            (host, port)
        } else if text.parse::<std::net::Ipv6Addr>().is_ok() {
            (text, "")
        } else {
            let end = text.find(':').unwrap_or(text.len());
            text.split_at(end)
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            None => return Err(form()),
            Some(port) => {
                let number = port.parse::<u16>().ok().filter(|number| *number > 0);
                Some(number.ok_or("its port must be a number from 1 to 65535")?)
            }
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_address = host.parse::<IpAddr>().is_ok();
        if host.is_empty() || host.len() > 253 || !(is_address || host.bytes().all(is_name)) {
            return Err(form());
        }
        if let Ok(address) = host.parse::<IpAddr>() {
            check_address(address).map_err(|error| error.to_string())?;
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)
    }
}

impl Place {
    /// The name or the address, as certificates have it.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The port, or the usual one.
    pub(crate) fn port_or(&self, usual: u16) -> u16 {
        self.port.unwrap_or(usual)
    }

    /// Whether what is sent there does not leave this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }

    /// All addresses that it stands for now, each of them checked.
    ///
    /// # Errors
    ///
    /// [`ProviderError::Unavailable`] when it stands for none, or for one that targets are not
    /// reached at.
    pub(crate) async fn resolve(&self, usual: u16) -> Result<Vec<SocketAddr>, ProviderError> {
        let port = self.port_or(usual);
        let found: Vec<SocketAddr> = if let Ok(address) = self.host.parse::<IpAddr>() {
            vec![SocketAddr::new(address, port)]
        } else {
            let found = tokio::net::lookup_host((self.host.as_str(), port)).await;
            found
                .map_err(|error| self.unreachable(&error.to_string()))?
                .collect()
        };
        if found.is_empty() {
            return Err(self.unreachable("it has no address"));
        }
        // What leaves this machine must not pass for what does not.
        let stays = self.is_loopback();
        for address in &found {
            let address = address.ip();
            check_address(address).map_err(|error| self.unreachable(&error.to_string()))?;
            if stays && !address.to_canonical().is_loopback() {
                return Err(self.unreachable("it is not this machine"));
            }
        }
        Ok(found)
    }

    /// A connection to the first of its addresses that answers.
    ///
    /// # Errors
    ///
    /// [`ProviderError::Unavailable`]: nothing was sent.
    pub(crate) async fn connect(&self, usual: u16) -> Result<TcpBounded, ProviderError> {
        let mut last = None;
        for address in self.resolve(usual).await? {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Answers are awaited one by one; a delay of the last packet is only a delay.
                    let _ = stream.set_nodelay(true);
                    forget_soon(&stream);
                    return Ok(Bounded::new(stream));
                }
                Err(error) => last = Some(error),
            }
        }
        let why = last.map_or_else(|| "it has no address".to_owned(), |error| error.to_string());
        Err(self.unreachable(&why))
    }

    fn unreachable(&self, why: &str) -> ProviderError {
        ProviderError::Unavailable(format!("{self}: {why}"))
    }
}

/// What the network has not delivered by the end of a call shall not be delivered after it.
fn forget_soon(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    {
        let limit = std::time::Duration::from_secs(dsm_core::provider::CALL_SECONDS);
        // Without it, it is only less sure.
        let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(limit));
    }
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
}

/// A connection of which no more is read than an answer may have.
pub(crate) type TcpBounded = Bounded<TcpStream>;

/// A stream of which no more is read than an answer may have.
#[derive(Debug)]
pub(crate) struct Bounded<S> {
    stream: S,
    left: usize,
}

impl<S> Bounded<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            left: MAX_ANSWER,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = buffer.filled().len() - before;
        match self.left.checked_sub(read) {
            Some(left) => {
                self.left = left;
                polled
            }
            None => Poll::Ready(Err(io::Error::other(format!(
                "the target answers with more than {MAX_ANSWER} bytes"
            )))),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    #[test]
    fn a_place_is_a_host_and_a_port() {
        for (text, host, port) in [
            ("db.example.org", "db.example.org", None),
            ("db:5432", "db", Some(5432)),
            ("10.0.0.1:1", "10.0.0.1", Some(1)),
            ("[2001:db8::1]:6379", "2001:db8::1", Some(6379)),
            ("[2001:db8::1]", "2001:db8::1", None),
            ("2001:db8::1", "2001:db8::1", None),
        ] {
            let place: Place = text.parse().unwrap();
            assert_eq!((place.host(), place.port), (host, port), "{text}");
        }
        for text in [
            "",
            ":5432",
            "db:0",
            "db:65536",
            "db:",
            "db:x",
            "user@db",
            "postgres://db",
            "db/x",
            "d b",
            "[::1",
            "[::1]x",
            "[db]:1",
            "169.254.169.254",
            "[::ffff:169.254.169.254]:80",
            "0.0.0.0:1",
        ] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        let is_loopback = |text: &str| text.parse::<Place>().unwrap().is_loopback();
        for near in ["localhost", "LOCALHOST:1", "127.0.0.9", "[::1]:5"] {
            assert!(is_loopback(near), "{near}");
        }
        for far in ["localhost.example.org", "10.0.0.1", "[2001:db8::1]:5"] {
            assert!(!is_loopback(far), "{far}");
        }
    }

    #[tokio::test]
    async fn no_more_is_read_than_an_answer_may_have() {
        let mut endless = Bounded::new(tokio::io::repeat(0));
        let mut buffer = vec![0; MAX_ANSWER];
        endless.read_exact(&mut buffer).await.unwrap();
        assert!(endless.read_u8().await.is_err());
    }
}
