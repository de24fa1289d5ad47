//! Whether what goes over the wire is what the description of the interface says.
//!
//! The clients of the tests show every exchange to it, so that a handler and its description cannot
//! part unseen: every answer must be one that is described, header by header and field by field,
//! and what was accepted must be what is said to be accepted.

use std::collections::HashMap;
use std::sync::Mutex;

use jsonschema::Validator;
use serde_json::{Map, Value, json};

/// One request and its answer.
pub(crate) struct Exchange<'e> {
    pub(crate) method: &'e str,
    /// With its query.
    pub(crate) target: &'e str,
    pub(crate) sent_type: Option<&'e str>,
    pub(crate) sent: &'e [u8],
    pub(crate) status: u16,
    pub(crate) header: &'e dyn Fn(&str) -> Option<String>,
    pub(crate) body: &'e [u8],
}

/// The description, ready to be compared with.
pub(crate) struct Conformance {
    document: Value,
    /// By where in the document the schema stands. Answers are compared with closed schemas: what
    /// is not described may not be there.
    validators: Mutex<HashMap<String, Validator>>,
}

impl Conformance {
    pub(crate) fn with(document: Value) -> Self {
        Self {
            document,
            validators: Mutex::default(),
        }
    }

    /// # Errors
    ///
    /// What is not as it is described.
    pub(crate) fn check(&self, exchange: &Exchange<'_>) -> Result<(), String> {
        let (path, query) = exchange
            .target
            .split_once('?')
            .unwrap_or((exchange.target, ""));
        let Some((template, methods)) = self.find(path) else {
            return expect(exchange.status == 404, "a path that is not described");
        };
        let method = exchange.method.to_ascii_lowercase();
        let Some(operation) = methods.get(&method) else {
            return expect(exchange.status == 405, "a method that is not described");
        };
        let place = format!("/paths/{}/{method}", escaped(template));
        self.check_answer(exchange, operation, &place)?;
        if (200..300).contains(&exchange.status) {
            self.check_request(exchange, operation, &place, query)?;
        }
        Ok(())
    }

    fn check_answer(
        &self,
        exchange: &Exchange<'_>,
        operation: &Value,
        place: &str,
    ) -> Result<(), String> {
        let status = exchange.status.to_string();
        let Some(answer) = operation["responses"].get(&status) else {
            return Err(format!("the status {status} is not described"));
        };
        let (answer, place) = match answer["$ref"].as_str() {
            Some(shared) => {
                let place = shared.trim_start_matches('#');
                let answer = self.document.pointer(place).expect("it is there");
                (answer, place.to_owned())
            }
            None => (answer, format!("{place}/responses/{status}")),
        };
        let headers = answer["headers"].as_object().into_iter().flatten();
        for (name, _) in headers {
            let given = (exchange.header)(name);
            expect(given.is_some(), &format!("the header {name} is missing"))?;
        }
        let content_type = (exchange.header)("content-type");
        let Some(content) = answer["content"].as_object() else {
            return expect(exchange.body.is_empty(), "a body where none is described");
        };
        let content_type = content_type.ok_or("no content type")?;
        if !content.contains_key(&content_type) {
            return Err(format!("the media type {content_type} is not described"));
        }
        if !is_json(&content_type) {
            return Ok(());
        }
        let body: Value = serde_json::from_slice(exchange.body).map_err(|e| e.to_string())?;
        let media_type = escaped(&content_type);
        let at = format!("{place}/content/{media_type}/schema");
        self.validate(&at, &body, true)
    }

