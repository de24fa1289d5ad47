//! `/operators`: who may manage the vault.

use std::time::Duration;

use dsm_core::access::{Permission, Permissions};
use dsm_core::time::Timestamp;
use dsm_core::vault::{NewOperator, OperatorAccount, Stored, Vault};
use http::{Method, StatusCode};
use serde::Serialize;

use crate::api::v1::input;
use crate::api::v1::query::page_of;
use crate::api::v1::request::{Answer, Request, route};
use crate::api::v1::view::Object;
use crate::app::App;
use crate::http::call::Reply;
use crate::http::fields::FieldReader;
use crate::http::router::Route;

const COLLECTION: &str = "/api/v1/operators";
const DAY: u64 = 24 * 3600;
/// The longest that a token can be made to last, in days.
const MAX_DAYS: i64 = 3650;

#[derive(Serialize)]
struct View<'a> {
    name: String,
    permissions: Permissions,
    status: Status,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    /// Only in the answer to its making.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Active,
    Expired,
    Revoked,
}

pub(super) fn routes() -> Vec<Route<App>> {
    let page = &["limit", "after"];
    vec![
        route(Method::GET, COLLECTION, "v1.operators.list", page, list),
        route(Method::POST, COLLECTION, "v1.operators.create", &[], create),
        route(
            Method::DELETE,
            "/api/v1/operators/{id}",
            "v1.operators.revoke",
            &[],
            revoke,
        ),
    ]
}

async fn list(mut request: Request) -> Answer {
    let page = request.query.page();
    request.query.finish()?;
    let vault = request.vault();
    let found = vault.list_operators(&request.caller, page).await?;
    let views = found.items.iter().map(|account| view(vault, account, None));
    Ok(page_of(views.collect(), found.next))
}

async fn create(request: Request) -> Answer {
    request.no_condition()?;
    let new = read(request.body()?, &request.caller.operator.permissions);
    let vault = request.vault();
    let (account, token) = vault.create_operator(&request.caller, new).await?;
    Ok(view(vault, &account, Some(token.expose())).created(COLLECTION))
}

async fn revoke(request: Request) -> Answer {
    request.no_condition()?;
    request
        .vault()
        .revoke_operator(&request.caller, request.id("id")?)
        .await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// Who names no permissions hands out their own.
fn read(mut body: FieldReader, own: &Permissions) -> NewOperator {
    let mut new = NewOperator::new(body.required_string("name"));
    new.permissions = permissions(&mut body).unwrap_or_else(|| own.clone());
    new.expires_at = body.instant("expires_at");
    let given = body.contains("expires_in_days");
    let days = body.optional("expires_in_days", |value| {
        let days = value.as_i64().filter(|days| (1..=MAX_DAYS).contains(days));
        days.and_then(|days| u64::try_from(days).ok())
            .ok_or("must be a whole number from 1 to 3650")
    });
    if given && new.expires_at.is_some() {
        body.reject("expires_in_days", "must not be given beside expires_at");
    }
    if let Some(days) = days {
        new.lifetime = Duration::from_secs(days * DAY);
    }
    new.wrong = input::wrong(body);
    new
}

fn permissions(body: &mut FieldReader) -> Option<Permissions> {
    let names = body.optional_list("permissions")?;
    let mut permissions = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        match name.parse::<Permission>() {
            Ok(permission) => permissions.push(permission),
            Err(error) => body.reject(&format!("permissions[{index}]"), error.to_string()),
        }
    }
    Some(permissions.into_iter().collect())
}

fn view<'a>(
    vault: &Vault,
    account: &Stored<OperatorAccount>,
    token: Option<&'a str>,
) -> Object<View<'a>> {
    let operator = &account.operator;
    let status = if operator.revoked_at.is_some() {
        Status::Revoked
    } else if operator.expires_at.is_some_and(|at| vault.now() >= at) {
        Status::Expired
    } else {
        Status::Active
    };
    let content = View {
        name: operator.name.clone(),
        permissions: operator.permissions.clone(),
        status,
        expires_at: operator.expires_at,
        revoked_at: operator.revoked_at,
        token,
    };
    Object::of(account, content)
}
