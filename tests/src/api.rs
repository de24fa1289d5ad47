//! Requests with a bearer token, and what they look like on each surface.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{self, Answer};
use crate::server::Server;

/// Longer than a server may take for anything; no answer by then is a failure.
const PATIENCE: Duration = Duration::from_secs(30);

/// Somebody who asks a server with a token.
#[derive(Debug, Clone)]
pub struct Bearer {
    addr: SocketAddr,
    bearer: String,
}

impl Bearer {
    /// Whoever has this token.
    pub fn new(server: &Server, token: &str) -> Self {
        Self {
            addr: server.addr(),
            bearer: format!("Bearer {token}"),
        }
    }

    /// The operator of the server's example.
    pub fn operator(server: &Server) -> Self {
        Self::new(server, &server.printed.operator_token)
    }

    /// The application of the server's example.
    pub async fn application(server: &Server) -> io::Result<Self> {
        Ok(Self::new(server, &server.token().await?))
    }

    /// The same, asking another server.
    pub fn at(&self, server: &Server) -> Self {
        Self {
            addr: server.addr(),
            bearer: self.bearer.clone(),
        }
    }

    /// Asks, with a body or without.
    ///
    /// # Errors
    ///
    /// Without an answer.
    pub async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> io::Result<Answer> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut headers = vec![("Authorization", self.bearer.as_str())];
        if !body.is_empty() {
            headers.push(("Content-Type", "application/json"));
        }
        let sent = client::send(self.addr, method, path, &headers, body.as_bytes());
        tokio::time::timeout(PATIENCE, sent)
            .await
            .map_err(io::Error::other)?
    }

    /// Asks and takes the body of an answer with this status.
    ///
    /// # Panics
    ///
    /// At any other answer.
    pub async fn gives(&self, status: u16, method: &str, path: &str, body: Option<Value>) -> Value {
        let answer = self.ask(method, path, body.as_ref()).await;
        let answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let shown = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, status, "{method} {path}: {shown}");
        answer.json()
    }

    /// A `GET` that is answered with 200.
    pub async fn get(&self, path: &str) -> Value {
        self.gives(200, "GET", path, None).await
    }

    /// A `POST` that makes something.
    pub async fn make(&self, path: &str, body: Value) -> Value {
        self.gives(201, "POST", path, Some(body)).await
    }

    /// The value of `KEY` in a secret, if an application finds it.
    ///
    /// # Errors
    ///
    /// Without an answer that says whether it is there.
    ///
    /// # Panics
    ///
    /// When the secret is there without the value.
    pub async fn value(&self, identity: &str) -> io::Result<Option<String>> {
        let path = format!("/iso/sctm/secret/{identity}");
        let answer = self.ask("GET", &path, None).await?;
        match answer.status {
            200 => {
                let value = answer.json()["secret"]["data"][0]["KEY"]
                    .as_str()
                    .map(str::to_owned);
                assert!(value.is_some(), "{identity} is there without its value");
                Ok(value)
            }
            404 => Ok(None),
            _ => Err(io::Error::other(format!("{identity}: {answer:?}"))),
        }
    }

    /// Writes a secret with this value of `KEY`, as an application.
    ///
    /// # Errors
    ///
    /// Without an answer.
    pub async fn write(&self, identity: &str, value: &str) -> io::Result<Answer> {
        let path = "/iso/sctm/secret";
        self.ask("POST", path, Some(&secret(identity, value))).await
    }
}

/// A secret with one value, called `KEY`, for either surface.
pub fn secret(identity: &str, value: &str) -> Value {
    json!({
        "identity": identity, "name": identity,
        "data": {"key_value": {"fields": {"KEY": value}}},
    })
}

/// Whether it is a refusal of `/iso` that says the service is unavailable, in the shape that its
/// clients read.
pub fn is_unavailable(answer: &Answer) -> bool {
    let body = answer.json();
    let response = &body["response"];
    answer.status == 503
        && body["code"] == 503
        && response["status"] == 503
        && response["error"] == true
        && response["erro"] == true
        && response["message"].is_string()
        && response["mensagem"] == response["message"]
}

/// Asks until it is so.
///
/// # Panics
///
/// When it is not within the time.
pub async fn eventually(what: &str, within: Duration, mut so: impl AsyncFnMut() -> bool) {
    let started = std::time::Instant::now();
    while !so().await {
        assert!(started.elapsed() < within, "{what}: not within {within:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
