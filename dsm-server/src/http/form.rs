//! Input of `/iso`: the fields of a request, however the client sent them.
//!
//! The same call arrives as a form, as multipart, as JSON or in the query string, field names in
//! any case, numbers and booleans as text or not. [`Fields`] is all of that in one type.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::CONTENT_TYPE;
use percent_encoding::percent_decode;
use serde_json::Value;
use thiserror::Error;

use crate::http::call::Call;
use crate::http::json::{self, JsonError, MAX_KEYS};

pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
pub(crate) const JSON: &str = "application/json";
pub(crate) const MULTIPART: &str = "multipart/form-data";

/// Why a request has no readable fields. Never repeats a value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FormError {
    /// The content type is none that this surface reads.
    #[error("the content type {0} is not supported")]
    UnsupportedType(String),
    /// The body is not what its content type says.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// The body is not acceptable JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// More fields than [`MAX_KEYS`].
    #[error("more than {MAX_KEYS} fields")]
    TooManyFields,
}

/// What is wrong with one field. Never repeats its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FieldProblem {
    /// Required and absent, null or empty.
    #[error("is required")]
    Missing,
    /// Given more than once, or under two of its names.
    #[error("is given more than once")]
    Repeated,
    /// A list or an object where one value belongs.
    #[error("must be a single value")]
    NotText,
    /// Neither `true`, `false`, `1`, `0`, `yes`, `no`, `on` nor `off`.
    #[error("must be true or false")]
    NotBoolean,
    /// Not a list of single values.
    #[error("must be a list of single values")]
    NotList,
}

/// A wrong field by the name under which the caller knows it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field} {problem}")]
pub struct FieldError {
    /// The first of the names the field goes by.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: FieldProblem,
}

/// The fields of one request by case-insensitive name.
///
/// Fields nobody asks for are ignored. `Debug` shows names only.
#[derive(Clone, Default, PartialEq)]
pub struct Fields {
    fields: BTreeMap<String, Vec<Field>>,
    count: usize,
}

#[derive(Clone, PartialEq)]
enum Field {
    /// From a form or a query.
    Text(String),
    /// The same, under a name such as `a[]` that says it is one item of a list.
    Item(String),
    /// From a JSON object.
    Json(Value),
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.fields.keys()).finish()
    }
}

impl Fields {
    /// The fields of `call`: those of its body and those of its query string together.
    ///
    /// A body without a content type is JSON when it starts with a brace and a form otherwise. An
    /// empty body has no fields, whatever its content type.
    ///
    /// # Errors
    ///
    /// [`FormError`] when body or query are unreadable or the content type is unknown.
    pub fn of(call: &Call) -> Result<Self, FormError> {
        let mut fields = Self::of_query(&call.query)?;
        if call.body.iter().all(u8::is_ascii_whitespace) {
            return Ok(fields);
        }
        let sent = call.media_type();
        let media_type = sent.as_deref().unwrap_or_else(|| {
            if call.body.trim_ascii_start().starts_with(b"{") {
                JSON
            } else {
                FORM
            }
        });
        match media_type {
            FORM => fields.add_form(&call.body)?,
            JSON => fields.add_json(&call.body)?,
            MULTIPART => {
                let header = call.headers().get(CONTENT_TYPE);
                let header = header.and_then(|value| value.to_str().ok());
                fields.add_multipart(header.unwrap_or_default(), &call.body)?;
            }
            other => return Err(FormError::UnsupportedType(shown_type(other))),
        }
        Ok(fields)
    }

    /// The parameters of a query string, without its question mark.
    ///
    /// # Errors
    ///
    /// [`FormError::Malformed`] when a decoded name or value is not UTF-8.
    pub fn of_query(query: &str) -> Result<Self, FormError> {
        let mut fields = Self::default();
        fields.add_pairs(query.as_bytes(), "query string")?;
        Ok(fields)
    }

