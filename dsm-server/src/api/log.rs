//! The log of requests: what is answered is in the audit trail, with its status.
//!
//! The status follows from the entry that a request leaves by itself, by the same tables that make
//! the answer. Only where it does not, as after a malformed request, an entry is added.

use std::sync::Arc;

use dsm_core::access::Rule;
use dsm_core::audit::{Actor, Event, FirstEntry, Operation, Outcome, Part, observe};
use dsm_core::vault::RequestAnswer;
use futures_util::future::BoxFuture;
use http::StatusCode;
use http::header::AUTHORIZATION;

use crate::api::status::Kind;
use crate::app::App;
use crate::http::call::{Head, Reply, Surface, bearer};
use crate::http::path::Canonical;
use crate::http::router::Refused;

/// Answers a request that found its route, with `work`.
pub(crate) async fn logged(
    app: Arc<App>,
    head: Arc<Head>,
    pattern: &'static str,
    work: impl Future<Output = Reply>,
) -> Reply {
    let (reply, first) = observe(work).await;
    // A flood that is refused is not recorded one by one.
    if reply.status == StatusCode::TOO_MANY_REQUESTS && first.is_none() {
        return reply;
    }
    let told = first.as_ref().and_then(|first| status_of(&first.event));
    if told != Some(reply.status) {
        let request = shown(&head, pattern);
        let failure = reply.failure().map(str::to_owned);
        Box::pin(record(&app, &head, request, first, reply.status, failure)).await;
    }
    reply
}

/// Records what the router itself refused.
pub fn refused(app: Arc<App>, refused: Refused) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let head = &refused.head;
        let path = Canonical::of(head.uri.path());
        let folded = path.folded();
        // Whoever asks this port for anything else asks neither surface.
        let request = match refused.pattern {
            Some(pattern) => shown(head, pattern),
            None if folded.starts_with("/iso/") => format!("{} /iso/…", head.method),
            None if folded.starts_with("/api/") => format!("{} /api/v1/…", head.method),
            None => return,
        };
        let failure = Some(refused.reason);
        record(&app, head, request, None, refused.status, failure).await;
    })
}

async fn record(
    app: &App,
    head: &Head,
    request: String,
    first: Option<FirstEntry>,
    status: StatusCode,
    failure: Option<String>,
) {
    let actor = match (&first, head.asker()) {
        (Some(first), _) => first.event.actor.clone(),
        (None, Some(asker)) => asker.clone(),
        // The store that would be asked is what failed, or slow: nobody waits for it twice.
        (None, None) if status.is_server_error() => Actor::Unknown { claimed: None },
        (None, None) => {
            let mut sent = head.headers.get_all(AUTHORIZATION).iter();
            match (
                sent.next().and_then(|value| value.to_str().ok()),
                sent.next(),
            ) {
                (Some(header), None) => match bearer(header) {
                    Some(token) => app.vault.actor_of(token).await,
                    None => Actor::Unknown { claimed: None },
                },
                _ => Actor::Unknown { claimed: None },
            }
        }
    };
    let answer = RequestAnswer {
        first,
        actor,
        ip: app.address(head),
        request,
        status: status.as_u16(),
        failure,
    };
    // It is answered all the same: nothing was revealed or changed, or its own entry says so.
    if let Err(error) = app.vault.record_answer(answer).await {
        tracing::error!(%error, "an answer is not in the log");
    }
}

/// Method and place of a request. Of its path, only numbers are repeated.
fn shown(head: &Head, pattern: &str) -> String {
    let path = Canonical::of(head.uri.path());
    let mut sent = path.as_str().split('/');
    let parts = pattern.split('/').map(|part| {
        let sent = sent.next().unwrap_or_default();
        let number = !sent.is_empty() && sent.bytes().all(|byte| byte.is_ascii_digit());
        if part.starts_with('{') && number {
            sent
        } else {
            part
        }
    });
    let parts: Vec<&str> = parts.collect();
    format!("{} {}", head.method, parts.join("/"))
}

/// What was answered to the request that an entry stands for; `None` when it does not say.
pub fn status_of(event: &Event) -> Option<StatusCode> {
    if let Some(Part::Answer { status, .. }) = event.part {
        return StatusCode::from_u16(status).ok();
    }
    let surface = surface_of(event);
    match &event.outcome {
        Outcome::Allowed => Some(success(surface, event.operation)),
        Outcome::Denied { rule, .. } => {
            let rule = Rule::ALL.iter().find(|known| known.as_str() == rule)?;
            Some(Kind::from(rule.class_in(event.operation)).status(surface))
        }
        Outcome::Failed { .. } => None,
    }
}

fn surface_of(event: &Event) -> Surface {
    match (&event.actor, event.operation) {
        (Actor::Operator { .. }, _) | (Actor::Unknown { .. }, Operation::UseOperatorToken) => {
            Surface::V1
        }
        _ => Surface::Iso,
    }
}

/// What is answered when something is done.
fn success(surface: Surface, operation: Operation) -> StatusCode {
    use Operation as O;
    match (surface, operation) {
        (_, O::CreateSecret)
        | (
            Surface::V1,
            O::CreateApplication
            | O::CreateAuthorization
            | O::CreateOperator
            | O::CreateRegistryEntry,
        ) => StatusCode::CREATED,
        (
            Surface::V1,
            O::AttachSecret
            | O::DeleteApplication
            | O::DeleteVariable
            | O::DetachSecret
            | O::PurgeSecret
            | O::RevokeAuthorization
            | O::RevokeOperator,
        ) => StatusCode::NO_CONTENT,
        _ => StatusCode::OK,
    }
}
