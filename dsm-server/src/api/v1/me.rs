//! `/me`: who a token belongs to.

use dsm_core::access::Permissions;
use dsm_core::id::OperatorId;
use dsm_core::time::Timestamp;
use http::{Method, StatusCode};
use serde::Serialize;

use crate::api::v1::request::{Answer, Request, route};
use crate::app::App;
use crate::http::call::Reply;
use crate::http::router::Route;

#[derive(Serialize)]
struct Me<'a> {
    id: Option<OperatorId>,
    name: &'a str,
    permissions: &'a Permissions,
    expires_at: Option<Timestamp>,
}

pub(super) fn routes() -> Vec<Route<App>> {
    vec![route(Method::GET, "/api/v1/me", "v1.me", &[], me)]
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
