//! `POST /iso/oauth2/token`: the client credentials grant
//! ([RFC 6749, section 4.4](https://www.rfc-editor.org/rfc/rfc6749#section-4.4)).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dsm_core::audit::Operation;
use dsm_core::secret::SecretText;
use dsm_core::vault::{AccessToken, Error};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use percent_encoding::percent_decode;
use schemars::JsonSchema;
use serde::Serialize;

use super::Attempts;
use super::input::Input;
use super::reply::{done, failed, failed_with, in_words};
use crate::api::status::{Failure, Kind};
use crate::app::{App, Proof, Stopped};
use crate::http::call::{Call, Reply};

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Token")]
pub(super) struct Issued<'a> {
    token_type: &'static str,
    expires_in: u64,
    access_token: &'a str,
}

/// What RFC 6749, section 5.2, has for a failure.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OfToken")]
pub(super) struct Refused<'a> {
    error: &'static str,
    error_description: &'a str,
}

/// Credentials as they were sent.
struct Credentials {
    id: String,
    secret: SecretText,
}

impl Credentials {
    /// Credentials of nobody: to be refused and recorded like any others that are wrong.
    fn none() -> Self {
        Self {
            id: String::new(),
            secret: SecretText::new(""),
        }
    }
}

/// Gives a token, or says no more than that the credentials are not good.
///
/// A bearer token that comes along is ignored: clients send the one they want to replace.
pub(super) async fn issue(app: &App, mut call: Call) -> Reply {
    // Credentials in a URL end up in logs, so none are read from there.
    call.query.clear();
    let basic = call.header(AUTHORIZATION).and_then(basic);
    let with_basic = basic.is_some();
    let arrival = match app.arrive(&call, Operation::IssueToken, Proof::Body).await {
        Ok(arrival) => arrival,
        Err(stopped) => return answer(Err(stopped)),
    };
    let reply = match credentials(&call, basic) {
        Ok(credentials) => {
            let (id, secret) = (&credentials.id, credentials.secret.expose());
            let check = async {
                let mut attempts = Attempts::default();
                loop {
                    let origin = arrival.origin().clone();
                    let result = app.vault.authenticate(id, secret, origin).await;
                    if !attempts.again(&result) {
                        break result;
                    }
                }
            };
            let result = app.check(&arrival, Some(id), check).await;
            if let Ok(token) = &result {
                app.introduce(&arrival, token.token.expose());
            }
            answer(result)
        }
        Err(error) => error.reply(),
    };
    if with_basic && reply.status == StatusCode::UNAUTHORIZED {
        let value = HeaderValue::from_static("Basic realm=\"dsm\"");
        return reply.header(WWW_AUTHENTICATE, value);
    }
    reply
}

fn answer(result: Result<AccessToken, Stopped>) -> Reply {
    match result {
        Ok(token) => done(
            StatusCode::OK,
            "Access token issued",
            Issued {
                token_type: "Bearer",
                expires_in: token.expires_in.as_secs(),
                access_token: token.token.expose(),
            },
        ),
        Err(Stopped::Vault(Error::Denied(_))) => BadRequest::new(
            "invalid_client",
            Kind::InvalidClient,
            Kind::InvalidClient.message(),
        )
        .reply(),
        Err(stopped) => failed(&stopped.into()),
    }
}

/// A request without credentials to try.
struct BadRequest {
    error: &'static str,
    failure: Failure,
}

impl BadRequest {
    fn new(error: &'static str, kind: Kind, message: impl Into<String>) -> Self {
        Self {
            error,
            failure: Failure::new(kind, message.into()),
        }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new("invalid_request", Kind::Malformed, message)
    }

    fn reply(&self) -> Reply {
        let refused = Refused {
            error: self.error,
            error_description: &self.failure.message,
        };
        failed_with(&self.failure, refused)
    }
}

/// What a request has in its body.
pub(super) struct Grant {
    wanted: Option<String>,
    id: Option<String>,
    secret: Option<String>,
    readable: Result<(), Failure>,
}

/// What is asked for, and by whom.
pub(super) fn grant(mut input: Input) -> Grant {
    Grant {
        wanted: input.required(&["grant_type"]),
        id: input.filled(&["client_id"]),
        secret: input.filled(&["client_secret"]),
        readable: input.finish(),
    }
}

/// The credentials of a request: of its header if that has some, else of its body.
fn credentials(call: &Call, basic: Option<Credentials>) -> Result<Credentials, BadRequest> {
    let unreadable = |failure: Failure| BadRequest::invalid(in_words(&failure));
    let Grant {
        wanted,
        id,
        secret,
        readable,
    } = grant(Input::of(call).map_err(unreadable)?);
    readable.map_err(unreadable)?;
    if wanted.as_deref() != Some("client_credentials") {
        let message = "grant_type must be client_credentials";
        return Err(BadRequest::new(
            "unsupported_grant_type",
            Kind::Malformed,
            message,
        ));
    }
    match (basic, id, secret) {
        (Some(_), _, Some(_)) => Err(BadRequest::invalid(
            "the client authenticates in the header and in the body",
        )),
        (Some(basic), Some(id), None) if basic.id != id => Err(BadRequest::invalid(
            "client_id is not the one that the header has",
        )),
        (Some(basic), _, None) => Ok(basic),
        (None, Some(id), Some(secret)) => Ok(Credentials {
            id,
            secret: SecretText::new(secret),
        }),
        (None, _, _) => Ok(Credentials::none()),
    }
}

/// The credentials of a `Basic` header, both halves form-encoded
/// ([RFC 6749, section 2.3.1](https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1)); `None` when
/// the scheme is another.
fn basic(header: &str) -> Option<Credentials> {
    let (scheme, encoded) = header.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = BASE64_STANDARD.decode(encoded.trim()).unwrap_or_default();
    let mut halves = pair.splitn(2, |byte| *byte == b':');
    let mut half = || decoded(halves.next()?);
    Some(match (half(), half()) {
        (Some(id), Some(secret)) => Credentials {
            id,
            secret: SecretText::new(secret),
        },
        _ => Credentials::none(),
    })
}

fn decoded(half: &[u8]) -> Option<String> {
    let spaced: Vec<u8> = half
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    let text = percent_decode(&spaced).decode_utf8().ok()?;
    Some(text.into_owned())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

    use super::basic;

    fn read(pair: &[u8]) -> Option<(String, String)> {
        let header = format!("bAsIc  {}", BASE64_STANDARD.encode(pair));
        basic(&header).map(|found| (found.id, found.secret.expose().to_owned()))
    }

    #[test]
    fn both_halves_are_form_encoded() {
        for (pair, id, secret) in [
            (&b"a:b"[..], "a", "b"),
            (b"a%3Ab:c+d%25%2B", "a:b", "c d%+"),
            (b"a:b:c", "a", "b:c"),
            (b":", "", ""),
            (b"no colon", "", ""),
            (b"\xff:b", "", ""),
        ] {
            assert_eq!(read(pair), Some((id.to_owned(), secret.to_owned())));
        }
        assert!(basic("Bearer YTpi").is_none());
        assert!(basic("Basic").is_none());
        let broken = basic("Basic ???").expect("it is Basic");
        assert_eq!(broken.id, "");
    }
}
