//! What the description of the interface says about one route.
//!
//! A route cannot be made without it. The fields of a body and the parameters of a query are not
//! written down twice: the function that reads them is run once over nothing, and what it asks for
//! is noted ([`Note`]).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

/// A JSON Schema to be: it may refer to others that the whole description shares.
#[derive(Clone)]
pub struct Shape(Arc<dyn Fn(&mut SchemaGenerator) -> Schema + Send + Sync>);

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shape").finish_non_exhaustive()
    }
}

impl Shape {
    /// The serialised form of `T`.
    pub fn of<T: JsonSchema>() -> Self {
        let make: fn(&mut SchemaGenerator) -> Schema = SchemaGenerator::subschema_for::<T>;
        Self::new(make)
    }

    /// What `make` makes.
    pub fn new(make: impl Fn(&mut SchemaGenerator) -> Schema + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }

    /// A schema that refers to no other, as JSON.
    ///
    /// # Panics
    ///
    /// On use, when `schema` is neither an object nor a boolean.
    pub fn fixed(schema: Value) -> Self {
        Self::new(move |_| Schema::try_from(schema.clone()).expect("an object or a boolean"))
    }

    /// A text.
    pub fn text() -> Self {
        Self::fixed(json!({"type": "string"}))
    }

    /// A name: 1 to 256 bytes without control characters or space at its ends.
    pub fn name() -> Self {
        let (inner, end) = (r"[^\x00-\x1f\x7f]", r"[^\s\x00-\x1f\x7f]");
        Self::fixed(json!({
            "type": "string",
            "minLength": 1,
            "maxLength": 256,
            "pattern": format!("^{end}({inner}*{end})?$"),
        }))
    }

    /// A text of at most so many bytes.
    pub fn text_up_to(length: usize) -> Self {
        Self::fixed(json!({"type": "string", "maxLength": length}))
    }

    /// One of some texts.
    pub fn one_of(texts: &[&str]) -> Self {
        Self::fixed(json!({"type": "string", "enum": texts}))
    }

    /// A boolean.
    pub fn flag() -> Self {
        Self::fixed(json!({"type": "boolean"}))
    }

    /// A whole number.
    pub fn integer() -> Self {
        Self::fixed(json!({"type": "integer"}))
    }

    /// An instant of RFC 3339.
    pub fn instant() -> Self {
        Self::fixed(json!({"type": "string", "format": "date-time"}))
    }

    /// A number in its decimal form, as text.
    pub fn decimal() -> Self {
        Self::fixed(json!({"type": "string", "pattern": "^(0|[1-9][0-9]{0,18})$"}))
    }

    /// A list of this.
    pub fn list(self) -> Self {
        Self::new(move |schemas| json_schema!({"type": "array", "items": self.make(schemas)}))
    }

    /// This or null.
    pub fn or_null(self) -> Self {
        self.or(Self::fixed(json!({"type": "null"})))
    }

    /// This or `other`.
    pub fn or(self, other: Self) -> Self {
        Self::new(move |schemas| {
            let (one, other) = (self.make(schemas), other.make(schemas));
            json_schema!({"anyOf": [one, other]})
        })
    }

    /// This, with `text` to explain it.
    pub fn described(self, text: &'static str) -> Self {
        Self::new(move |schemas| {
            let mut schema = self.make(schemas);
            schema.insert("description".to_owned(), text.into());
            schema
        })
    }

    /// An object of the fields that were noted. `open` is whether it may have others.
    pub fn object(fields: Vec<Note>, open: bool) -> Self {
        Self::new(move |schemas| {
            let mut properties = Map::new();
            let mut required: Vec<&str> = Vec::new();
            for note in &fields {
                let schema = note.shape.make(schemas).to_value();
                properties.insert(note.name.to_owned(), schema);
                if note.required {
                    required.push(note.name);
                }
            }
            let mut schema = json_schema!({"type": "object", "properties": properties});
            if !required.is_empty() {
                schema.insert("required".to_owned(), required.into());
            }
            if !open {
                schema.insert("additionalProperties".to_owned(), false.into());
            }
            schema
        })
    }

    /// The schema; those it refers to are kept by `schemas`.
    pub fn make(&self, schemas: &mut SchemaGenerator) -> Schema {
        (self.0)(schemas)
    }
}

/// A field or parameter that a reader asked for.
#[derive(Debug, Clone)]
pub struct Note {
    /// Its name.
    pub name: &'static str,
    /// What it may be.
    pub shape: Shape,
    /// Whether it must be there.
    pub required: bool,
}

