//! A route of `/api/v1` in the making: what it does, what it reads, what it answers and who does it.
//!
//! ```ignore
//! post(COLLECTION, "v1.secrets.create", "Makes a secret")
//!     .body(new_secret)
//!     .requires(&["identity", "name"])
//!     .creates::<View>()
//!     .by(create)
//! ```
//!
//! A handler is given what the reader made of the request and has no other way to it, so the
//! description of the interface, which comes from the same reader, says what is read.

use std::future::Future;
use std::sync::Arc;

use http::header::IF_MATCH;
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde_json::json;

use crate::api::log;
use crate::api::status::{Failure, Kind};
use crate::api::v1::problem::{self, Problem};
use crate::api::v1::query::{Items, Query, parameters_of};
use crate::api::v1::request::{Answer, MERGE_PATCH, Request, unconditional};
use crate::api::v1::view::Object;
use crate::app::App;
use crate::http::call::{Call, Surface};
use crate::http::fields::{FieldReader, shape_of};
use crate::http::operation::{
    self, Credentials, Note, Operation, Parameter, Place, RequestBody, Shape,
};
use crate::http::router::Route;

/// What every request of this surface may be refused with.
const ALWAYS: &[Kind] = &[
    Kind::Malformed,
    Kind::Unauthenticated,
    Kind::Forbidden,
    Kind::BodyTimedOut,
    Kind::TooLarge,
    Kind::Internal,
    Kind::Unavailable,
    Kind::Throttled(1),
];
/// What beside these a request may be refused with that has a body or changes something.
const ON_WRITING: &[Kind] = &[Kind::UnsupportedType, Kind::Invalid, Kind::Conflict];

/// A route without its handler; `R` is what of a request it reads.
pub(super) struct Endpoint<R = Nothing> {
    method: Method,
    pattern: &'static str,
    name: &'static str,
    operation: Operation,
    conditional: bool,
    reads: R,
}

/// Neither query nor body.
pub(super) struct Nothing;

/// The parameters of the query.
pub(super) struct Parameters<I>(fn(&mut Query) -> I);

/// The fields of the body.
pub(super) struct Body<I>(fn(FieldReader) -> I);

/// `GET`.
pub(super) fn get(pattern: &'static str, name: &'static str, summary: &'static str) -> Endpoint {
    Endpoint::new(Method::GET, pattern, name, summary)
}

/// `POST`.
pub(super) fn post(pattern: &'static str, name: &'static str, summary: &'static str) -> Endpoint {
    Endpoint::new(Method::POST, pattern, name, summary)
}

/// `PUT`.
pub(super) fn put(pattern: &'static str, name: &'static str, summary: &'static str) -> Endpoint {
    Endpoint::new(Method::PUT, pattern, name, summary)
}

/// `PATCH`.
pub(super) fn patch(pattern: &'static str, name: &'static str, summary: &'static str) -> Endpoint {
    Endpoint::new(Method::PATCH, pattern, name, summary)
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
            operation: Operation::new(summary, Credentials::Operator),
            conditional: false,
            reads: Nothing,
        }
    }

    /// With the parameters that `read` asks for in the query.
    pub(super) fn query<I>(mut self, read: fn(&mut Query) -> I) -> Endpoint<Parameters<I>> {
        let parameters = parameters_of(read).into_iter().map(|note| Parameter {
            place: Place::Query,
            note,
            description: "",
        });
        self.operation.parameters.extend(parameters);
        self.reading(Parameters(read))
    }

    /// With the fields that `read` asks for in the body.
    pub(super) fn body<I>(mut self, read: fn(FieldReader) -> I) -> Endpoint<Body<I>> {
        self.describe_body(read, &[]);
        self.reading(Body(read))
    }

    fn reading<R>(self, reads: R) -> Endpoint<R> {
        Endpoint {
            method: self.method,
            pattern: self.pattern,
            name: self.name,
            operation: self.operation,
            conditional: self.conditional,
            reads,
        }
    }

    /// The route, answered by `handler`.
    pub(super) fn by<H, F>(self, handler: H) -> Route<App>
    where
        H: Fn(Request) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        self.route(move |request| {
            let nothing = no_parameters(&request).and_then(|()| request.no_fields());
            nothing.map(|()| handler(request))
        })
    }
}

impl<I: 'static> Endpoint<Parameters<I>> {
    /// The route, answered by `handler`, which is given what was read of the query.
    pub(super) fn by<H, F>(self, handler: H) -> Route<App>
    where
        H: Fn(Request, I) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        let read = self.reads.0;
        self.route(move |request| {
            let mut query = Query::read(request.query());
            let input = read(&mut query);
            query.finish()?;
            request.no_fields()?;
            Ok(handler(request, input))
        })
    }
}

impl<I: 'static> Endpoint<Body<I>> {
    /// The fields that the vault insists on, beside those that the reader does.
    pub(super) fn requires(mut self, fields: &[&str]) -> Self {
        self.describe_body(self.reads.0, fields);
        self
    }

    /// The route, answered by `handler`, which is given what was read of the body.
    pub(super) fn by<H, F>(self, handler: H) -> Route<App>
    where
        H: Fn(Request, I) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        let read = self.reads.0;
        self.route(move |request| {
            no_parameters(&request)?;
            let input = read(request.body()?);
            Ok(handler(request, input))
        })
    }
}

