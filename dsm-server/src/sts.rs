//! The STS endpoint over HTTP: the one request that goes out from here to AWS.
//!
//! It goes to the configured endpoint and nowhere else: no redirect is followed, no proxy is asked,
//! the address that the name resolves to is checked and is the one connected to, and both the time and
//! the length of the answer are bounded.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dsm_core::aws::{Arn, IdentityRequest, Sts, StsError};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// How long an answer may take, from resolving the name to the end of the body.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The longest answer, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;
/// How many requests are on their way at a time. Further ones wait, within the same time.
const AT_A_TIME: usize = 16;

/// Where STS is: `https://HOST[:PORT]`, or `http` on loopback for tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsUrl {
    https: bool,
    host: String,
    port: u16,
    authority: String,
}

impl FromStr for StsUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let message = "must be https://HOST, such as https://sts.eu-west-1.amazonaws.com";
        let uri: Uri = text.parse().map_err(|_| message)?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(message),
        };
        let authority = uri.authority().ok_or(message)?.as_str();
        let bare = authority.contains('@') || uri.query().is_some() || uri.path() != "/";
        let host = uri.host().ok_or(message)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if bare || host.is_empty() {
            return Err(message);
        }
        let is_loopback = host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        if !https && !is_loopback {
            return Err("must be https://HOST; plain HTTP goes to a loopback address only");
        }
        Ok(Self {
            https,
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(if https { 443 } else { 80 }),
            authority: authority.to_ascii_lowercase(),
        })
    }
}

impl fmt::Display for StsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

/// The endpoint.
pub struct StsEndpoint {
    url: StsUrl,
    tls: TlsConnector,
    places: Semaphore,
}

impl fmt::Debug for StsEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StsEndpoint")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl StsEndpoint {
    /// The endpoint at `url`, which has to prove who it is by the system's certificate authorities.
    ///
    /// # Panics
    ///
    /// Never: the cryptographic provider that is compiled in speaks the default versions.
    pub fn new(url: StsUrl) -> Self {
        let mut roots = RootCertStore::empty();
        if url.https {
            let loaded = rustls_native_certs::load_native_certs();
            let (added, _) = roots.add_parsable_certificates(loaded.certs);
            if added == 0 {
                tracing::error!("the system has no certificate authorities: STS is not trusted");
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring speaks the default versions of TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            url,
            tls: TlsConnector::from(Arc::new(config)),
            places: Semaphore::new(AT_A_TIME),
        }
    }

    async fn exchange(&self, request: &IdentityRequest) -> Result<(StatusCode, Bytes), StsError> {
        let _place = self.places.acquire().await.map_err(unavailable)?;
        let request = outgoing(request).map_err(unavailable)?;
        let stream = TcpStream::connect(self.address().await?)
            .await
            .map_err(unavailable)?;
        if !self.url.https {
            return talk(stream, request).await;
        }
        let name = ServerName::try_from(self.url.host.clone()).map_err(unavailable)?;
        let stream = self.tls.connect(name, stream).await.map_err(unavailable)?;
        talk(stream, request).await
    }

    /// The address to connect to: one that the name resolves to, and none of the machine's own or of
    /// its neighbourhood, where metadata services answer.
    async fn address(&self) -> Result<SocketAddr, StsError> {
        let wanted = (self.url.host.as_str(), self.url.port);
        let mut found = tokio::net::lookup_host(wanted).await.map_err(unavailable)?;
        found
            .find(|address| is_allowed(address.ip(), self.url.https))
            .ok_or_else(|| unavailable("its name resolves to no address that may be asked"))
    }
}

#[async_trait]
impl Sts for StsEndpoint {
    fn authority(&self) -> &str {
        &self.url.authority
    }

    async fn caller_identity(&self, request: &IdentityRequest) -> Result<Arn, StsError> {
        let exchange = tokio::time::timeout(ANSWER_WITHIN, self.exchange(request));
        let late = |_| unavailable(format!("nothing within {} s", ANSWER_WITHIN.as_secs()));
        let (status, body) = exchange.await.map_err(late)??;
        match status {
            StatusCode::OK => arn_in(&body),
            status if status.is_client_error() => Err(StsError::Refused(code_in(&body, status))),
            // Redirections among them.
            status => Err(unavailable(format!("status {}", status.as_u16()))),
        }
    }
}

/// Whether the endpoint may be there: a service of AWS in the world, one for tests on loopback.
fn is_allowed(ip: IpAddr, https: bool) -> bool {
    let ip = ip.to_canonical();
    if !https {
        return ip.is_loopback();
    }
    let local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        // The metadata service of EC2 over IPv6 is fd00:ec2::254.
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.segments()[..2] == [0xfd00, 0x0ec2],
    };
    !(local || ip.is_unspecified() || ip.is_multicast() || ip.is_loopback())
}

fn outgoing(request: &IdentityRequest) -> http::Result<Request<Full<Bytes>>> {
    let mut outgoing = Request::post("/");
    for (name, value) in request.headers() {
        outgoing = outgoing.header(name, value);
    }
    outgoing.body(Full::new(Bytes::copy_from_slice(request.body().as_bytes())))
}

