//! `/secrets/{id}/rotate` and `/secrets/{id}/attempts`: credentials that are changed on their
//! targets, and what becomes of that.

use std::time::Duration;

use dsm_core::id::SecretId;
use dsm_core::renewal::{Settle, Stage, State};
use dsm_core::secret::ManagedItem;
use dsm_core::store::Page;
use dsm_core::time::Timestamp;
use dsm_core::vault::{Attempt, Cause, Method, Promotion, Stored, Tried};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::api::status::Failure;
use crate::api::v1::endpoint::{get, json_of, post};
use crate::api::v1::input;
use crate::api::v1::query::{Query, page_of};
use crate::api::v1::request::{Answer, Request};
use crate::api::v1::view::Object;
use crate::app::App;
use crate::http::call::Reply;
use crate::http::fields::FieldReader;
use crate::http::operation::Shape;
use crate::http::router::Route;

/// The longest overlap that can be asked for, in seconds: a year.
const MAX_OVERLAP: u64 = 365 * 24 * 3600;

/// One rotation of one credential.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RotationAttempt")]
struct View<'a> {
    secret: SecretId,
    item: &'a ManagedItem,
    cause: Cause,
    state: Name,
    /// What is left to do; null when it is over.
    stage: Option<Stage>,
    /// How; null until it is planned.
    method: Option<Method>,
    /// How often the target refused in this stage.
    refusals: u32,
    /// How often in a row something else failed.
    failures: u32,
    /// When it is tried again, after a failure.
    next_try_at: Option<Timestamp>,
    /// The overlap that was asked for.
    overlap_seconds: Option<u64>,
    /// When the new credential came to be served.
    promotion: Option<&'a Promotion>,
    ended_at: Option<Timestamp>,
    /// What failed, the newest last.
    tried: &'a [Tried],
    /// The decisions that settle it, while it waits for an operator.
    decisions: &'static [Settle],
    /// The decision, until a worker has seen to it.
    settled: Option<Settle>,
}

/// Where a rotation is.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "RotationState")]
enum Name {
    Idle,
    Planned,
    Applied,
    Verified,
    Promoted,
    Retired,
    RetryWait,
    NeedsOperator,
    Withdrawn,
}

/// A rotation of each managed item.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Rotation")]
struct Asked<'a> {
    attempts: Vec<Object<View<'a>>>,
}

pub(super) fn routes() -> Vec<Route<App>> {
    vec![
        post(
            "/api/v1/secrets/{id}/rotate",
            "v1.secrets.rotate",
            "Has every managed credential of a secret rotated now",
        )
        .says(
            "What is under way is given again. An overlap of zero is for a leak: one that runs is \
             cut short, and another rotation follows at once",
        )
        .body(overlap)
        .answers(
            StatusCode::ACCEPTED,
            json_of("What a worker is about to do", Shape::of::<Asked<'_>>()),
        )
        .by(rotate),
        get(
            "/api/v1/secrets/{id}/attempts",
            "v1.secrets.attempts.list",
            "Lists the rotations of a secret",
        )
        .query(Query::page)
        .lists::<Object<View<'_>>>()
        .by(list),
        post(
            "/api/v1/secrets/{id}/attempts/{n}/settle",
            "v1.secrets.attempts.settle",
            "Settles a rotation that waits for an operator",
        )
        .says("What is to be served has to log in, whatever is decided")
        .body(decision)
        .answers(
            StatusCode::ACCEPTED,
            json_of(
                "What a worker is about to do",
                Shape::of::<Object<View<'_>>>(),
            )
            .with("ETag"),
        )
        .by(settle),
    ]
}

fn overlap(mut body: FieldReader) -> Result<Option<Duration>, Failure> {
    let shape = || Shape::fixed(json!({"type": "integer", "minimum": 0, "maximum": MAX_OVERLAP}));
    let overlap = body.optional("overlap_seconds", shape, |value| {
        let seconds = value.as_u64().filter(|seconds| *seconds <= MAX_OVERLAP);
        seconds
            .map(Duration::from_secs)
            .ok_or("must be a whole number from 0 to 31536000")
    });
    let wrong = input::wrong(body);
    if wrong.is_empty() {
        Ok(overlap)
    } else {
        Err(Failure::invalid(wrong))
    }
}

async fn rotate(request: Request, overlap: Result<Option<Duration>, Failure>) -> Answer {
    let (id, overlap) = (request.id("id")?, overlap?);
    let attempts = request
        .vault()
        .rotate_secret(&request.caller, id, overlap)
        .await?;
    let attempts = attempts.iter().map(view).collect();
    Ok(Reply::json(StatusCode::ACCEPTED, &Asked { attempts }))
}

async fn list(request: Request, page: Page) -> Answer {
    let found = request
        .vault()
        .list_attempts(&request.caller, request.id("id")?, page)
        .await?;
    let items = found.items.iter().map(view).collect();
    Ok(page_of(items, found.next))
}

fn decision(mut body: FieldReader) -> Result<Settle, Failure> {
    let how = body.required("decision", Shape::of::<Settle>, |value| {
        serde_json::from_value(value)
            .map_err(|_| "must be retry, accept_candidate or accept_current")
    });
    let wrong = input::wrong(body);
    how.filter(|_| wrong.is_empty())
        .ok_or_else(|| Failure::invalid(wrong))
}

async fn settle(request: Request, how: Result<Settle, Failure>) -> Answer {
    let (id, attempt, how) = (request.id("id")?, request.id("n")?, how?);
    let settled = request
        .vault()
        .settle_attempt(&request.caller, id, attempt, how)
        .await?;
    Ok(view(&settled).accepted())
}

fn view(stored: &Stored<Attempt>) -> Object<View<'_>> {
    let progress = stored.progress;
    let (state, decisions) = match progress.state {
        State::Idle => (Name::Idle, &[][..]),
        State::Planned => (Name::Planned, &[][..]),
        State::Applied => (Name::Applied, &[][..]),
        State::Verified => (Name::Verified, &[][..]),
        State::Promoted => (Name::Promoted, &[][..]),
        State::Retired => (Name::Retired, &[][..]),
        State::RetryWait(_) => (Name::RetryWait, &[][..]),
        State::NeedsOperator(stage) => (Name::NeedsOperator, stage.decisions()),
        State::Withdrawn => (Name::Withdrawn, &[][..]),
    };
    let content = View {
        secret: stored.secret,
        item: &stored.item,
        cause: stored.cause,
        state,
        stage: progress.state.stage(),
        method: stored.plan.as_ref().map(|plan| plan.method),
        refusals: progress.refusals,
        failures: progress.failures,
        next_try_at: stored.try_at,
        overlap_seconds: stored.overlap_seconds,
        promotion: stored.promotion.as_ref(),
        ended_at: stored.ended_at,
        tried: &stored.tried,
        decisions,
        settled: stored.settle,
    };
    Object::of(stored, content)
}