impl<R> Endpoint<R> {
    /// More about it than the summary says.
    pub(super) fn says(mut self, description: &'static str) -> Self {
        self.operation.description = Some(description);
        self
    }

    /// A change that may be meant for one revision only (`If-Match`).
    pub(super) fn conditional(mut self) -> Self {
        self.conditional = true;
        let pattern = "^(\\*|\"(0|[1-9][0-9]{0,18})\")$";
        let shape = Shape::fixed(json!({"type": "string", "pattern": pattern}));
        self.header(
            "If-Match",
            shape,
            "The entity tag of the revision that the change is meant for",
        )
        .fails(Kind::Stale)
    }

    /// With a failure beside those that all have.
    pub(super) fn fails(mut self, kind: Kind) -> Self {
        self.operation = self
            .operation
            .refuses(kind.status(Surface::V1), problem(kind));
        self
    }

    /// Answers 200 with an object, its id and its stamps.
    pub(super) fn shows<T: JsonSchema>(self) -> Self {
        let shape = Shape::of::<Object<T>>();
        self.answers(StatusCode::OK, json_of("The object", shape).with("ETag"))
    }

    /// Answers 201 with an object that was made, its id and its stamps.
    pub(super) fn creates<T: JsonSchema>(self) -> Self {
        let answer = json_of("The object that was made", Shape::of::<Object<T>>());
        self.once()
            .answers(StatusCode::CREATED, answer.with("ETag").with("Location"))
    }

    /// A change that is made once under an idempotency key.
    pub(super) fn once(self) -> Self {
        let pattern = "^[\\x21-\\x7e]([\\x20-\\x7e]*[\\x21-\\x7e])?$";
        let shape = json!({"type": "string", "maxLength": 256, "pattern": pattern});
        self.header(
            "Idempotency-Key",
            Shape::fixed(shape),
            "The same request with the same key is done once within a day, and answered alike",
        )
    }

    /// Answers 200 with a page of a list.
    pub(super) fn lists<T: JsonSchema>(self) -> Self {
        let shape = Shape::of::<Items<T>>();
        self.answers(StatusCode::OK, json_of("A page, newest first", shape))
    }

    /// Answers 200 with `T`.
    pub(super) fn gives<T: JsonSchema>(self) -> Self {
        self.answers(StatusCode::OK, json_of("Done", Shape::of::<T>()))
    }

    /// Answers 204.
    pub(super) fn gives_nothing(self) -> Self {
        self.answers(StatusCode::NO_CONTENT, operation::Answer::empty("Done"))
    }

    /// Answers something else.
    pub(super) fn answers(mut self, status: StatusCode, answer: operation::Answer) -> Self {
        self.operation = self.operation.answers(status, answer);
        self
    }

    /// The route; `handle` reads a request and begins to answer it.
    fn route<H, F>(mut self, handle: H) -> Route<App>
    where
        H: Fn(Request) -> Result<F, Failure> + Clone + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        for kind in ALWAYS {
            self = self.fails(*kind);
        }
        if self.method != Method::GET {
            for kind in ON_WRITING {
                self = self.fails(*kind);
            }
        }
        if self.pattern.contains('{') {
            self = self.fails(Kind::NotFound);
        }
        let (conditional, pattern) = (self.conditional, self.pattern);
        Route::new(
            self.method,
            pattern,
            Surface::V1,
            self.name,
            self.operation,
            move |app: Arc<App>, call: Call| {
                let handle = handle.clone();
                let (log, head) = (Arc::clone(&app), Arc::clone(&call.head));
                log::logged(log, head, pattern, async move {
                    let given = call.headers().contains_key(IF_MATCH);
                    let answer = async {
                        let request = Request::of(app, call, conditional).await?;
                        handle(request)?.await
                    };
                    answer.await.unwrap_or_else(|failure| {
                        problem::reply(&if given {
                            failure
                        } else {
                            unconditional(failure)
                        })
                    })
                })
            },
        )
    }

    fn header(mut self, name: &'static str, shape: Shape, description: &'static str) -> Self {
        self.operation.parameters.push(Parameter {
            place: Place::Header,
            note: Note {
                name,
                shape,
                required: false,
            },
            description,
        });
        self
    }

    fn describe_body<T>(&mut self, read: fn(FieldReader) -> T, required: &[&str]) {
        let (any, shape) = shape_of(read, required);
        let mut content = vec![("application/json", shape.clone())];
        if self.method == Method::PATCH {
            content.push((MERGE_PATCH, shape));
        }
        self.operation.body = Some(RequestBody {
            required: any,
            content,
        });
    }
}

fn no_parameters(request: &Request) -> Result<(), Failure> {
    Query::read(request.query()).finish()
}

/// An answer of JSON.
pub(super) fn json_of(description: &'static str, shape: Shape) -> operation::Answer {
    operation::Answer::of(description, "application/json", shape)
}

fn problem(kind: Kind) -> operation::Answer {
    let answer =
        operation::Answer::of(kind.message(), problem::PROBLEM, Shape::of::<Problem<'_>>());
    let answer = answer.shared(format!("Problem{}", kind.status(Surface::V1).as_u16()));
    match kind {
        Kind::Unauthenticated => answer.with("WWW-Authenticate"),
        Kind::Throttled(_) => answer.with("Retry-After"),
        _ => answer,
    }
}
