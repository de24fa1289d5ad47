//! `/api-logs`: each request and how it ended, as a list or to take away.

use std::fmt::Write as _;
use std::net::IpAddr;

use dsm_core::audit::{Actor, AuditQuery, Cursor, ObjectKind, Operation, Outcome};
use dsm_core::id::{ApplicationId, AuthorizationId, ClientId, OperatorId};
use dsm_core::time::Timestamp;
use dsm_core::vault::LoggedRequest;
use http::StatusCode;
use http::header::{ACCEPT, HeaderValue, LINK};
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::log::status_of;
use crate::api::v1::audit::filter;
use crate::api::v1::endpoint::{get, json_of};
use crate::api::v1::query::{Items, Query, page_of};
use crate::api::v1::request::{Answer, Request};
use crate::api::v1::view::Named;
use crate::app::App;
use crate::http::call::Reply;
use crate::http::operation::Shape;
use crate::http::router::Route;

/// The media types of exports.
const LINES: &str = "application/x-ndjson";
const CSV: &str = "text/csv; charset=utf-8";
/// One request.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LoggedRequest")]
struct View {
    id: String,
    at: Timestamp,
    server: String,
    event: Effect,
    status: Option<u16>,
    outcome: &'static str,
    reason: Option<String>,
    operation: Operation,
    entity: Option<Entity>,
    application: Option<Named<ApplicationId>>,
    authorization: Option<Code>,
    client: Option<ClientId>,
    operator: Option<Person>,
    ip: Option<IpAddr>,
}

/// What a request is about.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LoggedEntity")]
struct Entity {
    r#type: ObjectKind,
    id: Option<String>,
    name: String,
}

/// The authorization that asked.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LoggedAuthorization")]
struct Code {
    id: AuthorizationId,
    code: String,
}

/// The operator who asked.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LoggedOperator")]
struct Person {
    id: Option<OperatorId>,
    name: String,
}

/// What a request does to what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Effect")]
enum Effect {
    Create,
    Read,
    Update,
    Delete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Lines,
    Csv,
}

pub(super) fn routes() -> Vec<Route<App>> {
    let page = Shape::of::<Items<View>>();
    let answer = json_of("A page, newest first", page)
        .or(LINES, Shape::text())
        .or(CSV, Shape::text());
    vec![
        get(
            "/api/v1/api-logs",
            "v1.api-logs.list",
            "Searches the log of requests: what was asked for, by whom, and how it ended",
        )
        .says("As JSON lines and as comma-separated values, `Link` leads to the next page")
        .query(asked)
        .answers(StatusCode::OK, answer)
        .by(list),
    ]
}

/// In which form, and which.
type Asked = (Option<Format>, AuditQuery);

fn asked(query: &mut Query) -> Asked {
    let formats = || Shape::one_of(&["json", "ndjson", "csv"]);
    let format = query.parsed(
        "format",
        formats,
        "must be json, ndjson or csv",
        |text| match text {
            "json" => Some(Format::Json),
            "ndjson" => Some(Format::Lines),
            "csv" => Some(Format::Csv),
            _ => None,
        },
    );
    (format, filter(query))
}

async fn list(request: Request, (format, filter): Asked) -> Answer {
    let accepted = request.header(ACCEPT).unwrap_or_default();
    let format = format.unwrap_or_else(|| accepted_format(accepted));
    let page = request
        .vault()
        .list_requests(&request.caller, &filter)
        .await?;
    let items: Vec<View> = page.items.into_iter().map(view).collect();
    let next = page.next;
    Ok(match format {
        Format::Json => page_of(items, next),
        Format::Lines => {
            let lines: Vec<Vec<u8>> = items
                .iter()
                .map(|item| {
                    let mut line =
                        serde_json::to_vec(item).expect("a view is a struct with text keys");
                    line.push(b'\n');
                    line
                })
                .collect();
            let reply = Reply::bytes(StatusCode::OK, LINES, lines.concat());
            linked(reply, request.query(), next)
        }
        Format::Csv => {
            let reply = Reply::bytes(StatusCode::OK, CSV, csv(&items));
            linked(reply, request.query(), next)
        }
    })
}

