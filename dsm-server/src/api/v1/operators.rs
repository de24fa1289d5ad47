//! `/operators`: who may manage the vault.

use std::time::Duration;

use dsm_core::access::{Permission, Permissions};
use dsm_core::store::Page;
use dsm_core::time::Timestamp;
use dsm_core::vault::{NewOperator, OperatorAccount, Stored, Vault};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::api::v1::endpoint::{delete, get, post};
use crate::api::v1::input;
use crate::api::v1::query::{Query, page_of};
use crate::api::v1::request::{Answer, Request};
use crate::api::v1::view::Object;
use crate::app::App;
use crate::http::call::Reply;
use crate::http::fields::{FieldReader, string};
use crate::http::operation::Shape;
use crate::http::router::Route;

const COLLECTION: &str = "/api/v1/operators";
const DAY: u64 = 24 * 3600;
/// The longest that a token can be made to last, in days.
const MAX_DAYS: i64 = 3650;

/// An operator.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Operator")]
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

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "OperatorStatus")]
enum Status {
    Active,
    Expired,
    Revoked,
}

pub(super) fn routes() -> Vec<Route<App>> {
    vec![
        get(COLLECTION, "v1.operators.list", "Lists operators")
            .query(Query::page)
            .lists::<Object<View<'_>>>()
            .by(list),
        post(
            COLLECTION,
            "v1.operators.create",
            "Makes an operator and gives its token",
        )
        .says("The token is shown this once. Nobody hands out permissions that they lack")
        .body(new_operator)
        .creates::<View<'_>>()
        .by(create),
        delete(
            "/api/v1/operators/{id}",
            "v1.operators.revoke",
            "Revokes an operator for good",
        )
        .gives_nothing()
        .by(revoke),
    ]
}

async fn list(request: Request, page: Page) -> Answer {
    let vault = request.vault();
    let found = vault.list_operators(&request.caller, page).await?;
    let views = found.items.iter().map(|account| view(vault, account, None));
    Ok(page_of(views.collect(), found.next))
}

async fn create(request: Request, (mut new, permissions): (NewOperator, Named)) -> Answer {
    // Who names no permissions hands out their own.
    let own = || request.caller.operator.permissions.clone();
    new.permissions = permissions.unwrap_or_else(own);
    let vault = request.vault();
    let (account, token) = vault.create_operator(&request.caller, new).await?;
    Ok(view(vault, &account, Some(token.expose())).created(COLLECTION))
}

async fn revoke(request: Request) -> Answer {
    request
        .vault()
        .revoke_operator(&request.caller, request.id("id")?)
        .await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// The permissions that were named, if any were.
type Named = Option<Permissions>;

fn new_operator(mut body: FieldReader) -> (NewOperator, Named) {
    let name = body.required("name", Shape::name, string);
    let mut new = NewOperator::new(name.unwrap_or_default());
    let permissions = permissions(&mut body);
    new.expires_at = body.instant("expires_at");
    let given = body.contains("expires_in_days");
    let shape = || Shape::fixed(json!({"type": "integer", "minimum": 1, "maximum": MAX_DAYS}));
    let days = body.optional("expires_in_days", shape, |value| {
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
    (new, permissions)
}

fn permissions(body: &mut FieldReader) -> Named {
    let names = body.optional_list_of("permissions", Shape::of::<Permission>)?;
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
