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

use crate::api::v1::request::decimal;
use crate::http::fields::{FieldReader, Patch, boolean, string};
use crate::http::operation::Shape;

/// A name, which cannot be cleared.
pub(super) fn name(fields: &mut FieldReader, name: &'static str) -> Option<String> {
    fields.kept(name, Shape::name, string)
}

/// A text that null empties, of a certain shape.
pub(super) fn cleared_text(
    fields: &mut FieldReader,
    name: &'static str,
    shape: impl FnOnce() -> Shape,
) -> Option<String> {
    optional(fields.patch(name, shape, string)).map(Option::unwrap_or_default)
}

/// A description, which null empties.
pub(super) fn description(fields: &mut FieldReader, name: &'static str) -> Option<String> {
    cleared_text(fields, name, || Shape::text_up_to(4096))
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
    fields.kept(name, Shape::flag, boolean)
}

/// Labels, which null removes.
pub(super) fn tags(fields: &mut FieldReader, name: &'static str) -> Option<Vec<String>> {
    list_of(fields, name, Shape::name)
}

/// A list of texts, which null empties.
pub(super) fn list(fields: &mut FieldReader, name: &'static str) -> Option<Vec<String>> {
    list_of(fields, name, Shape::text)
}

/// A list of texts of a certain shape, which null empties.
pub(super) fn list_of(
    fields: &mut FieldReader,
    name: &'static str,
    item: impl FnOnce() -> Shape,
) -> Option<Vec<String>> {
    let given = fields.contains(name);
    let list = fields.optional_list_of(name, item);
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
    let texts = list_of(fields, name, Shape::of::<SecretId>)?;
    let mut ids = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match decimal(text) {
            Some(id) => ids.push(SecretId(id)),
            None => fields.reject(&format!("{name}[{index}]"), "must be an id"),
        }
    }
    Some(ids)
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
