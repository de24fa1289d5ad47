//! One request over HTTP to a target, and its answer.

use std::time::Duration;

use bytes::Bytes;
use dsm_core::provider::{CALL_SECONDS, Options, ProviderError};
use http::header::HOST;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::outcome::unclear;
use crate::place::Place;
use crate::tls;

/// How long it may take until a request can be sent. Less than a call, so that a target that does not
/// answer at all is known to have changed nothing.
const CONNECT: Duration = Duration::from_secs(5);

/// The usual ports of a target: with TLS, and without.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) tls: u16,
    pub(crate) plain: u16,
}

impl Ports {
    /// Those of the web.
    pub(crate) const WEB: Self = Self {
        tls: 443,
        plain: 80,
    };
}

/// Where requests go.
#[derive(Debug)]
pub(crate) struct Endpoint<'a> {
    place: Place,
    ports: Ports,
    options: &'a Options,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// No answer came back.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// The request was not sent.
    Unsent(ProviderError),
    /// It may have been.
    Lost(String),
}

impl NoAnswer {
    /// What that means for a request that `changes` something or not.
    pub(crate) fn of(self, changes: bool) -> ProviderError {
        match self {
            Self::Unsent(error) => error,
            Self::Lost(message) => unclear(changes, message),
        }
    }
}

impl<'a> Endpoint<'a> {
    /// The endpoint at an address.
    ///
    /// # Errors
    ///
    /// [`ProviderError::Refused`] for what is no address.
    pub(crate) fn new(
        address: &str,
        ports: Ports,
        options: &'a Options,
    ) -> Result<Self, ProviderError> {
        let wrong = |why| ProviderError::Refused(format!("the address of the target {why}"));
        Ok(Self {
            place: address.parse().map_err(wrong)?,
            ports,
            options,
        })
    }

    /// `https://HOST:PORT`, the port only where it is not the usual one.
    #[cfg(feature = "aws-iam")]
    pub(crate) fn origin(&self) -> Result<String, ProviderError> {
        let scheme = match tls::mode(&self.place, self.options)? {
            tls::Mode::VerifyFull => "https",
            tls::Mode::Off => "http",
        };
        Ok(format!("{scheme}://{}", self.authority()?))
    }

    /// `HOST:PORT` as the header `host` has it.
    pub(crate) fn authority(&self) -> Result<String, ProviderError> {
        let host = self.place.host();
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_ascii_lowercase()
        };
        let port = self.port()?;
        let usual = match tls::mode(&self.place, self.options)? {
            tls::Mode::VerifyFull => Ports::WEB.tls,
            tls::Mode::Off => Ports::WEB.plain,
        };
        Ok(if port == usual {
            host
        } else {
            format!("{host}:{port}")
        })
    }

    fn port(&self) -> Result<u16, ProviderError> {
        let usual = match tls::mode(&self.place, self.options)? {
            tls::Mode::VerifyFull => self.ports.tls,
            tls::Mode::Off => self.ports.plain,
        };
        Ok(self.place.port_or(usual))
    }

    /// Sends one request over a connection of its own. No redirect is followed.
    pub(crate) async fn ask(&self, mut request: Request<Bytes>) -> Result<Answer, NoAnswer> {
        let mut sent = false;
        let within = Duration::from_secs(CALL_SECONDS);
        let exchange = async {
            let authority = self.authority().map_err(NoAnswer::Unsent)?;
            let host = HeaderValue::try_from(authority).map_err(unsent)?;
            request.headers_mut().entry(HOST).or_insert(host);
            let request = request.map(Full::new);
            let opened = tokio::time::timeout(CONNECT, self.open());
            let late = |_| unsent(format!("no connection within {} s", CONNECT.as_secs()));
            let stream = opened.await.map_err(late)??;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
                .await
                .map_err(unsent)?;
            // Ends with this call, whatever it is waiting for.
            let mut driving = JoinSet::new();
            driving.spawn(connection);
            sent = true;
            let answer = sender.send_request(request).await.map_err(lost)?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, dsm_core::provider::MAX_ANSWER);
            let body = body.collect().await.map_err(lost)?.to_bytes();
            let status = head.status;
            Ok(Answer { status, body })
        };
        match tokio::time::timeout(within, exchange).await {
            Ok(answer) => answer,
            Err(_) if sent => Err(lost(format!("no answer within {CALL_SECONDS} s"))),
            Err(_) => Err(unsent(format!("no connection within {CALL_SECONDS} s"))),
        }
    }

    async fn open(&self) -> Result<Box<dyn Stream>, NoAnswer> {
        let port = self.port().map_err(NoAnswer::Unsent)?;
        let stream = self.place.connect(port).await.map_err(NoAnswer::Unsent)?;
        let mode = tls::mode(&self.place, self.options).map_err(NoAnswer::Unsent)?;
        if mode == tls::Mode::Off {
            return Ok(Box::new(stream));
        }
        let config = tls::config(self.options).map_err(NoAnswer::Unsent)?;
        let name = ServerName::try_from(self.place.host().to_owned()).map_err(unsent)?;
        let stream = TlsConnector::from(config)
            .connect(name, stream)
            .await
            .map_err(unsent)?;
        Ok(Box::new(stream))
    }
}

/// What HTTP is spoken over.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

fn unsent(why: impl std::fmt::Display) -> NoAnswer {
    NoAnswer::Unsent(ProviderError::Unavailable(why.to_string()))
}

fn lost(why: impl std::fmt::Display) -> NoAnswer {
    NoAnswer::Lost(why.to_string())
}
