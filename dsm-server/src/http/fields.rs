//! Input of `/api/v1`: a strict JSON object, read field by field, every wrong field reported.

use std::fmt;

use chrono::{DateTime, SubsecRound as _, Utc};
use dsm_core::time::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::http::call::Call;
use crate::http::json::{self, JsonError};
use crate::http::operation::{Notes, Shape};

/// Why a body is not an object to read fields from.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BodyError {
    /// The content type is not `application/json` or a `+json` type.
    #[error("the content type is not application/json")]
    UnsupportedType,
    /// The body is not acceptable JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
}

/// One wrong field. The message never repeats the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldIssue {
    /// The field, nested ones with dots and list items with brackets: `renew.cloud`, `tags[2]`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// What a merge patch says about one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Patch<T> {
    /// Absent: leave it.
    #[default]
    Keep,
    /// Null: remove it.
    Clear,
    /// A value: replace it.
    Set(T),
}

impl<T> Patch<T> {
    /// The value to set, when there is one.
    pub fn set(self) -> Option<T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Keep | Self::Clear => None,
        }
    }
}

/// Reads the fields of one JSON object and collects what is wrong with them.
///
/// Reading a field takes it out. A field that is wrong reads as a placeholder, and [`finish`](Self::finish) reports it together
/// with all others and with every field nobody read. Nothing read may be used before `finish` has
/// returned `Ok`.
///
/// What a body may have is what its reader asks for: [`shape_of`] runs one over nothing and gives
/// the schema of what it asked for.
///
/// `Debug` shows names only.
#[must_use = "what was read may be used only after `finish`"]
pub struct FieldReader {
    object: Map<String, Value>,
    prefix: String,
    issues: Vec<FieldIssue>,
    notes: Notes,
}

impl fmt::Debug for FieldReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FieldReader")
            .field("unread", &self.object.keys())
            .field("issues", &self.issues)
            .finish_non_exhaustive()
    }
}

/// The fields that `read` asks for, of which these must be there too.
pub fn shape_of<T>(read: impl FnOnce(FieldReader) -> T, required: &[&str]) -> (bool, Shape) {
    let mut reader = FieldReader::over(Map::new());
    let notes = Notes::taken();
    reader.notes = notes.clone();
    // The result is what a reader makes of nothing.
    drop(read(reader));
    let mut fields = notes.all();
    for field in &mut fields {
        field.required |= required.contains(&field.name);
    }
    let any = fields.iter().any(|field| field.required);
    (any, Shape::object(fields, false))
}

type Checked<T> = Result<T, &'static str>;

impl FieldReader {
    /// A reader of the body of `call`; an empty body is an empty object.
    ///
    /// # Errors
    ///
    /// [`BodyError`] when the body is not a JSON object.
    pub fn of(call: &Call) -> Result<Self, BodyError> {
        if call.body.is_empty() {
            return Ok(Self::over(Map::new()));
        }
        let media_type = call.media_type().unwrap_or_default();
        if media_type != "application/json" && !media_type.ends_with("+json") {
            return Err(BodyError::UnsupportedType);
        }
        Ok(Self::over(json::read_object(&call.body)?))
    }

    /// A reader of `object`.
    pub fn over(object: Map<String, Value>) -> Self {
        Self {
            object,
            prefix: String::new(),
            issues: Vec::new(),
            notes: Notes::default(),
        }
    }

    /// Whether `name` is given, be it null.
    pub fn contains(&self, name: &str) -> bool {
        self.object.contains_key(name)
    }

    /// A text that must be given and must not be empty.
    pub fn required_string(&mut self, name: &'static str) -> String {
        let shape = || Shape::fixed(json!({"type": "string", "minLength": 1}));
        self.required(name, shape, |value| {
            string(value).and_then(|text| {
                if text.is_empty() {
                    Err("must not be empty")
                } else {
                    Ok(text)
                }
            })
        })
        .unwrap_or_default()
    }

    /// A text; `None` when absent or null.
    pub fn optional_string(&mut self, name: &'static str) -> Option<String> {
        self.optional(name, Shape::text, string)
    }

    /// A text that a merge patch may remove.
    pub fn patch_string(&mut self, name: &'static str) -> Patch<String> {
        self.patch(name, Shape::text, string)
    }