/// The first of the formats that a client accepts, by where it stands in the header.
fn accepted_format(accept: &str) -> Format {
    let mut named = accept.split(',').filter_map(|item| {
        let essence = item.split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "application/json" => Some(Format::Json),
            "application/x-ndjson" => Some(Format::Lines),
            "text/csv" => Some(Format::Csv),
            _ => None,
        }
    });
    named.next().unwrap_or(Format::Json)
}

/// The reply with a link to what follows ([RFC 8288](https://www.rfc-editor.org/rfc/rfc8288)).
fn linked(reply: Reply, query: &str, next: Option<Cursor>) -> Reply {
    let Some(next) = next else {
        return reply;
    };
    let mut kept: Vec<String> = query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.starts_with("after="))
        .map(str::to_owned)
        .collect();
    kept.push(format!("after={next}"));
    let link = format!("</api/v1/api-logs?{}>; rel=\"next\"", kept.join("&"));
    match HeaderValue::try_from(link) {
        Ok(link) => reply.header(LINK, link),
        // The query was parsed before, so it is visible ASCII.
        Err(_) => reply,
    }
}

fn view(logged: LoggedRequest) -> View {
    let LoggedRequest {
        found,
        application,
        authorization,
    } = logged;
    let status = status_of(&found.event).map(|status| status.as_u16());
    let event = found.event;
    let (outcome, reason) = match event.outcome {
        Outcome::Allowed => ("allowed", None),
        Outcome::Denied { rule, reason } => ("denied", Some(format!("{rule}: {reason}"))),
        Outcome::Failed { reason } => ("failed", Some(reason)),
    };
    let name = event.object.as_ref().map_or("", |object| &object.name);
    let effect = effect(event.operation, name);
    let (client, operator) = match event.actor {
        Actor::Authorization { client, .. } => (Some(client), None),
        Actor::Operator { id, name } => (None, Some(Person { id, name })),
        Actor::Unknown { .. } | Actor::Vault => (None, None),
    };
    View {
        id: found.cursor.to_string(),
        at: event.at,
        server: found.server.to_string(),
        event: effect,
        status,
        outcome,
        reason,
        operation: event.operation,
        entity: event.object.map(|object| Entity {
            r#type: object.kind,
            id: object.id.map(|id| id.to_string()),
            name: object.name,
        }),
        application: application.map(|(id, name)| Named {
            id,
            name: name.unwrap_or_default(),
        }),
        authorization: authorization.map(|(id, code)| Code {
            id,
            code: code.unwrap_or_default(),
        }),
        client,
        operator,
        ip: event.ip,
    }
}

/// By the operation's name, which ends in what it does; for a request that came to none, by its
/// method, with which the name of its object begins.
fn effect(operation: Operation, object: &str) -> Effect {
    let did = match operation {
        Operation::Request => object.split(' ').next().unwrap_or_default(),
        known => known.as_str().rsplit('.').next().unwrap_or_default(),
    };
    match did {
        "create" | "issue" | "register" | "provision" | "POST" => Effect::Create,
        "update" | "enable" | "disable" | "restore" | "attach" | "detach" | "review" | "rotate"
        | "serve" | "deprovision" | "PATCH" | "PUT" => Effect::Update,
        "delete" | "revoke" | "purge" | "end" | "remove" | "DELETE" => Effect::Delete,
        _ => Effect::Read,
    }
}

const COLUMNS: [&str; 18] = [
    "id",
    "at",
    "server",
    "event",
    "status",
    "outcome",
    "reason",
    "operation",
    "entity_type",
    "entity_id",
    "entity_name",
    "application_id",
    "application",
    "authorization_id",
    "authorization",
    "client_id",
    "operator",
    "ip",
];

