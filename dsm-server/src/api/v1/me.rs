//! `/me`: who a token belongs to.

use dsm_core::access::Permissions;
use dsm_core::id::OperatorId;
use dsm_core::time::Timestamp;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::v1::endpoint::get;
use crate::api::v1::request::{Answer, Request};
use crate::app::App;
use crate::http::call::Reply;
use crate::http::router::Route;

/// The operator whose token came along.
#[derive(Serialize, JsonSchema)]
struct Me<'a> {
    id: Option<OperatorId>,
    name: &'a str,
    permissions: &'a Permissions,
    expires_at: Option<Timestamp>,
}

pub(super) fn routes() -> Vec<Route<App>> {
    vec![
        get("/api/v1/me", "v1.me", "Says who the token belongs to")
            .gives::<Me<'_>>()
            .by(me),
    ]
}

async fn me(request: Request) -> Answer {
    let operator = &request.caller.operator;
    let me = Me {
        id: operator.id,
        name: &operator.name,
        permissions: &operator.permissions,
        expires_at: operator.expires_at,
    };
    Ok(Reply::json(StatusCode::OK, &me))
}