    /// A boolean that must be given.
    pub fn required_bool(&mut self, name: &'static str) -> bool {
        self.required(name, Shape::flag, boolean)
            .unwrap_or_default()
    }

    /// A boolean; `None` when absent or null.
    pub fn optional_bool(&mut self, name: &'static str) -> Option<bool> {
        self.optional(name, Shape::flag, boolean)
    }

    /// A whole number that must be given.
    pub fn required_integer(&mut self, name: &'static str) -> i64 {
        self.required(name, Shape::integer, integer)
            .unwrap_or_default()
    }

    /// A whole number; `None` when absent or null.
    pub fn optional_integer(&mut self, name: &'static str) -> Option<i64> {
        self.optional(name, Shape::integer, integer)
    }

    /// A list of texts; `None` when absent or null. Each wrong item is reported.
    pub fn optional_list(&mut self, name: &'static str) -> Option<Vec<String>> {
        self.optional_list_of(name, Shape::text)
    }

    /// A list of texts of a certain shape, which the caller checks; `None` when absent or null.
    pub fn optional_list_of(
        &mut self,
        name: &'static str,
        item: impl FnOnce() -> Shape,
    ) -> Option<Vec<String>> {
        self.notes.add(name, false, || item().list().or_null());
        match self.take(name) {
            None | Some(Value::Null) => None,
            Some(value) => Some(self.strings(name, value)),
        }
    }

    /// A list of texts that must be given.
    pub fn required_list(&mut self, name: &'static str) -> Vec<String> {
        self.notes.add(name, true, || Shape::text().list());
        match self.take(name) {
            None | Some(Value::Null) => {
                self.reject(name, "is required");
                Vec::new()
            }
            Some(value) => self.strings(name, value),
        }
    }

    /// An RFC 3339 instant that must be given.
    pub fn required_instant(&mut self, name: &'static str) -> Timestamp {
        self.required(name, Shape::instant, instant)
            .unwrap_or(DateTime::UNIX_EPOCH)
    }

    /// An RFC 3339 instant; `None` when absent or null.
    pub fn instant(&mut self, name: &'static str) -> Option<Timestamp> {
        self.optional(name, Shape::instant, instant)
    }

    /// An RFC 3339 instant that a merge patch may remove.
    pub fn patch_instant(&mut self, name: &'static str) -> Patch<Timestamp> {
        self.patch(name, Shape::instant, instant)
    }

    /// Any JSON value as it stands; `None` when absent. The caller checks that it has this shape.
    pub fn value(&mut self, name: &'static str, shape: impl FnOnce() -> Shape) -> Option<Value> {
        self.notes.add(name, false, shape);
        self.take(name)
    }

    /// Refuses a field that is known elsewhere and has no place here.
    pub fn refuse(&mut self, name: &'static str, message: &'static str) {
        if self.take(name).is_some() {
            self.reject(name, message);
        }
    }