/// Comma-separated values ([RFC 4180](https://www.rfc-editor.org/rfc/rfc4180)), every cell quoted.
fn csv(items: &[View]) -> String {
    let mut text = String::new();
    row(&mut text, COLUMNS);
    for item in items {
        let id = |id: Option<String>| id.unwrap_or_default();
        let entity = item.entity.as_ref();
        let application = item.application.as_ref();
        let authorization = item.authorization.as_ref();
        let effect = match item.event {
            Effect::Create => "create",
            Effect::Read => "read",
            Effect::Update => "update",
            Effect::Delete => "delete",
        };
        let cells = [
            item.id.clone(),
            item.at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
            item.server.clone(),
            effect.to_owned(),
            id(item.status.map(|status| status.to_string())),
            item.outcome.to_owned(),
            id(item.reason.clone()),
            item.operation.as_str().to_owned(),
            id(entity.map(|entity| entity.r#type.as_str().to_owned())),
            id(entity.and_then(|entity| entity.id.clone())),
            id(entity.map(|entity| entity.name.clone())),
            id(application.map(|one| one.id.to_string())),
            id(application.map(|one| one.name.clone())),
            id(authorization.map(|one| one.id.to_string())),
            id(authorization.map(|one| one.code.clone())),
            id(item.client.map(|client| client.to_string())),
            id(item.operator.as_ref().map(|operator| operator.name.clone())),
            id(item.ip.map(|ip| ip.to_string())),
        ];
        row(&mut text, cells.iter().map(String::as_str));
    }
    text
}

fn row<'c>(text: &mut String, cells: impl IntoIterator<Item = &'c str>) {
    for (index, cell) in cells.into_iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        // A spreadsheet computes what begins like this, even in quotes. Names and reasons have what
        // others sent.
        let guard = if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
            "'"
        } else {
            ""
        };
        write!(text, "{comma}\"{guard}{}\"", cell.replace('"', "\"\""))
            .expect("a string takes every write");
    }
    text.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use dsm_core::audit::Operation;

    use super::{Effect, Format, accepted_format, effect, row};

    #[test]
    fn cells_of_an_export_are_no_formulas() {
        let mut text = String::new();
        row(
            &mut text,
            ["=1+1", "@x", "-2", "+3", "\tx", "a\"b", "a,b\nc", "x=1", ""],
        );
        let expected =
            "\"'=1+1\",\"'@x\",\"'-2\",\"'+3\",\"'\tx\",\"a\"\"b\",\"a,b\nc\",\"x=1\",\"\"\r\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_is_accepted_first_is_given() {
        for (accept, format) in [
            ("", Format::Json),
            ("*/*", Format::Json),
            ("text/csv", Format::Csv),
            ("Text/CSV; q=1, application/json", Format::Csv),
            ("application/json, text/csv", Format::Json),
            ("text/html, application/x-ndjson", Format::Lines),
        ] {
            assert_eq!(accepted_format(accept), format, "{accept}");
        }
    }

    #[test]
    fn every_operation_has_an_effect() {
        for (operation, object, expected) in [
            (Operation::ReadSecret, "x", Effect::Read),
            (Operation::CreateSecret, "x", Effect::Create),
            (Operation::UpdateSecret, "x", Effect::Update),
            (Operation::PurgeSecret, "x", Effect::Delete),
            (Operation::IssueToken, "x", Effect::Create),
            (Operation::RegisterVariables, "", Effect::Create),
            (Operation::RevokeAuthorization, "x", Effect::Delete),
            (Operation::RevealCredentials, "x", Effect::Read),
            (Operation::ViewAudit, "x", Effect::Read),
            (Operation::Request, "POST /iso/sctm/secret", Effect::Create),
            (
                Operation::Request,
                "PATCH /api/v1/secrets/{id}",
                Effect::Update,
            ),
            (Operation::Request, "DELETE /iso/…", Effect::Delete),
            (Operation::Request, "GET /iso/…", Effect::Read),
        ] {
            assert_eq!(effect(operation, object), expected, "{operation:?}");
        }
    }
}
