//! A request to a receiver: how it is signed, and what its answer means.

use bytes::Bytes;
use data_encoding::HEXLOWER;
use dsm_core::provider::{Options, Proof, ProviderError, Target};
use dsm_core::time::Timestamp;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::PATH;
use crate::http::{Answer, Endpoint, Ports};
use crate::outcome::unclear;

/// What a signature is about.
#[derive(Debug, Clone, Copy)]
pub struct SignedParts<'a> {
    /// The value of the header `host`.
    pub host: &'a str,
    /// The path of the request.
    pub path: &'a str,
    /// Seconds since 1970.
    pub timestamp: i64,
    /// The value of the header `dsm-nonce`.
    pub nonce: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// The value of the header `dsm-signature`. Who checks one compares in constant time.
///
/// # Panics
///
/// Never: HMAC takes keys of any length.
pub fn signature(key: &[u8], parts: &SignedParts<'_>) -> String {
    let body = HEXLOWER.encode(&Sha256::digest(parts.body));
    let SignedParts {
        host,
        path,
        timestamp,
        nonce,
        ..
    } = parts;
    let text = format!("v1\nPOST\n{host}\n{path}\n{timestamp}\n{nonce}\n{body}");
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    format!("v1={}", HEXLOWER.encode(&mac.finalize().into_bytes()))
}

/// A path as a request has it.
pub(super) fn path(text: &str) -> Result<String, String> {
    let may_be = |byte: u8| byte.is_ascii_graphic() && !b"?#\\".contains(&byte);
    if !text.starts_with('/') || text.len() > 1_024 || !text.bytes().all(may_be) {
        return Err("must be a path such as /hooks/dsm, without a query".to_owned());
    }
    Ok(text.to_owned())
}

fn path_of(options: &Options) -> &str {
    options.get(PATH).map_or("/", String::as_str)
}

/// One request.
pub(super) struct Request<'a> {
    pub(super) target: &'a Target,
    pub(super) operation: &'static str,
    pub(super) fields: Value,
    pub(super) at: Timestamp,
    pub(super) nonce: [u8; 16],
}

/// Whether an operation changes something.
fn changes(operation: &str) -> bool {
    !matches!(
        operation,
        "test" | "log_in" | "log_in_with_key" | "list_keys" | "list_accounts"
    )
}

/// An answer without a field that it has to have.
pub(super) fn nonsense(operation: &str, field: &str) -> ProviderError {
    let message = format!("the answer to {operation} has no such `{field}` as it should");
    unclear(changes(operation), message)
}

impl Request<'_> {
    /// Sends it; gives the fields of its answer.
    pub(super) async fn send(mut self) -> Result<Map<String, Value>, ProviderError> {
        let refused = |error: String| ProviderError::Refused(error);
        let Proof::Password(key) = &self.target.admin.proof else {
            let wrong = "the admin of a receiver is a key for signatures, as a password";
            return Err(refused(wrong.to_owned()));
        };
        let options = &self.target.options;
        let endpoint = Endpoint::new(&self.target.address, Ports::WEB, options)?;
        self.fields["operation"] = self.operation.into();
        let body = self.fields.to_string();
        let host = endpoint.authority()?;
        let nonce = HEXLOWER.encode(&self.nonce);
        let timestamp = self.at.timestamp();
        let parts = SignedParts {
            host: &host,
            path: path_of(options),
            timestamp,
            nonce: &nonce,
            body: body.as_bytes(),
        };
        let signed = signature(key.expose().as_bytes(), &parts);
        let name = HeaderValue::from_str(&self.target.admin.user)
            .map_err(|_| refused("the name of the key is no value of a header".to_owned()))?;
        let request = http::Request::post(path_of(options))
            .header(CONTENT_TYPE, "application/json")
            .header("dsm-key", name)
            .header("dsm-timestamp", timestamp)
            .header("dsm-nonce", nonce)
            .header("dsm-signature", signed)
            .body(Bytes::from(body))
            .map_err(|error| refused(error.to_string()))?;
        let answer = endpoint.ask(request).await;
        let answer = answer.map_err(|none| none.of(changes(self.operation)))?;
        read(&answer, self.operation)
    }
}

/// What an answer means.
fn read(answer: &Answer, operation: &str) -> Result<Map<String, Value>, ProviderError> {
    let status = answer.status;
    let fields = match serde_json::from_slice(&answer.body) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let said = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
    if status == StatusCode::OK && fields.get("done") == Some(&Value::Bool(true)) {
        return Ok(fields);
    }
    if status.is_client_error()
        && let Some(why) = said("refused")
    {
        return Err(ProviderError::Refused(why));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE
        && let Some(why) = said("unavailable")
    {
        return Err(ProviderError::Unavailable(why));
    }
    let message = format!("status {} without a word of the receiver", status.as_u16());
    Err(unclear(changes(operation), message))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `openssl dgst` from the lines of the documentation.
    #[test]
    fn a_signature_is_the_one_of_the_documentation() {
        let parts = SignedParts {
            host: "hooks.example.org",
            path: "/dsm",
            timestamp: 1_764_000_000,
            nonce: "000102030405060708090a0b0c0d0e0f",
            body: br#"{"operation":"test"}"#,
        };
        assert_eq!(
            signature(b"key-of-both-sides", &parts),
            "v1=136efbd4786989ef989093e9f90ab13223a172b6de07f41975dd750f72a5a160"
        );
        let other = SignedParts {
            host: "hooks.example.com",
            ..parts
        };
        assert_ne!(
            signature(b"key-of-both-sides", &parts),
            signature(b"key-of-both-sides", &other)
        );
    }

    #[test]
    fn what_is_not_said_is_not_known() {
        let meant = |status: u16, body: &'static str, operation| {
            let answer = Answer {
                status: StatusCode::from_u16(status).unwrap(),
                body: Bytes::from_static(body.as_bytes()),
            };
            read(&answer, operation)
        };
        assert!(meant(200, r#"{"done":true}"#, "drop_account").is_ok());
        let no = r#"{"refused":"no"}"#;
        let refused = ProviderError::Refused("no".to_owned());
        assert_eq!(meant(422, no, "drop_account"), Err(refused));
        let later = r#"{"unavailable":"later"}"#;
        let unavailable = ProviderError::Unavailable("later".to_owned());
        assert_eq!(meant(503, later, "drop_account"), Err(unavailable));
        for (status, body) in [
            (200, "{}"),
            (200, r#"{"done":"true"}"#),
            (201, r#"{"done":true}"#),
            (302, ""),
            (404, "<h1>Not found</h1>"),
            (500, no),
            (503, "busy"),
        ] {
            let change = meant(status, body, "drop_account");
            assert!(
                matches!(change, Err(ProviderError::OutcomeUnknown(_))),
                "{body}"
            );
            let question = meant(status, body, "log_in");
            assert!(
                matches!(question, Err(ProviderError::Unavailable(_))),
                "{body}"
            );
        }
    }
}
