//! `/iso/oauth2`: tokens are given out, revoked and looked at.

use dsm_core::audit::Operation;
use dsm_core::vault::{Error, TokenInfo};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;

use super::client::{self, Asked, BadRequest, Shown};
use super::input::Input;
use super::reply::{Nothing, done, failed};
use crate::app::{App, Arrival, Proof, Stopped};
use crate::http::call::{Call, Reply};

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Token")]
pub(super) struct Issued<'a> {
    token_type: &'static str,
    expires_in: u64,
    access_token: &'a str,
}

/// Everything that is told of a token that counts; of others that they do not.
#[derive(Default, Serialize, JsonSchema)]
#[schemars(rename = "Introspection")]
pub(super) struct Introspected<'a> {
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    /// The code of the authorization.
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
}

/// `POST /iso/oauth2/token`: the client credentials grant
/// ([RFC 6749, section 4.4](https://www.rfc-editor.org/rfc/rfc6749#section-4.4)), and that of clients
/// which AWS vouches for. Gives a token, or says no more than that the credentials are not good.
///
/// A bearer token that comes along is ignored: clients send the one they want to replace.
pub(super) async fn issue(app: &App, call: Call) -> Reply {
    let with_basic = client::basic_of(&call).is_some();
    finish(with_basic, try_issue(app, call).await)
}

async fn try_issue(app: &App, mut call: Call) -> Result<Reply, Refused> {
    let (arrival, asked) = begin(app, &mut call, Operation::IssueToken, client::grant).await?;
    let shown = client::shown_for_grant(&call, asked)?;
    let origin = arrival.origin().clone();
    let issue = app.vault.issue_token(shown.presented(), origin);
    let token = app.check(&arrival, shown.claimed(), issue).await?;
    app.introduce(&arrival, token.token.expose());
    Ok(done(
        StatusCode::OK,
        "Access token issued",
        Issued {
            token_type: "Bearer",
            expires_in: token.expires_in.as_secs(),
            access_token: token.token.expose(),
        },
    ))
}

/// `POST /iso/oauth2/revoke` ([RFC 7009](https://www.rfc-editor.org/rfc/rfc7009)): the same answer
/// whether the token was the caller's or nobody's.
pub(super) async fn revoke(app: &App, call: Call) -> Reply {
    let with_basic = client::basic_of(&call).is_some();
    finish(with_basic, try_revoke(app, call).await)
}

async fn try_revoke(app: &App, mut call: Call) -> Result<Reply, Refused> {
    let operation = Operation::RevokeToken;
    let (arrival, mut asked) = begin(app, &mut call, operation, client::about_token).await?;
    let token = asked.token.take().unwrap_or_default();
    let shown = Shown::of(&call, asked)?;
    let origin = arrival.origin().clone();
    let revoke = app.vault.revoke_token(shown.presented(), &token, origin);
    app.check(&arrival, shown.claimed(), revoke).await?;
    Ok(done(StatusCode::OK, "Access token revoked", Nothing {}))
}

/// `POST /iso/oauth2/introspect` ([RFC 7662](https://www.rfc-editor.org/rfc/rfc7662)).
pub(super) async fn introspect(app: &App, call: Call) -> Reply {
    let with_basic = client::basic_of(&call).is_some();
    finish(with_basic, try_introspect(app, call).await)
}

async fn try_introspect(app: &App, mut call: Call) -> Result<Reply, Refused> {
    let operation = Operation::IntrospectToken;
    let (arrival, mut asked) = begin(app, &mut call, operation, client::about_token).await?;
    let token = asked.token.take().unwrap_or_default();
    let shown = Shown::of(&call, asked)?;
    let origin = arrival.origin().clone();
    let look = app
        .vault
        .introspect_token(shown.presented(), &token, origin);
    let found = app.check(&arrival, shown.claimed(), look).await?;
    let message = if found.is_some() {
        "The access token is active"
    } else {
        "The access token is not active"
    };
    Ok(done(StatusCode::OK, message, introspected(found.as_ref())))
}

fn introspected(found: Option<&TokenInfo>) -> Introspected<'_> {
    match found {
        Some(token) => Introspected {
            active: true,
            token_type: Some("Bearer"),
            client_id: Some(&token.client_id),
            sub: Some(&token.authorization),
            iat: Some(token.issued_at.timestamp()),
            exp: Some(token.expires_at.timestamp()),
        },
        None => Introspected::default(),
    }
}

/// Why there is no answer of the endpoint's own.
enum Refused {
    BadRequest(BadRequest),
    Stopped(Stopped),
}

impl From<BadRequest> for Refused {
    fn from(refused: BadRequest) -> Self {
        Self::BadRequest(refused)
    }
}

impl From<Stopped> for Refused {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Vault(Error::Denied(_)) => Self::BadRequest(BadRequest::invalid_client()),
            stopped => Self::Stopped(stopped),
        }
    }
}

/// Takes a request in and reads it, unless too many checks have failed from where it comes.
async fn begin(
    app: &App,
    call: &mut Call,
    operation: Operation,
    read: fn(Input) -> Asked,
) -> Result<(Arrival, Asked), Refused> {
    let arrival = app.arrive(call, operation, Proof::Body).await?;
    let asked = client::read(call, read)?;
    Ok((arrival, asked))
}

/// The answer of an endpoint, or its failure in the shape that RFC 6749 has for it.
fn finish(with_basic: bool, answered: Result<Reply, Refused>) -> Reply {
    let reply = match answered {
        Ok(reply) => return reply,
        Err(Refused::BadRequest(refused)) => refused.reply(),
        Err(Refused::Stopped(stopped)) => failed(&stopped.into()),
    };
    if with_basic && reply.status == StatusCode::UNAUTHORIZED {
        let value = HeaderValue::from_static("Basic realm=\"dsm\"");
        return reply.header(WWW_AUTHENTICATE, value);
    }
    reply
}