/// One request and its answer over a connection of its own.
async fn talk<S>(stream: S, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), StsError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(unavailable)?;
    // Ends with this function, whatever it is waiting for.
    let mut driving = JoinSet::new();
    driving.spawn(connection);
    let answer = sender.send_request(request).await.map_err(unavailable)?;
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect();
    let body = body.await.map_err(unavailable)?.to_bytes();
    Ok((head.status, body))
}

fn unavailable(error: impl fmt::Display) -> StsError {
    StsError::Unavailable(error.to_string())
}

/// Who AWS says it was.
fn arn_in(body: &[u8]) -> Result<Arn, StsError> {
    let unreadable = || unavailable("its answer has no ARN");
    let text = std::str::from_utf8(body).map_err(|_| unreadable())?;
    let document = roxmltree::Document::parse(text).map_err(|_| unreadable())?;
    let root = document.root_element();
    let child = |node: roxmltree::Node<'_, '_>, name: &str| {
        let mut children = node.children();
        children
            .find(|child| child.tag_name().name() == name)
            .map(|child| child.id())
    };
    if root.tag_name().name() != "GetCallerIdentityResponse" {
        return Err(unreadable());
    }
    let arn = child(root, "GetCallerIdentityResult")
        .and_then(|id| document.get_node(id))
        .and_then(|result| child(result, "Arn"))
        .and_then(|id| document.get_node(id))
        .and_then(|arn| arn.text().map(str::trim).map(str::to_owned));
    arn.and_then(|arn| arn.parse().ok()).ok_or_else(unreadable)
}

/// Why AWS refused: its code if it is one, else the status.
fn code_in(body: &[u8], status: StatusCode) -> String {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let document = roxmltree::Document::parse(text).ok();
    let code = document.as_ref().and_then(|document| {
        let mut nodes = document.descendants();
        nodes.find(|node| node.tag_name().name() == "Code")?.text()
    });
    // It goes to the trail: nothing but the characters of a code.
    let is_code = |code: &&str| code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric());
    match code.filter(is_code) {
        Some(code) => format!("{code} (status {})", status.as_u16()),
        None => format!("status {}", status.as_u16()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
        <GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/ann</Arn>\
        <UserId>AIDA</UserId><Account>123456789012</Account></GetCallerIdentityResult>\
        <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetCallerIdentityResponse>";

    #[test]
    fn the_endpoint_is_https_or_on_loopback() {
        for (text, shown, port) in [
            (
                "https://sts.amazonaws.com",
                "https://sts.amazonaws.com",
                443,
            ),
            (
                "https://STS.eu-west-1.amazonaws.com/",
                "https://sts.eu-west-1.amazonaws.com",
                443,
            ),
            (
                "https://vpce.example:8443",
                "https://vpce.example:8443",
                8443,
            ),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5000", 5000),
            ("http://[::1]:5000", "http://[::1]:5000", 5000),
        ] {
            let url: StsUrl = text.parse().expect(text);
            assert_eq!((url.to_string().as_str(), url.port), (shown, port));
        }
        for text in [
            "",
            "sts.amazonaws.com",
            "ftp://sts.amazonaws.com",
            "http://sts.amazonaws.com",
            "http://localhost:5000",
            "https://me@sts.amazonaws.com",
            "https://sts.amazonaws.com/path",
            "https://sts.amazonaws.com/?a=b",
        ] {
            assert!(text.parse::<StsUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn no_neighbour_is_asked() {
        for (ip, https, allowed) in [
            ("52.94.0.1", true, true),
            ("10.0.0.1", true, true),
            ("2600::1", true, true),
            ("169.254.169.254", true, false),
            ("::ffff:169.254.169.254", true, false),
            ("fe80::1", true, false),
            ("fd00:ec2::254", true, false),
            ("0.0.0.0", true, false),
            ("127.0.0.1", true, false),
            ("224.0.0.1", true, false),
            ("127.0.0.1", false, true),
            ("10.0.0.1", false, false),
        ] {
            assert_eq!(is_allowed(ip.parse().expect(ip), https), allowed, "{ip}");
        }
    }

    #[test]
    fn an_identity_is_read_from_where_it_stands() {
        let arn = arn_in(ANSWER.as_bytes()).expect("an ARN");
        assert_eq!(arn.to_string(), "arn:aws:iam::123456789012:user/ann");
        for wrong in [
            String::new(),
            "{}".to_owned(),
            ANSWER.replace("GetCallerIdentityResponse", "Other"),
            ANSWER.replace("GetCallerIdentityResult", "Other"),
            ANSWER.replace("arn:aws:iam::123456789012:user/ann", "arn:aws:iam::1:*"),
            ANSWER.replace("Arn>", "Ann>"),
            ANSWER[..ANSWER.len() - 1].to_owned(),
        ] {
            assert!(arn_in(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(arn_in(b"\xff").is_err());
    }

    #[test]
    fn a_refusal_is_named_by_its_code() {
        let body =
            b"<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code></Error></ErrorResponse>";
        let named = code_in(body, StatusCode::FORBIDDEN);
        assert_eq!(named, "SignatureDoesNotMatch (status 403)");
        let body = b"<Error><Code>a b\nc</Code></Error>";
        assert_eq!(code_in(body, StatusCode::FORBIDDEN), "status 403");
        assert_eq!(code_in(b"", StatusCode::BAD_REQUEST), "status 400");
    }
}
