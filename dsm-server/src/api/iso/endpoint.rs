//! A route of `/iso` in the making: what it does, what it reads, what it answers and who does it.

use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{Method, StatusCode};
use schemars::JsonSchema;

use super::input::{Input, body_of};
use super::reply::{Answer, Both, Nothing};
use crate::api::log;
use crate::api::status::Kind;
use crate::app::App;
use crate::http::call::{Call, Reply, Surface};
use crate::http::operation::{self, Credentials, Operation, Shape};
use crate::http::router::Route;

/// What every request of this surface may be refused with.
const ALWAYS: &[Kind] = &[
    Kind::Malformed,
    Kind::BodyTimedOut,
    Kind::TooLarge,
    Kind::Internal,
    Kind::Unavailable,
    Kind::Throttled(1),
];
/// What beside these an application may be refused with. A value that cannot be sealed as its
/// authorization says is a conflict, on reading too.
const OF_APPLICATIONS: &[Kind] = &[Kind::Unauthenticated, Kind::Forbidden, Kind::Conflict];
/// What beside these a request may be refused with that changes something.
const ON_WRITING: &[Kind] = &[Kind::UnsupportedType, Kind::Conflict];

/// A route without its handler.
pub(super) struct Endpoint {
    method: Method,
    pattern: &'static str,
    name: &'static str,
    operation: Operation,
}

/// `GET`.
pub(super) fn get(pattern: &'static str, name: &'static str, summary: &'static str) -> Endpoint {
    Endpoint::new(Method::GET, pattern, name, summary)
}

/// `POST`.
pub(super) fn post(pattern: &'static str, name: &'static str, summary: &'static str) -> Endpoint {
    Endpoint::new(Method::POST, pattern, name, summary)
}

/// `DELETE`.
pub(super) fn delete(pattern: &'static str, name: &'static str, summary: &'static str) -> Endpoint {
    Endpoint::new(Method::DELETE, pattern, name, summary)
}

impl Endpoint {
    fn new(
        method: Method,
        pattern: &'static str,
        name: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            method,
            pattern,
            name,
            operation: Operation::new(summary, Credentials::Application),
        }
    }

    /// For clients with their id and secret, whose failures have `T` beside what all have.
    pub(super) fn for_clients<T: JsonSchema>(mut self) -> Self {
        self.operation.credentials = Credentials::Client;
        for kind in [Kind::InvalidClient, Kind::Malformed] {
            self = self.fails_with::<T>(kind, "TokenFailure");
        }
        self
    }

    /// With the fields that `read` asks for.
    pub(super) fn fields<I>(mut self, read: impl FnOnce(Input) -> I) -> Self {
        self.operation.body = Some(body_of(read));
        self
    }

    /// Answers `T` beside the default object.
    pub(super) fn gives<T: JsonSchema>(
        mut self,
        status: StatusCode,
        description: &'static str,
    ) -> Self {
        let shape = Shape::of::<Answer<'_, T>>();
        let answer = operation::Answer::of(description, "application/json", shape);
        self.operation = self.operation.answers(status, answer);
        self
    }

    /// With a failure beside those that all have.
    pub(super) fn fails(self, kind: Kind) -> Self {
        self.fails_with::<Nothing>(kind, "Failure")
    }

    /// With a failure that has `T` beside what all have, under a name of its own.
    pub(super) fn fails_with<T: JsonSchema>(mut self, kind: Kind, name: &str) -> Self {
        let status = kind.status(Surface::Iso);
        let shape = Shape::of::<Answer<'_, Both<'_, T>>>();
        let mut answer = operation::Answer::of(kind.message(), "application/json", shape)
            .shared(format!("{name}{}", status.as_u16()));
        match kind {
            Kind::Unauthenticated => answer = answer.with("WWW-Authenticate"),
            Kind::Throttled(_) => answer = answer.with("Retry-After"),
            _ => {}
        }
        self.operation = self.operation.refuses(status, answer);
        self
    }

    /// The route, answered by `handler`.
    pub(super) fn by<H, F>(mut self, handler: H) -> Route<App>
    where
        H: Fn(Arc<App>, Call) -> F + Send + Sync + 'static,
        F: Future<Output = Reply> + Send + 'static,
    {
        for kind in ALWAYS {
            self = self.fails(*kind);
        }
        if self.operation.credentials == Credentials::Application {
            for kind in OF_APPLICATIONS {
                self = self.fails(*kind);
            }
            if self.method != Method::GET {
                for kind in ON_WRITING {
                    self = self.fails(*kind);
                }
            }
        }
        if self.pattern.contains('{') {
            self = self.fails(Kind::NotFound);
        }
        let pattern = self.pattern;
        Route::new(
            self.method,
            pattern,
            Surface::Iso,
            self.name,
            self.operation,
            move |app: Arc<App>, call: Call| {
                let head = Arc::clone(&call.head);
                let work: BoxFuture<'static, Reply> = Box::pin(handler(Arc::clone(&app), call));
                log::logged(app, head, pattern, work)
            },
        )
    }
}
