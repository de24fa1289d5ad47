//! Failures as problem documents ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)).

use dsm_core::vault::FieldError;
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::status::{Failure, Kind};
use crate::http::call::{Reply, Surface};
use crate::http::fields::{BodyError, FieldIssue};
use crate::http::json::JsonError;
use crate::http::router::Refusal;

/// The media type of a problem document.
pub(super) const PROBLEM: &str = "application/problem+json";

/// Why a request was not done ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)).
#[derive(Serialize, JsonSchema)]
pub(super) struct Problem<'a> {
    r#type: &'static str,
    /// The status in words.
    title: &'static str,
    status: u16,
    detail: &'a str,
    /// Every field, parameter or header that is wrong.
    errors: Vec<Wrong<'a>>,
}

/// What is wrong with one field.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ProblemField")]
struct Wrong<'a> {
    /// Its name, with dots and brackets where it is inside another.
    field: &'a str,
    message: &'a str,
}

/// The shape of this surface for what the router refuses.
pub fn refuse(_: Surface, refusal: Refusal) -> Reply {
    reply(&refusal.into())
}

/// A failure as it is answered.
pub(super) fn reply(failure: &Failure) -> Reply {
    let status = failure.kind.status(Surface::V1);
    let problem = Problem {
        r#type: "about:blank",
        title: status.canonical_reason().unwrap_or_default(),
        status: status.as_u16(),
        detail: &failure.message,
        errors: failure.fields.iter().map(Wrong::from).collect(),
    };
    let reply = Reply::json_as(status, PROBLEM, &problem);
    failure.kind.headers(reply).because(failure.for_log())
}

/// A request that cannot be read, by the parameters or headers that are wrong.
pub(super) fn malformed(wrong: Vec<FieldError>) -> Failure {
    Failure {
        fields: wrong,
        ..Kind::Malformed.into()
    }
}

impl<'a> From<&'a FieldError> for Wrong<'a> {
    fn from(error: &'a FieldError) -> Self {
        Self {
            field: &error.field,
            message: &error.message,
        }
    }
}

impl From<FieldIssue> for FieldError {
    fn from(issue: FieldIssue) -> Self {
        Self::new(issue.field, issue.message)
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        let kind = match &error {
            BodyError::UnsupportedType => Kind::UnsupportedType,
            // A number beyond all bounds is well-formed: its field is wrong.
            BodyError::Json(JsonError::Number { path }) => {
                let message = "is too large to be kept exactly";
                return Self::invalid(vec![FieldError::new(path, message)]);
            }
            BodyError::Json(_) => Kind::Malformed,
        };
        Self::new(kind, error.to_string())
    }
}
