//! The shape of every answer of this surface: the default response object, in two languages.

use dsm_core::vault::FieldError;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::status::{Failure, Kind};
use crate::http::call::{Reply, Surface};
use crate::http::router::Refusal;

/// What every answer carries, whatever else it does. Clients look at `error` here rather than at
/// the status.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DefaultResponse")]
struct Response<'a> {
    status: u16,
    message: &'a str,
    error: bool,
    error_code: u32,
    detail: &'a str,
    mensagem: &'a str,
    erro: bool,
    cod_erro: u32,
}

/// An answer with the default response object.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "IsoAnswer{T}")]
pub(super) struct Answer<'a, T> {
    code: u16,
    response: Response<'a>,
    #[serde(flatten)]
    body: T,
}

/// Beside the default object, what clients show of a failure.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Failure")]
pub(super) struct Failed<'a> {
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exception: Option<Exception>,
}

/// As above, in the form that some clients read.
#[derive(Serialize, JsonSchema)]
struct Exception {
    code: u16,
    message: String,
    detail: Option<&'static str>,
}

/// What a failure has, and more.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Failure{T}")]
pub(super) struct Both<'a, T> {
    #[serde(flatten)]
    failed: Failed<'a>,
    #[serde(flatten)]
    more: T,
}

/// A body beside the default object.
pub(super) fn done(status: StatusCode, message: &str, body: impl Serialize) -> Reply {
    let code = status.as_u16();
    let response = Response {
        status: code,
        message,
        error: false,
        error_code: 0,
        detail: "",
        mensagem: message,
        erro: false,
        cod_erro: 0,
    };
    let answer = Answer {
        code,
        response,
        body,
    };
    Reply::json(status, &answer)
}

/// Nothing beside the default object.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "")]
pub(super) struct Nothing {}

/// A failure, with `more` beside what every failure has.
pub(super) fn failed_with(failure: &Failure, more: impl Serialize) -> Reply {
    let status = failure.kind.status(Surface::Iso);
    let code = status.as_u16();
    let error_code = failure.kind.error_code();
    let message = in_words(failure);
    let exception = matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::INTERNAL_SERVER_ERROR
    );
    let answer = Answer {
        code,
        response: Response {
            status: code,
            message: &message,
            error: true,
            error_code,
            detail: "",
            mensagem: &message,
            erro: true,
            cod_erro: error_code,
        },
        body: Both {
            failed: Failed {
                message: &message,
                exception: exception.then(|| Exception {
                    code,
                    message: format!("{code}: {message}"),
                    detail: None,
                }),
            },
            more,
        },
    };
    let reply = failure.kind.headers(Reply::json(status, &answer));
    reply.because(failure.for_log())
}

/// A failure.
pub(super) fn failed(failure: &Failure) -> Reply {
    failed_with(failure, Nothing {})
}

/// The reply, or the failure in the shape of this surface.
pub(super) fn answer(result: Result<Reply, Failure>) -> Reply {
    result.unwrap_or_else(|failure| failed(&failure))
}

/// What the router refuses, in the shape of this surface.
pub fn refuse(_: Surface, refusal: Refusal) -> Reply {
    failed(&refusal.into())
}

/// The message, or every wrong field with what is wrong with it.
pub(super) fn in_words(failure: &Failure) -> String {
    if failure.fields.is_empty() {
        return failure.message.to_string();
    }
    let fields: Vec<String> = failure.fields.iter().map(one_field).collect();
    let fields = fields.join("; ");
    match failure.kind {
        Kind::Invalid => fields,
        _ => format!("{} {fields}", failure.message),
    }
}

/// The vault's names of fields are those of the other surface.
fn one_field(error: &FieldError) -> String {
    let end = error.field.find(['[', '.']).unwrap_or(error.field.len());
    let (name, rest) = error.field.split_at(end);
    let name = match name {
        "expires_at" => "expiration_date",
        "allowed_referrers" => "allowed_http_referers",
        "resources" => "authorized_resources",
        "encrypt_sensitive" => "encryption_enabled",
        other => other,
    };
    format!("{name}{rest}: {}", error.message)
}
