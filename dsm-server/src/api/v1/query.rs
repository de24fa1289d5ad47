//! Query parameters and pages.

use std::collections::BTreeMap;

use dsm_core::store::Page;
use dsm_core::time::Timestamp;
use dsm_core::vault::{Error, FieldError};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use crate::api::status::{Failure, Kind};
use crate::api::v1::problem::malformed;
use crate::api::v1::request::decimal;
use crate::http::call::Reply;
use crate::http::fields::instant;
use crate::http::form::decode;

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: u64 = 500;

/// What is wrong with an `after` that is none.
pub(super) const NO_CURSOR: &str = "must be a cursor that a page gave as its `next`";

/// The parameters of one request, read one by one; what is wrong with them is told together.
pub(super) struct Query {
    values: BTreeMap<String, String>,
    wrong: Vec<FieldError>,
}

impl Query {
    /// The parameters in `text`, of which only `known` ones are right.
    pub(super) fn read(text: &str, known: &[&str]) -> Self {
        let mut query = Self {
            values: BTreeMap::new(),
            wrong: Vec::new(),
        };
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (decode(name.as_bytes()), decode(value.as_bytes())) {
                (Some(name), Some(value)) if known.contains(&name.as_str()) => {
                    if query.values.contains_key(&name) {
                        query.reject(&name, "is given more than once");
                    }
                    query.values.insert(name, value);
                }
                (Some(name), Some(_)) => {
                    let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
                    query.reject(&shown, "is not a known parameter");
                }
                _ => query.reject("query", "is not UTF-8 in percent-encoding"),
            }
        }
        query
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.values.remove(name)
    }

    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        self.parsed(name, "must be true or false", |text| text.parse().ok())
    }

    pub(super) fn instant(&mut self, name: &str) -> Option<Timestamp> {
        let message = "must be an RFC 3339 instant, such as 2030-01-31T12:00:00Z";
        self.parsed(name, message, |text| {
            instant(Value::String(text.to_owned())).ok()
        })
    }

    /// A number in its decimal form.
    pub(super) fn number(&mut self, name: &str) -> Option<u64> {
        self.parsed(name, "must be a decimal number", decimal)
    }

    /// A number that must be given.
    pub(super) fn required_number(&mut self, name: &str) -> u64 {
        if !self.values.contains_key(name) {
            self.reject(name, "is required");
        }
        self.number(name).unwrap_or_default()
    }

    pub(super) fn parsed<T>(
        &mut self,
        name: &str,
        message: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let parsed = parse(&self.values.remove(name)?);
        if parsed.is_none() {
            self.reject(name, message);
        }
        parsed
    }

    /// How many items a page may have.
    pub(super) fn limit(&mut self) -> usize {
        let limit = self.parsed("limit", "must be from 1 to 500", |text| {
            let limit = decimal(text).filter(|limit| (1..=MAX_LIMIT).contains(limit))?;
            usize::try_from(limit).ok()
        });
        limit.unwrap_or(DEFAULT_LIMIT)
    }

    /// The page asked for by `limit` and `after`.
    pub(super) fn page(&mut self) -> Page {
        Page {
            after: self.parsed("after", NO_CURSOR, decimal),
            limit: self.limit(),
        }
    }

    /// Ends the reading. What was read may be used only after this has returned `Ok`.
    ///
    /// # Errors
    ///
    /// Malformed, naming every wrong parameter.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        if self.wrong.is_empty() {
            Ok(())
        } else {
            Err(malformed(std::mem::take(&mut self.wrong)))
        }
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
#[derive(Serialize)]
struct Items<T> {
    items: Vec<T>,
    next: Option<String>,
}

/// The reply for a page of `items`, with more from `next` on.
pub(super) fn page_of<T: Serialize>(items: Vec<T>, next: Option<u64>) -> Reply {
    let next = next.map(|next| next.to_string());
    Reply::json(StatusCode::OK, &Items { items, next })
}
