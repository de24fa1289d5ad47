//! `/leases`: accounts that live for a while, alive and past.

use dsm_core::id::{AuthorizationId, SecretId};
use dsm_core::provision::{LeaseState, ProfileKind};
use dsm_core::store::Page;
use dsm_core::time::Timestamp;
use dsm_core::vault::{AccountLease, LeaseEnd, LeaseFilter, Stored, Tried};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::v1::endpoint::{delete, get};
use crate::api::v1::query::{Query, page_of};
use crate::api::v1::request::{Answer, Request};
use crate::api::v1::view::Object;
use crate::app::App;
use crate::http::call::Reply;
use crate::http::router::Route;

const COLLECTION: &str = "/api/v1/leases";
const ITEM: &str = "/api/v1/leases/{id}";

/// The lease of an account that was made on a target to live for a while. Its password is in the
/// secret that serves it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Lease")]
struct View {
    /// The profile's identifier.
    profile: String,
    kind: ProfileKind,
    /// The target's name.
    target: String,
    username: String,
    secret: SecretId,
    /// The authorization that it counts for.
    authorization: Option<AuthorizationId>,
    state: LeaseState,
    expires_at: Timestamp,
    /// When readers came to be served the account.
    served_at: Option<Timestamp>,
    /// When the account was gone.
    ended_at: Option<Timestamp>,
    /// Why it ends before its time, if it does.
    end: Option<LeaseEnd>,
    /// When removing the account is tried again.
    next_try_at: Option<Timestamp>,
    /// What failed, the newest last.
    failures: Vec<Failed>,
}

/// Something that failed with a lease.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LeaseFailure")]
struct Failed {
    at: Timestamp,
    step: String,
    /// What the target said, without values.
    message: String,
}

pub(super) fn routes() -> Vec<Route<App>> {
    vec![
        get(COLLECTION, "v1.leases.list", "Lists leases of accounts")
            .query(filter)
            .lists::<Object<View>>()
            .by(list),
        get(ITEM, "v1.leases.show", "Shows a lease of an account")
            .shows::<View>()
            .by(show),
        delete(ITEM, "v1.leases.revoke", "Ends a lease now")
            .says(
                "The account is removed in a moment; where that needed somebody, it is tried again",
            )
            .gives_nothing()
            .by(revoke),
    ]
}

async fn list(request: Request, (filter, page): (LeaseFilter, Page)) -> Answer {
    let vault = request.vault();
    let found = vault.list_leases(&request.caller, filter, page).await?;
    let items = found.items.iter().map(view).collect();
    Ok(page_of(items, found.next))
}

async fn show(request: Request) -> Answer {
    let id = request.id("id")?;
    let found = request.vault().find_lease(&request.caller, id).await?;
    Ok(view(&found).shown())
}

async fn revoke(request: Request) -> Answer {
    let id = request.id("id")?;
    request.vault().revoke_lease(&request.caller, id).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

fn filter(query: &mut Query) -> (LeaseFilter, Page) {
    let filter = LeaseFilter {
        profile: query.text("profile"),
        target: query.text("target"),
        secret: query.number("secret").map(SecretId),
        live: query.flag("live"),
    };
    (filter, query.page())
}

fn view(lease: &Stored<AccountLease>) -> Object<View> {
    let content = View {
        profile: lease.profile.clone(),
        kind: lease.kind,
        target: lease.target.clone(),
        username: lease.account.clone(),
        secret: lease.secret,
        authorization: lease.authorization,
        state: lease.progress.state,
        expires_at: lease.content.expires_at,
        served_at: lease.served_at,
        ended_at: lease.ended_at,
        end: lease.end,
        next_try_at: lease.try_at,
        failures: lease.tried.iter().map(Failed::from).collect(),
    };
    Object::of(lease, content)
}

impl From<&Tried> for Failed {
    fn from(tried: &Tried) -> Self {
        Self {
            at: tried.at,
            step: tried.step.clone(),
            message: tried.message.clone(),
        }
    }
}
