//! Who calls: the one place of this surface where the proof of a request is looked at, but for the
//! endpoints of `/iso/oauth2`. A check that fails is counted by [`App::check`].

use dsm_core::access::Principal;
use dsm_core::audit::Operation;
use dsm_core::vault::Error;
use http::header::AUTHORIZATION;

use crate::api::status::Failure;
use crate::app::{App, Proof};
use crate::http::call::{Call, bearer};
use crate::http::signed;

/// How often a write that lost a race is tried anew. These clients cannot say which revision they
/// expect, so a lost race is none of their concern.
const ATTEMPTS: usize = 10;

/// Who calls, for a write that may be tried again. Another change may come in between, of the object
/// or of the policy, on which then is decided anew; what was proved once is not asked for again.
#[derive(Default)]
pub(super) struct Attempts {
    count: usize,
    proven: Option<Principal>,
}

impl Attempts {
    /// Who calls, with the policy as it is now.
    pub(super) async fn principal(&mut self, app: &App, call: &Call) -> Result<Principal, Failure> {
        let principal = match &self.proven {
            None => principal(app, call).await?,
            Some(proven) => app.vault.renewed(proven).await?,
        };
        self.proven = Some(principal.clone());
        Ok(principal)
    }

    /// Whether a write that ended so is to be tried again.
    pub(super) fn again<T>(&mut self, result: &Result<T, Error>) -> bool {
        self.count += 1;
        matches!(result, Err(Error::Stale)) && self.count < ATTEMPTS
    }
}

/// Who calls: by the signature of the request
/// ([RFC 5849](https://www.rfc-editor.org/rfc/rfc5849)) if it has one, else by its bearer token
/// ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750)).
pub(super) async fn principal(app: &App, call: &Call) -> Result<Principal, Failure> {
    let arrival = app.arrive(call, Operation::UseToken, Proof::Header).await?;
    let origin = arrival.origin();
    if let Some(request) = signed::read(call, app.scheme(call)) {
        let key = request.as_ref().ok();
        let key = key.and_then(|request| request.consumer_key().map(str::to_owned));
        let check = Box::pin(app.vault.signed_principal(request, origin.clone()));
        let principal = app.check(&arrival, key.as_deref(), check).await?;
        call.head.identify(principal.actor());
        return Ok(principal);
    }
    let check = async {
        match call.header(AUTHORIZATION).and_then(bearer) {
            Some(token) => app.vault.principal(token, origin.clone()).await,
            None => Err(app.vault.refuse_without_token(origin).await),
        }
    };
    let principal = app.check(&arrival, None, check).await?;
    call.head.identify(principal.actor());
    Ok(principal)
}
