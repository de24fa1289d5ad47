//! What a client shows of itself at the endpoints of `/iso/oauth2`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dsm_core::aws::SignedIdentity;
use dsm_core::secret::SecretText;
use dsm_core::vault::Presented;
use http::header::AUTHORIZATION;
use percent_encoding::percent_decode;
use schemars::JsonSchema;
use serde::Serialize;

use super::input::Input;
use super::reply::{failed_with, in_words};
use crate::api::status::{Failure, Kind};
use crate::http::call::{Call, Reply};

/// The grant of clients that AWS vouches for.
const AWS_GRANT: &str = "urn:dsm:params:oauth:grant-type:aws";
/// The signed request of such a client, unless it says otherwise.
const AWS_BODY: &str = "Action=GetCallerIdentity&Version=2011-06-15";

/// What a request has in its body.
pub(super) struct Asked {
    grant_type: Option<String>,
    scope: Option<String>,
    /// The token that it is about.
    pub(super) token: Option<String>,
    id: Option<String>,
    secret: Option<String>,
    unique_key: Option<String>,
    aws_method: Option<String>,
    aws_headers: Option<Vec<(String, String)>>,
    aws_body: Option<String>,
    readable: Result<(), Failure>,
}

/// A token is asked for.
pub(super) fn grant(mut input: Input) -> Asked {
    let grant_type = input.required(&["grant_type"]);
    let scope = input.filled(&["scope"]);
    Asked {
        grant_type,
        scope,
        ..credentials(input)
    }
}

/// Something is asked about a token.
pub(super) fn about_token(mut input: Input) -> Asked {
    let token = input.required(&["token"]);
    Asked {
        token,
        ..credentials(input)
    }
}

fn credentials(mut input: Input) -> Asked {
    Asked {
        grant_type: None,
        scope: None,
        token: None,
        id: input.filled(&["client_id"]),
        secret: input.filled(&["client_secret"]),
        unique_key: input.filled(&["unique_key"]),
        aws_method: input.filled(&["aws_method"]),
        aws_headers: input.texts_by_name(&["aws_headers"]),
        aws_body: input.filled(&["aws_body"]),
        readable: input.finish(),
    }
}

/// The fields of a request. Credentials in a URL end up in logs, so none are read from there.
pub(super) fn read(call: &mut Call, read: fn(Input) -> Asked) -> Result<Asked, BadRequest> {
    let unreadable = |failure: Failure| BadRequest::invalid(in_words(&failure));
    call.query.clear();
    let mut asked = read(Input::of(call).map_err(unreadable)?);
    std::mem::replace(&mut asked.readable, Ok(())).map_err(unreadable)?;
    Ok(asked)
}

/// Credentials as they were sent.
pub(super) enum Shown {
    Secret(Secret),
    Identity(Identity),
}

/// Id and secret of a client.
pub(super) struct Secret {
    id: String,
    secret: SecretText,
}

/// A request signed for AWS, as data.
pub(super) struct Identity {
    unique_key: SecretText,
    method: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Secret {
    /// Credentials of nobody: to be refused and recorded like any others that are wrong.
    fn nothing() -> Self {
        Self {
            id: String::new(),
            secret: SecretText::new(""),
        }
    }
}

impl Shown {
    /// The credentials of a request: a request signed for AWS, or a client's secret, of its header if
    /// that has some, else of its body.
    pub(super) fn of(call: &Call, asked: Asked) -> Result<Self, BadRequest> {
        if asked.aws_headers.is_some() {
            return Ok(Self::identity(asked));
        }
        let secret = match (basic_of(call), asked.id, asked.secret) {
            (Some(_), _, Some(_)) => {
                let message = "the client authenticates in the header and in the body";
                return Err(BadRequest::invalid(message));
            }
            (Some(basic), Some(id), None) if basic.id != id => {
                let message = "client_id is not the one that the header has";
                return Err(BadRequest::invalid(message));
            }
            (Some(basic), _, None) => basic,
            (None, Some(id), Some(secret)) => Secret {
                id,
                secret: SecretText::new(secret),
            },
            (None, _, _) => Secret::nothing(),
        };
        Ok(Self::Secret(secret))
    }

