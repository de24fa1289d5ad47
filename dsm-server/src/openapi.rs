//! The description of the interface: OpenAPI 3.1, made of the table of routes.
//!
//! Nothing is described here that a route says of itself. This is the frame around it: how the two
//! surfaces are meant, how callers prove who they are, and the schemas that answers share.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use dsm_core::secret::Identity;
use http::header::{CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH};
use http::{Method, StatusCode};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::api::status::Kind;
use crate::http::call::{Call, Reply, Surface};
use crate::http::operation::{Answer, Credentials, Note, Operation, Parameter, Place, Shape};
use crate::http::router::{PathParameter, Refusal, Route};

/// Where the description is served.
pub const PATH: &str = "/openapi.json";
const JSON: &str = "application/json";
/// The media type of what the server says of itself.
pub const TEXT: &str = "text/plain; charset=utf-8";

const ABOUT: &str = "\
Two surfaces over one vault. Every refusal has one shape per surface, and the reason of a denial is \
for the audit trail: who asked learns its class only.

Paths are matched in any letter case, and one slash at their end is passed over. Any request may be \
refused with 404 and 405 where no operation is described.";

const ISO: &str = "\
What existing clients speak. `/api/…`, `/api/iso/…` and `/senhasegura/iso/…` lead to the same \
operations as `/iso/…`, but for `/api/v1`. Fields may come as JSON, as a form, as multipart or in \
the query string, their names in any letter case; fields that nobody knows are ignored, and numbers \
and booleans may be texts. In forms, lists are written with commas or by repeating a field, objects \
as JSON. Every answer has the default response object, errors a `message` beside it.";

const V1: &str = "\
How operators manage the vault. Strict JSON: unknown fields and parameters are refused, and every \
wrong one is named. Ids are decimal numbers as text, instants RFC 3339 in UTC. Failures are problem \
documents of RFC 9457.";

/// The description as it is served.
#[derive(Debug)]
struct Served {
    text: Bytes,
    tag: HeaderValue,
}

/// An operation of the server itself, with what the router may refuse it with.
pub fn of_server(summary: &'static str) -> Operation {
    let refusals = [
        Refusal::BodyBroken,
        Refusal::BodyTimedOut,
        Refusal::BodyTooLarge,
        Refusal::Failed,
        Refusal::TimedOut,
    ];
    let operation = Operation::new(summary, Credentials::None);
    refusals.iter().fold(operation, |operation, refusal| {
        let answer = Answer::of(Kind::from(*refusal).message(), TEXT, Shape::text());
        let status = refusal.status();
        operation.refuses(status, answer.shared(format!("Server{}", status.as_u16())))
    })
}

/// `routes` with one more, which serves the description of them all.
pub fn with_description<S: Send + Sync + 'static>(mut routes: Vec<Route<S>>) -> Vec<Route<S>> {
    let served: Arc<OnceLock<Served>> = Arc::default();
    let later = Arc::clone(&served);
    let operation = of_server("Describes this interface")
        .answers(
            StatusCode::OK,
            Answer::of(
                "The description in OpenAPI 3.1",
                JSON,
                Shape::fixed(json!({"type": "object", "required": ["openapi", "paths"]})),
            )
            .with("ETag"),
        )
        .answers(
            StatusCode::NOT_MODIFIED,
            Answer::empty("It is what the caller has already").with("ETag"),
        );
    routes.push(Route::new(
        Method::GET,
        PATH,
        Surface::Health,
        "openapi",
        operation,
        move |_, call: Call| {
            let served = Arc::clone(&later);
            async move {
                match served.get() {
                    Some(served) => served.reply(&call),
                    None => Reply::empty(StatusCode::SERVICE_UNAVAILABLE),
                }
            }
        },
    ));
    served.get_or_init(|| Served::of(&document(&routes)));
    routes
}

impl Served {
    fn of(document: &Value) -> Self {
        let text = document.to_string();
        let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(&text)[..16]);
        let tag = HeaderValue::try_from(format!("\"{digest}\""));
        Self {
            text: text.into(),
            tag: tag.expect("digits and quotes are visible ASCII"),
        }
    }

    fn reply(&self, call: &Call) -> Reply {
        let has = call.headers().get_all(IF_NONE_MATCH).iter().any(|value| {
            let mut tags = value.as_bytes().split(|byte| *byte == b',');
            tags.any(|tag| {
                let tag = tag.trim_ascii();
                // Compared weakly (RFC 9110, section 13.1.2): a proxy that compresses weakens tags.
                let tag = tag.strip_prefix(b"W/").unwrap_or(tag);
                tag == b"*" || tag == self.tag.as_bytes()
            })
        });
        let reply = if has {
            Reply::empty(StatusCode::NOT_MODIFIED)
        } else {
            Reply::bytes(StatusCode::OK, JSON, self.text.clone())
        };
        // It is no secret, and may be kept as long as it is asked for whether it is still right.
        reply
            .header(ETAG, self.tag.clone())
            .header(CACHE_CONTROL, HeaderValue::from_static("no-cache"))
    }
}