    /// Whether a field goes by one of `names`, whatever its value.
    pub fn contains(&self, names: &[&'static str]) -> bool {
        names.iter().any(|name| self.values(name).is_some())
    }

    /// The field that goes by one of `names` (the first is the one errors use) as a JSON value: a
    /// string when it came as text, `None` when absent.
    ///
    /// # Errors
    ///
    /// [`FieldProblem::Repeated`].
    pub fn value(&self, names: &[&'static str]) -> Result<Option<Cow<'_, Value>>, FieldError> {
        Ok(match self.single(names)? {
            None => None,
            Some(Field::Json(value)) => Some(Cow::Borrowed(value)),
            Some(Field::Text(text) | Field::Item(text)) => {
                Some(Cow::Owned(Value::String(text.clone())))
            }
        })
    }

    /// The field as text; numbers and booleans as their JSON text, null as absent.
    ///
    /// # Errors
    ///
    /// [`FieldProblem::Repeated`] or [`FieldProblem::NotText`].
    pub fn text(&self, names: &[&'static str]) -> Result<Option<Cow<'_, str>>, FieldError> {
        match self.single(names)? {
            None | Some(Field::Json(Value::Null)) => Ok(None),
            Some(Field::Text(text) | Field::Item(text)) => Ok(Some(Cow::Borrowed(text))),
            Some(Field::Json(value)) => scalar(value)
                .map(Some)
                .ok_or_else(|| wrong(names, FieldProblem::NotText)),
        }
    }

    /// The field as text that is not empty.
    ///
    /// # Errors
    ///
    /// As [`Fields::text`], and [`FieldProblem::Missing`].
    pub fn required_text(&self, names: &[&'static str]) -> Result<Cow<'_, str>, FieldError> {
        self.text(names)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| wrong(names, FieldProblem::Missing))
    }

    /// The field as a boolean; null and empty text as absent.
    ///
    /// # Errors
    ///
    /// As [`Fields::text`], and [`FieldProblem::NotBoolean`].
    pub fn boolean(&self, names: &[&'static str]) -> Result<Option<bool>, FieldError> {
        let Some(text) = self.text(names)? else {
            return Ok(None);
        };
        match text.trim().to_ascii_lowercase().as_str() {
            "" => Ok(None),
            "true" | "1" | "yes" | "on" => Ok(Some(true)),
            "false" | "0" | "no" | "off" => Ok(Some(false)),
            _ => Err(wrong(names, FieldProblem::NotBoolean)),
        }
    }

    /// The field as a list of texts, from a JSON list (as such or as text), a repeated field, `a[]`
    /// or text separated by commas; items are trimmed and empty ones left out. Null is absent, `""` an empty list.
    ///
    /// # Errors
    ///
    /// [`FieldProblem::NotList`], or [`FieldProblem::Repeated`] when two of its names are used.
    pub fn list(&self, names: &[&'static str]) -> Result<Option<Vec<String>>, FieldError> {
        let Some(values) = self.under_one_name(names)? else {
            return Ok(None);
        };
        let not_list = || wrong(names, FieldProblem::NotList);
        let mut list = Vec::new();
        for value in values {
            match value {
                Field::Json(Value::Null) if values.len() == 1 => return Ok(None),
                Field::Json(Value::Array(items)) => {
                    extend_from_items(&mut list, items).ok_or_else(not_list)?;
                }
                Field::Json(value) => {
                    let text = scalar(value).ok_or_else(not_list)?;
                    extend_from_text(&mut list, &text).ok_or_else(not_list)?;
                }
                Field::Text(text) => {
                    extend_from_text(&mut list, text).ok_or_else(not_list)?;
                }
                Field::Item(text) => list.push(text.clone()),
            }
        }
        let trimmed = list.iter().map(|item| item.trim());
        Ok(Some(
            trimmed
                .filter(|item| !item.is_empty())
                .map(str::to_owned)
                .collect(),
        ))
    }

    fn values(&self, name: &str) -> Option<&[Field]> {
        self.fields
            .get(&name.to_ascii_lowercase())
            .map(Vec::as_slice)
    }

    fn under_one_name(&self, names: &[&'static str]) -> Result<Option<&[Field]>, FieldError> {
        let mut given = names.iter().filter_map(|name| self.values(name));
        let values = given.next();
        if given.next().is_some() {
            return Err(wrong(names, FieldProblem::Repeated));
        }
        Ok(values)
    }

    fn single(&self, names: &[&'static str]) -> Result<Option<&Field>, FieldError> {
        match self.under_one_name(names)? {
            None => Ok(None),
            Some([one]) => Ok(Some(one)),
            Some(_) => Err(wrong(names, FieldProblem::Repeated)),
        }
    }

    fn add(&mut self, name: &str, field: Field) -> Result<(), FormError> {
        self.count += 1;
        if self.count > MAX_KEYS {
            return Err(FormError::TooManyFields);
        }
        let name = name.trim().to_ascii_lowercase();
        self.fields.entry(name).or_default().push(field);
        Ok(())
    }

    fn add_text(&mut self, name: &str, text: String) -> Result<(), FormError> {
        match list_name(name) {
            Some(list) => self.add(list, Field::Item(text)),
            None => self.add(name, Field::Text(text)),
        }
    }

    fn add_pairs(&mut self, text: &[u8], what: &'static str) -> Result<(), FormError> {
        for pair in text.split(|byte| *byte == b'&') {
            if pair.is_empty() {
                continue;
            }
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let mut half = || decode(halves.next().unwrap_or_default());
            let malformed = FormError::Malformed(what);
            let (Some(name), Some(value)) = (half(), half()) else {
                return Err(malformed);
            };
            self.add_text(&name, value)?;
        }
        Ok(())
    }

    fn add_form(&mut self, body: &[u8]) -> Result<(), FormError> {
        self.add_pairs(body.trim_ascii_end(), "form")
    }

    fn add_json(&mut self, body: &[u8]) -> Result<(), FormError> {
        for (name, value) in json::read_object(body)? {
            self.add(&name, Field::Json(value))?;
        }
        Ok(())
    }

    fn add_multipart(&mut self, content_type: &str, body: &Bytes) -> Result<(), FormError> {
        let malformed = || FormError::Malformed("multipart form");
        let boundary = multer::parse_boundary(content_type).map_err(|_| malformed())?;
        let body = body.clone();
        let parts = async {
            let chunks = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(body)]);
            let mut multipart = multer::Multipart::new(chunks, boundary);
            while let Some(part) = multipart.next_field().await.map_err(|_| malformed())? {
                let name = part.name().ok_or_else(malformed)?.to_owned();
                let value = part.bytes().await.map_err(|_| malformed())?;
                let text = String::from_utf8(value.into()).map_err(|_| malformed())?;
                self.add_text(&name, text)?;
            }
            Ok(())
        };
        // The body is in memory: a parser that waits for more has found it to be incomplete.
        parts.now_or_never().unwrap_or_else(|| Err(malformed()))
    }
}

fn wrong(names: &[&'static str], problem: FieldProblem) -> FieldError {
    FieldError {
        field: names.first().copied().unwrap_or_default(),
        problem,
    }
}

/// A JSON value that is neither null, list nor object, as text.
fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn extend_from_items(list: &mut Vec<String>, items: &[Value]) -> Option<()> {
    for item in items {
        list.push(scalar(item)?.into_owned());
    }
    Some(())
}

/// Adds the items of a JSON list in text form, or those between commas.
fn extend_from_text(list: &mut Vec<String>, text: &str) -> Option<()> {
    if text.trim_start().starts_with('[') {
        let value = json::read(text.as_bytes()).ok()?;
        return extend_from_items(list, value.as_array()?);
    }
    list.extend(text.split(',').map(str::to_owned));
    Some(())
}

/// `a` for `a[]` and `a[7]`.
fn list_name(name: &str) -> Option<&str> {
    let (name, index) = name.strip_suffix(']')?.split_once('[')?;
    index.bytes().all(|b| b.is_ascii_digit()).then_some(name)
}

/// One half of a form pair, decoded once; `None` when it is not UTF-8.
pub(crate) fn decode(text: &[u8]) -> Option<String> {
    let spaced: Vec<u8> = text
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    let decoded = percent_decode(&spaced).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

/// A media type for an error message: short, and nothing but the characters of one.
fn shown_type(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii_alphanumeric() || "/+-._".contains(*c))
        .take(64)
        .collect()
}

#[cfg(test)]
mod tests;