    /// A request signed for AWS. What is missing or malformed is refused like a wrong signature, where
    /// the exact reason is recorded.
    fn identity(asked: Asked) -> Self {
        Self::Identity(Identity {
            unique_key: asked.unique_key.unwrap_or_default().into(),
            method: asked.aws_method.unwrap_or_else(|| "POST".to_owned()),
            headers: asked.aws_headers.unwrap_or_default(),
            body: asked.aws_body.unwrap_or_else(|| AWS_BODY.to_owned()),
        })
    }

    /// The client that they claim to be of, where they name one.
    pub(super) fn claimed(&self) -> Option<&str> {
        match self {
            Self::Secret(secret) => Some(&secret.id),
            Self::Identity(_) => None,
        }
    }

    pub(super) fn presented(&self) -> Presented<'_> {
        match self {
            Self::Secret(Secret { id, secret }) => Presented::Secret {
                client_id: id,
                client_secret: secret.expose(),
            },
            Self::Identity(identity) => Presented::Identity(SignedIdentity {
                unique_key: identity.unique_key.expose(),
                method: &identity.method,
                headers: &identity.headers,
                body: &identity.body,
            }),
        }
    }
}

/// The credentials that the grant takes. Refuses other grants, and a part of what the authorization
/// allows.
pub(super) fn shown_for_grant(call: &Call, asked: Asked) -> Result<Shown, BadRequest> {
    let by_aws = match asked.grant_type.as_deref() {
        Some("client_credentials") => false,
        Some(AWS_GRANT) => true,
        _ => {
            let message = format!("grant_type must be client_credentials or {AWS_GRANT}");
            return Err(BadRequest::new(
                "unsupported_grant_type",
                Kind::Malformed,
                message,
            ));
        }
    };
    if asked.scope.is_some() {
        let message = "there are no scopes: a token is good for what its authorization allows";
        return Err(BadRequest::new("invalid_scope", Kind::Malformed, message));
    }
    if by_aws {
        Ok(Shown::identity(asked))
    } else {
        Shown::of(call, asked)
    }
}

/// What [RFC 6749, section 5.2](https://www.rfc-editor.org/rfc/rfc6749#section-5.2), has for a
/// failure.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OfToken")]
pub(super) struct Refused {
    error: &'static str,
    error_description: String,
}

/// A failure under a name of RFC 6749.
pub(super) struct BadRequest {
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

    /// Credentials that are not good, whatever is wrong with them.
    pub(super) fn invalid_client() -> Self {
        let kind = Kind::InvalidClient;
        Self::new("invalid_client", kind, kind.message())
    }

    pub(super) fn reply(&self) -> Reply {
        let refused = Refused {
            error: self.error,
            error_description: described(&self.failure.message),
        };
        failed_with(&self.failure, refused)
    }
}

/// A message in the characters that a description may have: visible ASCII but `"` and `\`.
fn described(message: &str) -> String {
    let allowed = |c: char| matches!(c, ' '..='~') && c != '"' && c != '\\';
    message
        .chars()
        .map(|c| if allowed(c) { c } else { '\'' })
        .collect()
}

/// The credentials of the request's header, if it has some.
pub(super) fn basic_of(call: &Call) -> Option<Secret> {
    call.header(AUTHORIZATION).and_then(basic)
}

/// The credentials of a `Basic` header, both halves form-encoded
/// ([RFC 6749, section 2.3.1](https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1)); `None` when
/// the scheme is another.
fn basic(header: &str) -> Option<Secret> {
    let (scheme, encoded) = header.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = BASE64_STANDARD.decode(encoded.trim()).unwrap_or_default();
    let mut halves = pair.splitn(2, |byte| *byte == b':');
    let mut half = || decoded(halves.next()?);
    Some(match (half(), half()) {
        (Some(id), Some(secret)) => Secret {
            id,
            secret: SecretText::new(secret),
        },
        _ => Secret::nothing(),
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

    use super::{basic, described};

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

    #[test]
    fn descriptions_have_the_characters_of_rfc_6749() {
        assert_eq!(
            described("the key \"a\" is\nétrange\\"),
            "the key 'a' is''trange'"
        );
    }
}
