//! `/authorizations/{id}/clients` and `/credentials`: what clients of an authorization prove who they
//! are with.

use std::net::IpAddr;
use std::time::Duration;

use dsm_core::access::AuthenticationMethod;
use dsm_core::store::Page;
use dsm_core::time::Timestamp;
use dsm_core::vault::{ApiClient, Client, Stored};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::api::shown::Shown;
use crate::api::status::Failure;
use crate::api::v1::endpoint::{delete, get, post};
use crate::api::v1::input;
use crate::api::v1::query::{Query, page_of};
use crate::api::v1::request::{Answer, Request};
use crate::app::App;
use crate::http::call::Reply;
use crate::http::fields::{FieldReader, integer};
use crate::http::operation::Shape;
use crate::http::router::Route;

/// A client without what is secret of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Client")]
struct View {
    id: String,
    client_id: String,
    method: AuthenticationMethod,
    created_at: Timestamp,
    created_by: String,
    /// From when on it is refused, where others have replaced it.
    ends_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
    last_ip: Option<IpAddr>,
}

impl From<&ApiClient> for View {
    fn from(found: &ApiClient) -> Self {
        Self {
            last_used_at: found.last_use.map(|last| last.at),
            last_ip: found.last_use.and_then(|last| last.ip),
            ..Self::from(&found.client)
        }
    }
}

impl From<&Stored<Client>> for View {
    fn from(client: &Stored<Client>) -> Self {
        Self {
            id: client.id.to_string(),
            client_id: client.client_id.clone(),
            method: client.method(),
            created_at: client.created_at,
            created_by: client.created_by.clone(),
            ends_at: client.ends_at,
            last_used_at: None,
            last_ip: None,
        }
    }
}

/// New credentials, which `POST /authorizations/{id}/credentials` reveals.
#[derive(Serialize, JsonSchema)]
struct Rotated {
    client: View,
    /// From when on the clients before this one are refused.
    others_end_at: Timestamp,
}

pub(super) fn routes() -> Vec<Route<App>> {
    vec![
        post(
            "/api/v1/authorizations/{id}/credentials",
            "v1.authorizations.credentials",
            "Reveals the newest credentials of an authorization, by the method of its application",
        )
        .gives::<Shown<'_>>()
        .by(reveal),
        get(
            "/api/v1/authorizations/{id}/clients",
            "v1.authorizations.clients.list",
            "Lists the clients of an authorization with their last use",
        )
        .query(Query::page)
        .lists::<View>()
        .by(list),
        post(
            "/api/v1/authorizations/{id}/clients/rotate",
            "v1.authorizations.clients.rotate",
            "Issues new credentials, beside which others go on until the overlap is over",
        )
        .body(overlap_of)
        .once()
        .gives::<Rotated>()
        .by(rotate),
        delete(
            "/api/v1/authorizations/{id}/clients/{client_id}",
            "v1.authorizations.clients.revoke",
            "Revokes a client for good, and its tokens",
        )
        .gives_nothing()
        .by(revoke),
    ]
}

async fn reveal(request: Request) -> Answer {
    let credentials = request
        .vault()
        .reveal_credentials(&request.caller, request.id("id")?)
        .await?;
    Ok(Reply::json(StatusCode::OK, &Shown::from(&credentials)))
}

async fn list(request: Request, page: Page) -> Answer {
    let id = request.id("id")?;
    let found = request.vault().list_clients(&request.caller, id, page);
    let found = found.await?;
    let items: Vec<View> = found.items.iter().map(View::from).collect();
    Ok(page_of(items, found.next))
}

async fn rotate(request: Request, overlap: Result<Option<Duration>, Failure>) -> Answer {
    let (id, overlap) = (request.id("id")?, overlap?);
    let rotated = request
        .vault()
        .rotate_clients(&request.caller, id, overlap)
        .await?;
    let answer = Rotated {
        client: View::from(&rotated.client),
        others_end_at: rotated.others_end_at,
    };
    Ok(Reply::json(StatusCode::OK, &answer))
}

async fn revoke(request: Request) -> Answer {
    let (id, client) = (request.id("id")?, request.id("client_id")?);
    request
        .vault()
        .revoke_client(&request.caller, id, client)
        .await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// For how long the credentials before go on; none for the default.
fn overlap_of(mut body: FieldReader) -> Result<Option<Duration>, Failure> {
    let seconds = || Shape::fixed(json!({"type": "integer", "minimum": 0, "maximum": 2_592_000}));
    let overlap = body.optional("overlap_seconds", seconds, |value| {
        let seconds = u64::try_from(integer(value)?);
        seconds.map_err(|_| "must not be negative")
    });
    let wrong = input::wrong(body);
    if wrong.is_empty() {
        Ok(overlap.map(Duration::from_secs))
    } else {
        Err(Failure::invalid(wrong))
    }
}