/// The description of `routes`.
pub fn document<S>(routes: &[Route<S>]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.for_serialize().into_generator();
    let mut paths = Map::new();
    let mut shared = Map::new();
    for route in routes {
        let path = route.pattern.replace('…', "");
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        methods[route.method.as_str().to_ascii_lowercase()] =
            operation(route, &mut schemas, &mut shared);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "DSM server",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE")},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": tag(Surface::Iso), "description": ISO},
            {"name": tag(Surface::V1), "description": V1},
            {"name": tag(Surface::Health), "description": "The server itself"},
        ],
        "paths": paths,
        "components": {
            "responses": shared,
            "schemas": schemas.take_definitions(true),
            "securitySchemes": security_schemes(),
        },
    })
}

fn tag(surface: Surface) -> &'static str {
    match surface {
        Surface::Iso => "applications",
        Surface::V1 => "management",
        Surface::Health => "server",
    }
}

fn operation<S>(
    route: &Route<S>,
    schemas: &mut SchemaGenerator,
    shared: &mut Map<String, Value>,
) -> Value {
    let Operation {
        summary,
        description,
        credentials,
        parameters,
        body,
        answers,
    } = &route.operation;
    let mut described = json!({
        "operationId": route.name,
        "summary": summary,
        "tags": [tag(route.surface)],
        "security": security(*credentials),
    });
    if let Some(text) = description {
        described["description"] = json!(text);
    }
    let in_path = route.path_parameters().map(path_parameter);
    let parameters: Vec<Value> = in_path
        .chain(parameters.iter().cloned())
        .map(|one| parameter(&one, schemas))
        .collect();
    if !parameters.is_empty() {
        described["parameters"] = parameters.into();
    }
    if let Some(body) = body {
        described["requestBody"] = json!({
            "required": body.required,
            "content": content(&body.content, schemas),
        });
    }
    let answers = answers.iter().map(|(status, one)| {
        let status = status.as_u16().to_string();
        let described = answer(one, schemas);
        let Some(name) = &one.shared else {
            return (status, described);
        };
        let reference = format!("#/components/responses/{name}");
        shared.insert(name.clone(), described);
        (status, json!({"$ref": reference}))
    });
    described["responses"] = answers.collect::<Map<_, _>>().into();
    described
}

/// A parameter of a path, by its name.
fn path_parameter(PathParameter { name, tail }: PathParameter) -> Parameter {
    let (shape, description) = if tail {
        let shape = Shape::of::<Identity>();
        (
            shape,
            "All that is left of the path; slashes may be percent-encoded or not",
        )
    } else {
        (Shape::decimal(), "")
    };
    Parameter {
        place: Place::Path,
        note: Note {
            name,
            shape,
            required: true,
        },
        description,
    }
}

fn parameter(parameter: &Parameter, schemas: &mut SchemaGenerator) -> Value {
    let place = match parameter.place {
        Place::Path => "path",
        Place::Query => "query",
        Place::Header => "header",
    };
    let mut described = json!({
        "name": parameter.note.name,
        "in": place,
        "required": parameter.note.required,
        "schema": parameter.note.shape.make(schemas),
    });
    if !parameter.description.is_empty() {
        described["description"] = json!(parameter.description);
    }
    described
}

fn answer(answer: &Answer, schemas: &mut SchemaGenerator) -> Value {
    let mut described = json!({"description": answer.description});
    if !answer.content.is_empty() {
        described["content"] = content(&answer.content, schemas);
    }
    if !answer.headers.is_empty() {
        let headers = answer.headers.iter().map(|name| {
            let header = json!({"required": true, "schema": {"type": "string", "minLength": 1}});
            ((*name).to_owned(), header)
        });
        described["headers"] = headers.collect::<Map<_, _>>().into();
    }
    described
}

fn content(content: &[(&'static str, Shape)], schemas: &mut SchemaGenerator) -> Value {
    let content = content.iter().map(|(media_type, shape)| {
        let schema = shape.make(schemas);
        ((*media_type).to_owned(), json!({"schema": schema}))
    });
    content.collect::<Map<_, _>>().into()
}

fn security(credentials: Credentials) -> Value {
    match credentials {
        Credentials::None => json!([]),
        Credentials::Operator => json!([{"operator": []}]),
        Credentials::Application => json!([{"accessToken": []}]),
        // The credentials may stand in the body.
        Credentials::Client => json!([{"client": []}, {}]),
    }
}

fn security_schemes() -> Value {
    json!({
        "operator": {
            "type": "http",
            "scheme": "bearer",
            "description": "The token of an operator",
        },
        "accessToken": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token that `/iso/oauth2/token` gave. It is good from the addresses, \
                            referrers and with the certificate that the authorization allows. \
                            Clients of OAuth 1.0 (RFC 5849) have none: they sign each request, in \
                            the header, the query or a form",
        },
        "client": {
            "type": "http",
            "scheme": "basic",
            "description": "Id and secret of a client, both percent-encoded; or `client_id` and \
                            `client_secret` in the body; or there, as `unique_key` and \
                            `aws_headers`, an identity of AWS",
        },
    })
}

#[cfg(test)]
mod tests;
