//! A client of HTTP/1.1 that does no more than a test needs: requests one after the other over one
//! connection, answers with a length. A load run must spend its time in the server, not here.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header lines as they came.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// A header's value, if it is there.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (other, value) = line.split_once(':')?;
            other.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A request in bytes, ready to be sent any number of times.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

impl Connection {
    /// Connects.
    pub async fn open(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; 16 << 10],
            filled: 0,
        })
    }

    /// Sends a request and reads its answer.
    pub async fn send(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.exchange(request, |status, head, body| Answer {
            status,
            head: String::from_utf8_lossy(head).into_owned(),
            body: body.to_vec(),
        })
        .await
    }

    /// Sends a request and reads its answer without keeping it; gives the status.
    pub async fn send_for_status(&mut self, request: &[u8]) -> io::Result<u16> {
        self.exchange(request, |status, _, _| status).await
    }

    async fn exchange<T>(
        &mut self,
        request: &[u8],
        take: impl FnOnce(u16, &[u8], &[u8]) -> T,
    ) -> io::Result<T> {
        self.stream.write_all(request).await?;
        loop {
            if let Some((head, length)) = self.head()? {
                let whole = head + length;
                if self.buffer.len() < whole {
                    self.buffer.resize(whole, 0);
                }
                while self.filled < whole {
                    self.fill().await?;
                }
                let status = std::str::from_utf8(&self.buffer[9..12])
                    .ok()
                    .and_then(|text| text.parse().ok())
                    .ok_or_else(|| io::Error::other("no status"))?;
                let taken = take(status, &self.buffer[..head], &self.buffer[head..whole]);
                self.buffer.copy_within(whole..self.filled, 0);
                self.filled -= whole;
                return Ok(taken);
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let read = self.stream.read(&mut self.buffer[self.filled..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.filled += read;
        Ok(())
    }

    /// Where the head ends and how long the body is, once the head is there.
    fn head(&self) -> io::Result<Option<(usize, usize)>> {
        let filled = &self.buffer[..self.filled];
        let Some(end) = filled.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = std::str::from_utf8(&filled[..end]).map_err(io::Error::other)?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            if !name.eq_ignore_ascii_case("content-length") {
                return None;
            }
            value.trim().parse().ok()
        });
        // An answer without a length has no body here: 204, or a refusal.
        Ok(Some((end + 4, length.unwrap_or(0))))
    }
}

/// One request on a connection of its own.
pub async fn send(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Answer> {
    Connection::open(addr)
        .await?
        .send(&request(method, path, headers, body))
        .await
}