    /// An object, read by `read` with a reader of its own whose errors carry `name`; `None` when
    /// absent or null.
    pub fn object<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Self) -> T,
    ) -> Option<T> {
        if self.notes.are_taken() {
            let (_, shape) = shape_of(|mut inner| read(&mut inner), &[]);
            self.notes.add(name, false, || shape.or_null());
            return None;
        }
        match self.take(name)? {
            Value::Null => None,
            Value::Object(object) => Some(self.nested(name, object, read)),
            _ => {
                self.reject(name, "must be an object");
                None
            }
        }
    }

    /// A list of objects, each read by `read`; `None` when absent or null.
    pub fn objects<T>(
        &mut self,
        name: &'static str,
        mut read: impl FnMut(&mut Self) -> T,
    ) -> Option<Vec<T>> {
        if self.notes.are_taken() {
            let (_, shape) = shape_of(|mut inner| read(&mut inner), &[]);
            self.notes.add(name, false, || shape.list().or_null());
            return None;
        }
        let items = match self.take(name)? {
            Value::Null => return None,
            Value::Array(items) => items,
            _ => {
                self.reject(name, "must be a list");
                return None;
            }
        };
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let name = format!("{name}[{index}]");
            match item {
                Value::Object(object) => list.push(self.nested(&name, object, &mut read)),
                _ => self.reject(&name, "must be an object"),
            }
        }
        Some(list)
    }

    /// A field that must be given, by a conversion of the caller's, which takes what has this
    /// shape. `None` only when it is wrong.
    pub fn required<T>(
        &mut self,
        name: &'static str,
        shape: impl FnOnce() -> Shape,
        convert: impl FnOnce(Value) -> Result<T, &'static str>,
    ) -> Option<T> {
        self.notes.add(name, true, shape);
        match self.take(name) {
            None | Some(Value::Null) => {
                self.reject(name, "is required");
                None
            }
            Some(value) => self.checked(name, convert(value)),
        }
    }

    /// A field by a conversion of the caller's; `None` when it is absent, null or wrong.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        shape: impl FnOnce() -> Shape,
        convert: impl FnOnce(Value) -> Result<T, &'static str>,
    ) -> Option<T> {
        self.notes.add(name, false, || shape().or_null());
        match self.take(name)? {
            Value::Null => None,
            value => self.checked(name, convert(value)),
        }
    }

    /// A field of a merge patch by a conversion of the caller's.
    pub fn patch<T>(
        &mut self,
        name: &'static str,
        shape: impl FnOnce() -> Shape,
        convert: impl FnOnce(Value) -> Result<T, &'static str>,
    ) -> Patch<T> {
        self.notes.add(name, false, || shape().or_null());
        match self.take(name) {
            None => Patch::Keep,
            Some(Value::Null) => Patch::Clear,
            Some(value) => self
                .checked(name, convert(value))
                .map_or(Patch::Keep, Patch::Set),
        }
    }

    /// A field of a merge patch that cannot be removed; `None` leaves it.
    pub fn kept<T>(
        &mut self,
        name: &'static str,
        shape: impl FnOnce() -> Shape,
        convert: impl FnOnce(Value) -> Result<T, &'static str>,
    ) -> Option<T> {
        self.notes.add(name, false, shape);
        match self.take(name)? {
            Value::Null => {
                self.reject(name, "must not be null");
                None
            }
            value => self.checked(name, convert(value)),
        }
    }

    /// Reports the field `name` as wrong. `message` must not repeat its value.
    pub fn reject(&mut self, name: &str, message: impl Into<String>) {
        self.issues.push(FieldIssue {
            field: [&self.prefix, name].concat(),
            message: message.into(),
        });
    }

    /// Ends the reading.
    ///
    /// # Errors
    ///
    /// Every wrong field and every field that was never read, in that order.
    pub fn finish(mut self) -> Result<(), Vec<FieldIssue>> {
        self.refuse_unread();
        if self.issues.is_empty() {
            Ok(())
        } else {
            Err(self.issues)
        }
    }

    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.object.remove(name)
    }

    fn checked<T>(&mut self, name: &str, result: Checked<T>) -> Option<T> {
        result.map_err(|message| self.reject(name, message)).ok()
    }

    fn strings(&mut self, name: &str, value: Value) -> Vec<String> {
        let Value::Array(items) = value else {
            self.reject(name, "must be a list of texts");
            return Vec::new();
        };
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let name = format!("{name}[{index}]");
            list.extend(self.checked(&name, string(item)));
        }
        list
    }

    fn nested<T>(
        &mut self,
        name: &str,
        object: Map<String, Value>,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let mut inner = Self::over(object);
        inner.prefix = [&self.prefix, name, "."].concat();
        let value = read(&mut inner);
        inner.refuse_unread();
        self.issues.append(&mut inner.issues);
        value
    }

    fn refuse_unread(&mut self) {
        for name in std::mem::take(&mut self.object).keys() {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            self.reject(&shown, "is not a known field");
        }
    }
}

pub(crate) fn string(value: Value) -> Checked<String> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err("must be a text"),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the shape of a conversion")]
pub(crate) fn boolean(value: Value) -> Checked<bool> {
    value.as_bool().ok_or("must be true or false")
}

#[allow(clippy::needless_pass_by_value, reason = "the shape of a conversion")]
pub(crate) fn integer(value: Value) -> Checked<i64> {
    value.as_i64().ok_or("must be a whole number")
}

pub(crate) fn instant(value: Value) -> Checked<Timestamp> {
    let text = string(value)?;
    DateTime::parse_from_rfc3339(&text)
        .map(|at| at.with_timezone(&Utc).trunc_subsecs(6))
        .map_err(|_| "must be an RFC 3339 instant, such as 2030-01-31T12:00:00Z")
}

#[cfg(test)]
mod tests;
