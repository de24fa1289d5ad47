//! Fields that creations and merge patches read alike.
//!
//! Absent leaves a field as it is, or at its default. Null clears what can be empty and is refused
//! elsewhere.
#![allow(
    clippy::option_option,
    reason = "what the vault's fields are: left alone, cleared or set"
)]

use dsm_core::id::SecretId;
use dsm_core::time::Timestamp;
use dsm_core::vault::FieldError;
use serde_json::Value;

use crate::api::v1::request::decimal;
use crate::http::fields::{FieldReader, Patch, boolean, string};

/// A text that cannot be cleared.
pub(super) fn text(fields: &mut FieldReader, name: &'static str) -> Option<String> {
    kept(fields, name, string)
}

/// A text that null empties.
pub(super) fn cleared_text(fields: &mut FieldReader, name: &'static str) -> Option<String> {
    optional(fields.patch_string(name)).map(Option::unwrap_or_default)
}

/// A text that null removes.
pub(super) fn optional_text(
    fields: &mut FieldReader,
    name: &'static str,
) -> Option<Option<String>> {
    optional(fields.patch_string(name))
}

/// An instant that null removes.
pub(super) fn optional_instant(
    fields: &mut FieldReader,
    name: &'static str,
) -> Option<Option<Timestamp>> {
    optional(fields.patch_instant(name))
}

/// A boolean, which cannot be cleared.
pub(super) fn flag(fields: &mut FieldReader, name: &'static str) -> Option<bool> {
    kept(fields, name, boolean)
}

/// A list of texts, which null empties.
pub(super) fn list(fields: &mut FieldReader, name: &'static str) -> Option<Vec<String>> {
    let given = fields.contains(name);
    let list = fields.optional_list(name);
    given.then(|| list.unwrap_or_default())
}

/// A list of objects, each read by `read`, which null empties.
pub(super) fn objects<T>(
    fields: &mut FieldReader,
    name: &'static str,
    read: impl FnMut(&mut FieldReader) -> T,
) -> Option<Vec<T>> {
    let given = fields.contains(name);
    let list = fields.objects(name, read);
    given.then(|| list.unwrap_or_default())
}

/// A list of secrets by their ids, which null empties.
pub(super) fn secrets(fields: &mut FieldReader, name: &'static str) -> Option<Vec<SecretId>> {
    let texts = list(fields, name)?;
    let mut ids = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match decimal(text) {
            Some(id) => ids.push(SecretId(id)),
            None => fields.reject(&format!("{name}[{index}]"), "must be an id"),
        }
    }
    Some(ids)
}

/// A field by a conversion of the caller's that cannot be cleared.
pub(super) fn kept<T>(
    fields: &mut FieldReader,
    name: &'static str,
    convert: impl FnOnce(Value) -> Result<T, &'static str>,
) -> Option<T> {
    match fields.patch(name, convert) {
        Patch::Keep => None,
        Patch::Set(value) => Some(value),
        Patch::Clear => {
            fields.reject(name, "must not be null");
            None
        }
    }
}

/// What is wrong with the fields that were read.
pub(super) fn wrong(fields: FieldReader) -> Vec<FieldError> {
    let issues = fields.finish().err().unwrap_or_default();
    issues.into_iter().map(FieldError::from).collect()
}

fn optional<T>(patch: Patch<T>) -> Option<Option<T>> {
    match patch {
        Patch::Keep => None,
        Patch::Clear => Some(None),
        Patch::Set(value) => Some(Some(value)),
    }
}
