//! `/iso`: the interface that existing clients speak.
//!
//! Every answer carries the default response object, errors a `message` beside it: some clients
//! look at nothing else, not even at the status. No field has another type than those clients
//! expect, which for most of them means text.

mod application;
mod input;
mod reply;
mod secret;
mod shape;
mod token;

use std::sync::Arc;

use dsm_core::access::Principal;
use dsm_core::vault::Error;
use http::Method;
use http::header::AUTHORIZATION;

pub use self::reply::refuse;
use crate::api::status::Failure;
use crate::app::App;
use crate::http::call::{Call, Reply, Surface};
use crate::http::router::Route;

/// How often a write that lost a race is tried anew. These clients cannot say which revision they
/// expect, so a lost race is none of their concern.
const ATTEMPTS: usize = 10;

/// The routes of this surface.
pub fn routes() -> Vec<Route<App>> {
    vec![
        route(
            Method::POST,
            "/iso/oauth2/token",
            "iso_token",
            async |app, call| token::issue(&app, call).await,
        ),
        route(
            Method::GET,
            "/iso/dapp/application",
            "iso_application",
            async |app, call| reply::answer(application::read(&app, &call).await),
        ),
        route(
            Method::POST,
            "/iso/dapp/application",
            "iso_application_register",
            async |app, call| reply::answer(application::register(&app, &call).await),
        ),
        route(
            Method::DELETE,
            "/iso/dapp/application/authorization",
            "iso_authorization_revoke",
            async |app, call| reply::answer(application::revoke(&app, &call).await),
        ),
        route(
            Method::GET,
            "/iso/sctm/secrets",
            "iso_secrets",
            async |app, call| reply::answer(secret::list(&app, &call).await),
        ),
        route(
            Method::GET,
            "/iso/sctm/secret",
            "iso_secrets_alias",
            async |app, call| reply::answer(secret::list(&app, &call).await),
        ),
        route(
            Method::POST,
            "/iso/sctm/secret",
            "iso_secret_write",
            async |app, call| reply::answer(secret::write(&app, &call).await),
        ),
        route(
            Method::GET,
            "/iso/sctm/secret/{identity…}",
            "iso_secret",
            async |app, call| reply::answer(secret::read(&app, &call).await),
        ),
        route(
            Method::DELETE,
            "/iso/sctm/secret/{identity…}",
            "iso_secret_delete",
            async |app, call| reply::answer(secret::delete(&app, &call).await),
        ),
    ]
}

fn route<H, F>(method: Method, pattern: &'static str, name: &'static str, handler: H) -> Route<App>
where
    H: Fn(Arc<App>, Call) -> F + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    Route::new(method, pattern, Surface::Iso, name, handler)
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
    let origin = app.origin(call);
    match call.header(AUTHORIZATION).and_then(bearer) {
        Some(token) => Ok(app.vault.principal(token, origin).await?),
        None => Err(app.vault.refuse_without_token(&origin).await.into()),
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    let token = token.trim_start();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
