//! What a handler is given and what it gives back.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use dsm_core::access::CertificateDigests;
use dsm_core::audit::Actor;
use dsm_core::oauth1::Scheme;
use futures_util::Stream;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use crate::http::path::Canonical;
use crate::http::router::Pattern;

/// The other end of the connection, as the socket has it.
///
/// Behind a proxy this is the proxy; [`client_ip`](crate::http::client_ip) finds the client.
#[derive(Clone, Debug)]
pub struct Peer {
    addr: SocketAddr,
    certificate: Option<CertificateDigests>,
    scheme: Scheme,
    /// Keeps the connection's place taken while a request of it still runs.
    _held: Option<Arc<OwnedSemaphorePermit>>,
}

impl Peer {
    /// A peer at `addr`, tied to no connection.
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            certificate: None,
            scheme: Scheme::Http,
            _held: None,
        }
    }

    /// A peer whose requests keep `place` taken until they are done.
    pub(crate) fn holding(addr: SocketAddr, place: Arc<OwnedSemaphorePermit>) -> Self {
        Self {
            addr,
            certificate: None,
            scheme: Scheme::Http,
            _held: Some(place),
        }
    }

    /// The same peer, which has proved to hold `certificate`.
    pub fn showing(self, certificate: Option<CertificateDigests>) -> Self {
        Self {
            certificate,
            ..self
        }
    }

    /// The same peer, which speaks TLS to this server.
    #[must_use]
    pub fn over_tls(self) -> Self {
        Self {
            scheme: Scheme::Https,
            ..self
        }
    }

    /// What it speaks to this server.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The certificate of its TLS session.
    pub fn certificate(&self) -> Option<&CertificateDigests> {
        self.certificate.as_ref()
    }

    /// Address and port of the socket.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// A request before its body, taken once from the connection and shared from then on.
///
/// `Debug` shows the method only: path, query and headers may hold secrets.
pub struct Head {
    /// The request's method.
    pub method: Method,
    /// Its target as sent.
    pub uri: Uri,
    /// Its headers.
    pub headers: HeaderMap,
    /// The other end of the connection.
    pub peer: Peer,
    asker: OnceLock<Actor>,
}

impl Head {
    /// A head as it came over the connection of `peer`.
    pub fn new(method: Method, uri: Uri, headers: HeaderMap, peer: Peer) -> Self {
        Self {
            method,
            uri,
            headers,
            peer,
            asker: OnceLock::new(),
        }
    }

    /// Who asks, once they have proved it.
    pub fn asker(&self) -> Option<&Actor> {
        self.asker.get()
    }

    /// Remembers who asks.
    pub(crate) fn identify(&self, asker: Actor) {
        // Tried anew, a write asks again who it is.
        let _ = self.asker.set(asker);
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// Which family of endpoints a path belongs to, and so the shape of its replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Surface {
    /// `/iso/…` and its aliases, and every path that belongs nowhere else.
    Iso,
    /// `/api/v1/…`.
    V1,
    /// Probes, metrics and the description of the interface.
    Health,
}

/// One request that found its route, its body read and within the limit.
///
/// `Debug` shows method and route only: path, query, headers and body may hold secrets.
pub struct Call {
    /// The request before its body.
    pub head: Arc<Head>,
    /// The name of the route that was found.
    pub route: &'static str,
    /// The query string as sent, without the question mark; empty when there is none.
    pub query: String,
    /// The whole body.
    pub body: Bytes,
    pub(crate) path: Canonical,
    pub(crate) pattern: Arc<Pattern>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("method", &self.head.method)
            .field("route", &self.route)
            .finish_non_exhaustive()
    }
}

impl Call {
    /// A request that no route was found for, with its body: for what reads requests outside of a
    /// router, as fuzzing does.
    pub fn unrouted(request: http::Request<Bytes>, peer: Peer) -> Self {
        let (parts, body) = request.into_parts();
        let path = Canonical::of(parts.uri.path());
        Self {
            query: parts.uri.query().unwrap_or_default().to_owned(),
            head: Arc::new(Head::new(parts.method, parts.uri, parts.headers, peer)),
            route: "none",
            body,
            path,
            pattern: Arc::default(),
        }
    }

    /// The request's method.
    pub fn method(&self) -> &Method {
        &self.head.method
    }

