//! One request and its answer.

use std::net::IpAddr;

use bytes::Bytes;
use dsm_server::http::call::Surface;
use serde_json::Value;
use warp::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::world::{CLIENT, REFERRER};

/// How everything begins that no answer shows unasked: values of secrets and keys of this vault,
/// then client secrets, tokens and private keys.
const SENSITIVE: [&str; 8] = [
    "canary-",
    "dsm_cs_",
    "dsm_at_",
    "dsm_op_",
    "dsm_os_",
    "dsm_ts_",
    "dsm_uk_",
    "PRIVATE KEY-----",
];

/// A request on its way.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) from: IpAddr,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Ask {
    /// From the client's address with the right referrer, without credentials.
    pub(crate) fn new(method: &Method, path: impl Into<String>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("referer", HeaderValue::from_static(REFERRER));
        Self {
            method: method.clone(),
            path: path.into(),
            headers,
            body: Bytes::new(),
            from: CLIENT,
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("a header's value");
        self.headers.insert(HeaderName::from_static(name), value);
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn raw(self, content_type: &str, body: impl Into<Bytes>) -> Self {
        let mut ask = self.header("content-type", content_type);
        ask.body = body.into();
        ask
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.raw("application/json", body.to_string())
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Whether a value, key, client secret or token is in it.
    pub(crate) fn is_sensitive(&self) -> bool {
        let holds = |bytes: &[u8]| {
            let found = |start: &str| {
                bytes
                    .windows(start.len())
                    .any(|part| part == start.as_bytes())
            };
            SENSITIVE.iter().any(|start| found(start))
        };
        holds(&self.body) || self.headers.values().any(|value| holds(value.as_bytes()))
    }

    /// What is not as `surface` answers; nothing when all is.
    pub(crate) fn misshapen(&self, surface: Surface) -> Option<&'static str> {
        match surface {
            Surface::V1 => self.misshapen_v1(),
            Surface::Iso => self.misshapen_iso(),
            Surface::Health => None,
        }
    }

    fn misshapen_iso(&self) -> Option<&'static str> {
        let body = self.json();
        let (status, failed) = (self.status.as_u16(), self.status.as_u16() >= 400);
        let response = &body["response"];
        let text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
        let rules = [
            (
                "content type",
                self.headers["content-type"] == "application/json",
            ),
            ("code", body["code"] == status),
            ("status", response["status"] == status),
            (
                "error",
                response["error"] == failed && response["erro"] == failed,
            ),
            (
                "message",
                text(&response["message"]) && response["mensagem"] == response["message"],
            ),
            ("detail", response["detail"].is_string()),
            (
                "error_code",
                response["error_code"]
                    .as_u64()
                    .is_some_and(|code| (code > 0) == failed)
                    && response["cod_erro"] == response["error_code"],
            ),
            (
                "members",
                response
                    .as_object()
                    .is_some_and(|members| members.len() == 8),
            ),
            // What clients read as text is text or is not there.
            (
                "top level",
                ["id", "message", "error"]
                    .iter()
                    .all(|name| body.get(name).is_none_or(Value::is_string)),
            ),
            ("top message", !failed || text(&body["message"])),
            (
                "challenge",
                status != 401
                    || body["error"] == "invalid_client"
                    || self
                        .headers
                        .get("www-authenticate")
                        .is_some_and(|value| value == "Bearer"),
            ),
        ];
        rules
            .iter()
            .find(|(_, holds)| !holds)
            .map(|(name, _)| *name)
    }

    fn misshapen_v1(&self) -> Option<&'static str> {
        let status = self.status.as_u16();
        if status < 400 {
            return None;
        }
        let body = self.json();
        let members = body.as_object();
        let text = |name| {
            body[name]
                .as_str()
                .is_some_and(|text: &str| !text.is_empty())
        };
        let rules = [
            (
                "content type",
                self.headers["content-type"] == "application/problem+json",
            ),
            (
                "members",
                members.is_some_and(|all| {
                    all.keys()
                        .eq(["detail", "errors", "status", "title", "type"])
                }),
            ),
            ("status", body["status"] == status),
            ("texts", text("type") && text("title") && text("detail")),
            (
                "errors",
                body["errors"].as_array().is_some_and(|errors| {
                    errors
                        .iter()
                        .all(|error| error["field"].is_string() && error["message"].is_string())
                }),
            ),
            (
                "challenge",
                status != 401
                    || self
                        .headers
                        .get("www-authenticate")
                        .is_some_and(|value| value == "Bearer"),
            ),
        ];
        rules
            .iter()
            .find(|(_, holds)| !holds)
            .map(|(name, _)| *name)
    }
}
