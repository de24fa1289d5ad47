//! `/iso`: the interface that existing clients speak.
//!
//! Every answer carries the default response object, errors a `message` beside it: some clients
//! look at nothing else, not even at the status. No field has another type than those clients
//! expect, which for most of them means text.

mod application;
mod endpoint;
mod input;
mod reply;
mod secret;
mod shape;
mod token;

use dsm_core::access::Principal;
use dsm_core::audit::Operation;
use dsm_core::vault::Error;
use http::StatusCode;
use http::header::AUTHORIZATION;

use self::endpoint::{delete, get, post};
use self::reply::Nothing;
pub use self::reply::refuse;
use self::shape::ApplicationBody;
use crate::api::status::Failure;
use crate::app::{App, Proof};
use crate::http::call::Call;
use crate::http::router::Route;

/// How often a write that lost a race is tried anew. These clients cannot say which revision they
/// expect, so a lost race is none of their concern.
const ATTEMPTS: usize = 10;

/// The routes of this surface.
pub fn routes() -> Vec<Route<App>> {
    vec![
        post(
            "/iso/oauth2/token",
            "iso_token",
            "Gives an access token for client credentials",
        )
        .for_clients::<token::Refused<'_>>()
        .fields(token::grant)
        .gives::<token::Issued<'_>>(StatusCode::OK, "A token")
        .by(async |app, call| token::issue(&app, call).await),
        get(
            "/iso/dapp/application",
            "iso_application",
            "Gives the caller's application with the secrets that it may read",
        )
        .gives::<ApplicationBody<'_>>(StatusCode::OK, "The application")
        .by(async |app, call| reply::answer(application::read(&app, &call).await)),
        post(
            "/iso/dapp/application",
            "iso_application_register",
            "Makes or changes an application, and finds or makes an authorization of it",
        )
        .fields(application::registration_of)
        .gives::<application::Credentials<'_>>(StatusCode::OK, "Done")
        .by(async |app, call| reply::answer(application::register(&app, &call).await)),
        delete(
            "/iso/dapp/application/authorization",
            "iso_authorization_revoke",
            "Revokes the calling authorization for good",
        )
        .gives::<Nothing>(StatusCode::OK, "Done")
        .by(async |app, call| reply::answer(application::revoke(&app, &call).await)),
        get(
            "/iso/sctm/secrets",
            "iso_secrets",
            "Gives every secret of the caller",
        )
        .gives::<secret::All<'_>>(StatusCode::OK, "The secrets")
        .by(async |app, call| reply::answer(secret::list(&app, &call).await)),
        get(
            "/iso/sctm/secret",
            "iso_secrets_alias",
            "Gives every secret of the caller",
        )
        .gives::<secret::All<'_>>(StatusCode::OK, "The secrets")
        .by(async |app, call| reply::answer(secret::list(&app, &call).await)),
        post(
            "/iso/sctm/secret",
            "iso_secret_write",
            "Makes a secret, or changes the one with this identity",
        )
        .fields(secret::secret_of)
        .gives::<ApplicationBody<'_>>(StatusCode::OK, "It was changed")
        .gives::<ApplicationBody<'_>>(StatusCode::CREATED, "It was made")
        .by(async |app, call| reply::answer(secret::write(&app, &call).await)),
        get(
            "/iso/sctm/secret/{identity…}",
            "iso_secret",
            "Gives a secret",
        )
        .gives::<secret::One<'_>>(StatusCode::OK, "The secret")
        .by(async |app, call| reply::answer(secret::read(&app, &call).await)),
        delete(
            "/iso/sctm/secret/{identity…}",
            "iso_secret_delete",
            "Disables a secret",
        )
        .gives::<Nothing>(StatusCode::OK, "Done")
        .by(async |app, call| reply::answer(secret::delete(&app, &call).await)),
    ]
}

/// Counts how often a write is tried. Another change may come in between, of the object or of the
/// policy, on which then is decided anew.
#[derive(Default)]
struct Attempts(usize);

impl Attempts {
    /// Whether a write that ended so is to be tried again.
    fn again<T>(&mut self, result: &Result<T, Error>) -> bool {
        self.0 += 1;
        matches!(result, Err(Error::Stale)) && self.0 < ATTEMPTS
    }
}

/// Who calls, by the bearer token ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750)).
async fn principal(app: &App, call: &Call) -> Result<Principal, Failure> {
    let arrival = app.arrive(call, Operation::UseToken, Proof::Header).await?;
    let origin = arrival.origin();
    let check = async {
        match call.header(AUTHORIZATION).and_then(bearer) {
            Some(token) => app.vault.principal(token, origin.clone()).await,
            None => Err(app.vault.refuse_without_token(origin).await),
        }
    };
    Ok(app.check(&arrival, None, check).await?)
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    let token = token.trim_start();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
