//! `/audit`: what was done, by whom, and what was refused.

use std::net::IpAddr;

use dsm_core::audit::{
    Actor, ActorFilter, AuditQuery, Cursor, FieldChange, Found, ObjectFilter, ObjectKind,
    ObjectRef, Operation, Outcome, OutcomeFilter, Part,
};
use dsm_core::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize as _, Serialize};
use serde_json::{Value, json};

use crate::api::v1::endpoint::get;
use crate::api::v1::explain::ip_address;
use crate::api::v1::query::{NO_CURSOR, Query, page_of};
use crate::api::v1::request::{Answer, Request, decimal};
use crate::app::App;
use crate::http::operation::Shape;
use crate::http::router::Route;

/// An entry of the trail.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditEntry")]
struct View<'a> {
    id: String,
    server: String,
    sequence: u64,
    at: Timestamp,
    actor: &'a Actor,
    ip: Option<IpAddr>,
    operation: Operation,
    object: Option<ObjectView<'a>>,
    outcome: &'a Outcome,
    changes: &'a [FieldChange],
    /// Set where the entry says no more than with which status a request was answered: it is then
    /// no operation beside the one that it names.
    answered: Option<u16>,
}

/// What an entry is about.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditObject")]
struct ObjectView<'a> {
    kind: ObjectKind,
    id: Option<String>,
    name: &'a str,
    version: Option<u64>,
}

pub(super) fn routes() -> Vec<Route<App>> {
    vec![
        get(
            "/api/v1/audit",
            "v1.audit.list",
            "Searches the audit trail: what was done, by whom, and what was refused",
        )
        .query(filter)
        .lists::<View<'_>>()
        .by(list),
    ]
}

/// What is searched for.
pub(super) fn filter(query: &mut Query) -> AuditQuery {
    let no_actor = "must be vault, unknown, claimed:<client id>, application:<id>, \
                    authorization:<id>, client:<id>, operator:<id> or operator:name:<name>";
    let no_object = "must be a kind of object, <kind>:<id> or <kind>:name:<name>";
    AuditQuery {
        after: query.parsed("after", Shape::text, NO_CURSOR, cursor),
        from: query.instant("from"),
        until: query.instant("until"),
        actor: query.parsed("actor", actor_shape, no_actor, actor),
        operation: query.parsed(
            "operation",
            Shape::of::<Operation>,
            "must be an operation of the trail",
            operation,
        ),
        object: query.parsed("object", object_shape, no_object, object),
        outcome: query.parsed(
            "outcome",
            || Shape::one_of(&["allowed", "denied", "failed"]),
            "must be allowed, denied or failed",
            outcome,
        ),
        ip: query.parsed("ip", ip_address, "must be an IP address", |text| {
            text.parse().ok().map(|ip: IpAddr| ip.to_canonical())
        }),
        ..AuditQuery::newest(query.limit())
    }
}

fn actor_shape() -> Shape {
    let id = "(0|[1-9][0-9]*)";
    let pattern = format!(
        "^(vault|unknown|claimed:.*|(application|authorization|client|operator):{id}|\
         operator:name:.*)$"
    );
    Shape::fixed(json!({"type": "string", "pattern": pattern}))
}

fn object_shape() -> Shape {
    let pattern = "^[a-z_]+(:(0|[1-9][0-9]*)|:name:.*)?$";
    Shape::fixed(json!({"type": "string", "pattern": pattern}))
}

async fn list(request: Request, filter: AuditQuery) -> Answer {
    let page = request
        .vault()
        .search_audit(&request.caller, &filter)
        .await?;
    let items: Vec<View<'_>> = page.found.iter().map(view).collect();
    Ok(page_of(items, page.next))
}

fn view(found: &Found) -> View<'_> {
    let event = &found.event;
    View {
        id: found.cursor.to_string(),
        server: found.server.to_string(),
        sequence: found.sequence,
        at: event.at,
        actor: &event.actor,
        ip: event.ip,
        operation: event.operation,
        object: event.object.as_ref().map(object_view),
        outcome: &event.outcome,
        changes: &event.changes,
        answered: match event.part {
            Some(Part::Answer { status, .. }) => Some(status),
            Some(Part::Also) | None => None,
        },
    }
}

fn object_view(object: &ObjectRef) -> ObjectView<'_> {
    ObjectView {
        kind: object.kind,
        id: object.id.map(|id| id.to_string()),
        name: &object.name,
        version: object.version,
    }
}

fn cursor(text: &str) -> Option<Cursor> {
    let cursor: Cursor = text.parse().ok()?;
    // One place has one text.
    (cursor.to_string() == text).then_some(cursor)
}

fn operation(text: &str) -> Option<Operation> {
    let mut all = Operation::ALL.iter().copied();
    all.find(|operation| operation.as_str() == text)
}

fn outcome(text: &str) -> Option<OutcomeFilter> {
    match text {
        "allowed" => Some(OutcomeFilter::Allowed),
        "denied" => Some(OutcomeFilter::Denied),
        "failed" => Some(OutcomeFilter::Failed),
        _ => None,
    }
}

fn actor(text: &str) -> Option<ActorFilter> {
    match text.split_once(':') {
        None if text == "vault" => Some(ActorFilter::Vault),
        None if text == "unknown" => Some(ActorFilter::Unknown),
        Some(("claimed", id)) => Some(ActorFilter::Claimed(id.to_owned())),
        Some(("application", id)) => Some(ActorFilter::Application(decimal(id)?.into())),
        Some(("authorization", id)) => Some(ActorFilter::Authorization(decimal(id)?.into())),
        Some(("client", id)) => Some(ActorFilter::Client(decimal(id)?.into())),
        Some(("operator", rest)) => match rest.strip_prefix("name:") {
            Some(name) => Some(ActorFilter::OperatorName(name.to_owned())),
            None => Some(ActorFilter::Operator(decimal(rest)?.into())),
        },
        _ => None,
    }
}

fn object(text: &str) -> Option<ObjectFilter> {
    let (kind, which) = match text.split_once(':') {
        Some((kind, which)) => (kind, Some(which)),
        None => (text, None),
    };
    let kind = ObjectKind::deserialize(Value::String(kind.to_owned())).ok()?;
    let Some(which) = which else {
        return Some(ObjectFilter::Kind(kind));
    };
    match which.strip_prefix("name:") {
        Some(name) => Some(ObjectFilter::Name(kind, name.to_owned())),
        None => decimal(which).map(|id| ObjectFilter::Id(kind, id)),
    }
}