    /// The request's headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The path exactly as the client sent it, which is what a request signature covers.
    pub fn sent_path(&self) -> &str {
        self.head.uri.path()
    }

    /// The query exactly as the client sent it, without the question mark.
    pub fn query_as_sent(&self) -> &str {
        self.head.uri.query().unwrap_or_default()
    }

    /// The path parameter `name`, case and percent-encoding as sent; a tail may contain slashes.
    ///
    /// `None` when the route's pattern has no such parameter.
    pub fn raw_param(&self, name: &str) -> Option<&str> {
        self.pattern.param(self.path.as_str(), name)
    }

    /// The path parameter `name`, percent-decoded once.
    ///
    /// `None` when the route has no such parameter or its bytes are not UTF-8.
    pub fn param(&self, name: &str) -> Option<Cow<'_, str>> {
        percent_decode_str(self.raw_param(name)?).decode_utf8().ok()
    }

    /// The header `name` when it is sent once and is visible ASCII.
    pub fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        let mut values = self.headers().get_all(name).iter();
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        value.to_str().ok()
    }

    /// The media type of the body in lower case and without parameters; `None` without a header.
    pub fn media_type(&self) -> Option<String> {
        let value = self.headers().get(CONTENT_TYPE)?;
        let text = value.to_str().unwrap_or_default();
        let essence = text.split(';').next().unwrap_or_default();
        Some(essence.trim().to_ascii_lowercase())
    }
}

/// The token of a header `Authorization`
/// ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)).
pub fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The chunks of a body that is made while it is sent.
pub type ReplyStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send + Sync>>;

/// The body of a [`Reply`].
pub enum Payload {
    /// All of it.
    Bytes(Bytes),
    /// Chunk by chunk; an error ends the connection, so that the client sees it is incomplete.
    Stream(ReplyStream),
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes(_) => "Bytes",
            Self::Stream(_) => "Stream",
        })
    }
}

/// What a handler answers. `Debug` shows the status only.
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers beside those that every response carries.
    pub headers: HeaderMap,
    /// The body.
    pub body: Payload,
    failure: Option<Box<str>>,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl Reply {
    /// A reply without a body.
    pub fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: Payload::Bytes(Bytes::new()),
            failure: None,
        }
    }

    /// A reply of `body` as `content_type`.
    pub fn bytes(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut reply = Self::empty(status);
        reply.body = Payload::Bytes(body.into());
        reply.header(CONTENT_TYPE, HeaderValue::from_static(content_type))
    }

    /// A reply of `body` as `application/json`.
    ///
    /// # Panics
    ///
    /// When `body` does not serialise: a map with keys that are not text.
    pub fn json(status: StatusCode, body: &impl Serialize) -> Self {
        Self::json_as(status, "application/json", body)
    }

    /// A reply of `body` as JSON under another media type, such as `application/problem+json`.
    ///
    /// # Panics
    ///
    /// As [`Reply::json`].
    pub fn json_as(status: StatusCode, content_type: &'static str, body: &impl Serialize) -> Self {
        // Most replies fit; what is moved while it grows leaves copies of itself behind.
        let mut json = Vec::with_capacity(1024);
        serde_json::to_writer(&mut json, body).expect("replies are structs with text keys");
        Self::bytes(status, content_type, json)
    }

    /// A reply whose body is made while it is sent.
    pub fn stream(
        status: StatusCode,
        content_type: &'static str,
        chunks: impl Stream<Item = io::Result<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        let mut reply = Self::empty(status);
        reply.body = Payload::Stream(Box::pin(chunks));
        reply.header(CONTENT_TYPE, HeaderValue::from_static(content_type))
    }

    /// The same reply with `name` set to `value`.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// The same reply as that to a failure, told for the log without any value.
    pub(crate) fn because(mut self, failure: String) -> Self {
        self.failure = Some(failure.into());
        self
    }

    /// Why it is a failure, for the log.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// The body of a reply that is not a stream.
    pub fn body_bytes(&self) -> Option<&Bytes> {
        match &self.body {
            Payload::Bytes(bytes) => Some(bytes),
            Payload::Stream(_) => None,
        }
    }
}

impl warp::Reply for Reply {
    fn into_response(self) -> warp::reply::Response {
        let mut response = match self.body {
            Payload::Bytes(bytes) => warp::reply::Response::new(bytes.into()),
            Payload::Stream(chunks) => warp::reply::stream(chunks).into_response(),
        };
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}