    /// What was done as asked must have been asked for as described.
    fn check_request(
        &self,
        exchange: &Exchange<'_>,
        operation: &Value,
        place: &str,
        query: &str,
    ) -> Result<(), String> {
        let parameters = operation["parameters"].as_array();
        let known = |name: &str| {
            let mut all = parameters.into_iter().flatten();
            all.any(|one| one["in"] == "query" && one["name"] == name)
        };
        // By whatever alias it was asked for.
        let iso = place.starts_with("/paths/~1iso~1");
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let name = pair.split('=').next().unwrap_or_default();
            expect(iso || known(name), "a parameter that is not described")?;
        }
        let sent_type = exchange.sent_type.unwrap_or_default();
        if exchange.sent.is_empty() || !is_json(sent_type) || exchange.method == "GET" {
            return Ok(());
        }
        let media_type = escaped(sent_type);
        let at = format!("{place}/requestBody/content/{media_type}/schema");
        if self.document.pointer(&at).is_none() {
            return expect(
                iso || exchange.sent == b"{}",
                "a body where none is described",
            );
        }
        let body: Value = serde_json::from_slice(exchange.sent).map_err(|e| e.to_string())?;
        let body = if iso { folded(body) } else { body };
        self.validate(&at, &body, false)
            .map_err(|wrong| format!("accepted, but {wrong}"))
    }

    fn validate(&self, at: &str, value: &Value, closed: bool) -> Result<(), String> {
        let mut validators = self.validators.lock().expect("no test panics here");
        let validator = validators
            .entry(at.to_owned())
            .or_insert_with(|| self.validator(at, closed));
        let wrong: Vec<String> = validator
            .iter_errors(value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        if wrong.is_empty() {
            return Ok(());
        }
        Err(format!("{}\nof {value}\nby {at}", wrong.join("\n")))
    }

    fn validator(&self, at: &str, closed: bool) -> Validator {
        let schema = self.document.pointer(at).expect("it is there").clone();
        let mut whole = json!({"allOf": [schema], "components": self.document["components"]});
        if closed {
            close(&mut whole);
        }
        jsonschema::draft202012::new(&whole).unwrap_or_else(|error| panic!("{at}: {error}"))
    }

    /// The path of the description that `path` leads to. Aliases and letter case are settled here
    /// as the description says, not as the router does.
    fn find(&self, path: &str) -> Option<(&String, &Map<String, Value>)> {
        let mut path = path.to_ascii_lowercase();
        if path.len() > 1 && path.ends_with('/') {
            path.pop();
        }
        if !path.starts_with("/api/v1/") {
            for alias in ["/senhasegura/iso/", "/api/iso/", "/api/"] {
                if let Some(rest) = path.strip_prefix(alias) {
                    path = format!("/iso/{rest}");
                    break;
                }
            }
        }
        let paths = self.document["paths"].as_object().expect("an object");
        let fitting = paths.iter().filter(|(template, _)| fits(template, &path));
        // A literal wins over a parameter.
        let (template, methods) = fitting.min_by_key(|(one, _)| one.matches('{').count())?;
        Some((template, methods.as_object().expect("an object")))
    }
}

/// Whether a path is one that a template stands for.
fn fits(template: &str, path: &str) -> bool {
    let (mut template, mut path) = (template.split('/'), path.split('/'));
    loop {
        match (template.next(), path.next()) {
            (None, None) | (Some("{identity}"), Some(_)) => return true,
            (Some(part), Some(segment)) => {
                let parameter = part.starts_with('{') && !segment.is_empty();
                if !parameter && part != segment {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

/// Field names in lower case, as one surface takes them.
fn folded(body: Value) -> Value {
    match body {
        Value::Object(fields) => {
            let fields = fields.into_iter();
            let fields = fields.map(|(name, value)| (name.to_ascii_lowercase(), value));
            fields.collect::<Map<_, _>>().into()
        }
        other => other,
    }
}

/// Takes from every object what its schema does not name.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            let open =
                members.contains_key("properties") && !members.contains_key("additionalProperties");
            if open {
                members.insert("unevaluatedProperties".to_owned(), false.into());
            }
            members.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// Whether a body of this type is one JSON text.
fn is_json(media_type: &str) -> bool {
    media_type == "application/json" || media_type.ends_with("+json")
}

/// A name as a part of a JSON pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn expect(holds: bool, wrong: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(wrong.to_owned()) }
}
