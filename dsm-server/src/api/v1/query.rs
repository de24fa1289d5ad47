//! Query parameters and pages.

use std::collections::BTreeMap;

use dsm_core::store::Page;
use dsm_core::time::Timestamp;
use dsm_core::vault::{Error, FieldError};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::status::{Failure, Kind};
use crate::api::v1::problem::malformed;
use crate::api::v1::request::decimal;
use crate::http::call::Reply;
use crate::http::fields::instant;
use crate::http::form::decode;
use crate::http::operation::{Note, Notes, Shape};

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: u64 = 500;

/// What is wrong with an `after` that is none.
pub(super) const NO_CURSOR: &str = "must be a cursor that a page gave as its `next`";

/// The parameters of one request, read one by one; what is wrong with them is told together.
///
/// What a query may have is what its reader asks for, as with
/// [`FieldReader`](crate::http::fields::FieldReader).
pub(super) struct Query {
    values: BTreeMap<String, Vec<String>>,
    wrong: Vec<FieldError>,
    notes: Notes,
}

/// The parameters that `read` asks for.
pub(super) fn parameters_of<T>(read: impl FnOnce(&mut Query) -> T) -> Vec<Note> {
    let notes = Notes::taken();
    let mut query = Query {
        notes: notes.clone(),
        ..Query::read("")
    };
    // The result is what a reader makes of nothing.
    drop(read(&mut query));
    notes.all()
}

impl Query {
    /// The parameters in `text`.
    pub(super) fn read(text: &str) -> Self {
        let mut query = Self {
            values: BTreeMap::new(),
            wrong: Vec::new(),
            notes: Notes::default(),
        };
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (decode(name.as_bytes()), decode(value.as_bytes())) {
                (Some(name), Some(value)) => query.values.entry(name).or_default().push(value),
                _ => query.reject("query", "is not UTF-8 in percent-encoding"),
            }
        }
        query
    }

    /// A text.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        self.text_of(name, Shape::text)
    }

    /// A text of a certain shape, which somebody else checks.
    pub(super) fn text_of(
        &mut self,
        name: &'static str,
        shape: impl FnOnce() -> Shape,
    ) -> Option<String> {
        self.notes.add(name, false, shape);
        self.take(name)
    }

    pub(super) fn flag(&mut self, name: &'static str) -> Option<bool> {
        self.parsed(name, Shape::flag, "must be true or false", |text| {
            text.parse().ok()
        })
    }

    pub(super) fn instant(&mut self, name: &'static str) -> Option<Timestamp> {
        let message = "must be an RFC 3339 instant, such as 2030-01-31T12:00:00Z";
        self.parsed(name, Shape::instant, message, |text| {
            instant(Value::String(text.to_owned())).ok()
        })
    }

    /// A number in its decimal form.
    pub(super) fn number(&mut self, name: &'static str) -> Option<u64> {
        self.parsed(name, Shape::decimal, "must be a decimal number", decimal)
    }

    /// A number that must be given.
    pub(super) fn required_number(&mut self, name: &'static str) -> u64 {
        self.notes.add(name, true, Shape::decimal);
        if !self.values.contains_key(name) {
            self.reject(name, "is required");
        }
        let text = self.take(name);
        let number = text.map(|text| decimal(&text));
        if number == Some(None) {
            self.reject(name, "must be a decimal number");
        }
        number.flatten().unwrap_or_default()
    }

    /// What `parse` makes of a text of this shape.
    pub(super) fn parsed<T>(
        &mut self,
        name: &'static str,
        shape: impl FnOnce() -> Shape,
        message: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let parsed = parse(&self.text_of(name, shape)?);
        if parsed.is_none() {
            self.reject(name, message);
        }
        parsed
    }

    /// How many items a page may have.
    pub(super) fn limit(&mut self) -> usize {
        let shape = || {
            Shape::fixed(json!({
                "type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT,
            }))
        };
        let limit = self.parsed("limit", shape, "must be from 1 to 500", |text| {
            let limit = decimal(text).filter(|limit| (1..=MAX_LIMIT).contains(limit))?;
            usize::try_from(limit).ok()
        });
        limit.unwrap_or(DEFAULT_LIMIT)
    }

    /// The page asked for by `limit` and `after`.
    pub(super) fn page(&mut self) -> Page {
        Page {
            after: self.parsed("after", Shape::decimal, NO_CURSOR, decimal),
            limit: self.limit(),
        }
    }

    /// Ends the reading. What was read may be used only after this has returned `Ok`.
    ///
    /// # Errors
    ///
    /// Malformed, naming every parameter that nobody asked for and every wrong one.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let unknown = self.values.into_keys().map(|name| {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            FieldError::new(shown, "is not a known parameter")
        });
        let wrong: Vec<FieldError> = unknown.chain(self.wrong).collect();
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(malformed(wrong))
        }
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let mut values = self.values.remove(name)?;
        if values.len() > 1 {
            self.reject(name, "is given more than once");
        }
        values.pop()
    }

    fn reject(&mut self, name: &str, message: &str) {
        self.wrong.push(FieldError::new(name, message));
    }
}

/// A failure of a use case whose input came in the query: wrong fields are wrong parameters.
pub(super) fn in_query(error: Error) -> Failure {
    let failure = Failure::from(error);
    match failure.kind {
        Kind::Invalid => malformed(failure.fields),
        _ => failure,
    }
}

/// A page of a list.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub(super) struct Items<T> {
    items: Vec<T>,
    /// Where the next page begins: the `after` to ask for it with. Null on the last page.
    next: Option<String>,
}

/// The reply for a page of `items`, with more from `next` on.
pub(super) fn page_of<T: Serialize>(items: Vec<T>, next: Option<impl ToString>) -> Reply {
    let next = next.map(|next| next.to_string());
    Reply::json(StatusCode::OK, &Items { items, next })
}