/// Where a reader notes what it asks for; one that reads a request notes nothing.
#[derive(Debug, Clone, Default)]
pub struct Notes(Option<Arc<Mutex<Vec<Note>>>>);

impl Notes {
    /// For a reader that is run to learn what it asks for.
    pub fn taken() -> Self {
        Self(Some(Arc::default()))
    }

    /// Whether the reader is run for that.
    pub fn are_taken(&self) -> bool {
        self.0.is_some()
    }

    /// Notes a field, when notes are taken.
    pub fn add(&self, name: &'static str, required: bool, shape: impl FnOnce() -> Shape) {
        if let Some(notes) = &self.0 {
            let shape = shape();
            let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
            notes.push(Note {
                name,
                shape,
                required,
            });
        }
    }

    /// What has been noted.
    pub fn all(&self) -> Vec<Note> {
        let Some(notes) = &self.0 else {
            return Vec::new();
        };
        let notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.clone()
    }
}

/// Whose credentials a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Credentials {
    /// Nobody's.
    None,
    /// An operator's token.
    Operator,
    /// What a client of an application shows: its token, or a signature.
    Application,
    /// A client's id and secret, in a header or in the body.
    Client,
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the path, and always there.
    Path,
    /// In the query string.
    Query,
    /// Among the headers.
    Header,
}

/// A parameter of a request.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Where it stands.
    pub place: Place,
    /// Its name, what it may be, and whether it must be there.
    pub note: Note,
    /// What it does.
    pub description: &'static str,
}

/// The body of a request.
#[derive(Debug, Clone)]
pub struct RequestBody {
    /// Whether it must be there.
    pub required: bool,
    /// What it may be under each media type.
    pub content: Vec<(&'static str, Shape)>,
}

/// One answer of a route.
#[derive(Debug, Clone)]
pub struct Answer {
    /// When it is given.
    pub description: Cow<'static, str>,
    /// What is in it under each media type; none for an empty body.
    pub content: Vec<(&'static str, Shape)>,
    /// The headers it carries beside those that every answer has.
    pub headers: Vec<&'static str>,
    /// The name under which the description has it once for all routes that give it.
    pub shared: Option<String>,
}

impl Answer {
    /// An answer without a body.
    pub fn empty(description: impl Into<Cow<'static, str>>) -> Self {
        Self {
            description: description.into(),
            content: Vec::new(),
            headers: Vec::new(),
            shared: None,
        }
    }

    /// An answer of this shape under a media type.
    pub fn of(
        description: impl Into<Cow<'static, str>>,
        media_type: &'static str,
        shape: Shape,
    ) -> Self {
        Self {
            content: vec![(media_type, shape)],
            ..Self::empty(description)
        }
    }

    /// The same, or of another shape under another media type.
    pub fn or(mut self, media_type: &'static str, shape: Shape) -> Self {
        self.content.push((media_type, shape));
        self
    }

    /// The same, described once under this name, which says everything about it.
    pub fn shared(mut self, name: String) -> Self {
        self.shared = Some(name);
        self
    }

    /// The same with a header.
    pub fn with(mut self, header: &'static str) -> Self {
        self.headers.push(header);
        self
    }
}

/// What a route does, takes and answers.
#[derive(Debug, Clone)]
pub struct Operation {
    /// In one line.
    pub summary: &'static str,
    /// What else there is to say.
    pub description: Option<&'static str>,
    /// Whose credentials it asks for.
    pub credentials: Credentials,
    /// What it takes beside the body; parameters of the path are in the pattern.
    pub parameters: Vec<Parameter>,
    /// The body it takes.
    pub body: Option<RequestBody>,
    /// What it answers, by status.
    pub answers: BTreeMap<StatusCode, Answer>,
}

impl Operation {
    /// An operation that takes nothing and, so far, answers nothing.
    pub fn new(summary: &'static str, credentials: Credentials) -> Self {
        Self {
            summary,
            description: None,
            credentials,
            parameters: Vec::new(),
            body: None,
            answers: BTreeMap::new(),
        }
    }

    /// The same with an answer in place of any that had this status.
    pub fn answers(mut self, status: StatusCode, answer: Answer) -> Self {
        self.answers.insert(status, answer);
        self
    }

    /// The same with an answer, unless there is one with this status.
    pub fn refuses(mut self, status: StatusCode, answer: Answer) -> Self {
        self.answers.entry(status).or_insert(answer);
        self
    }
}
