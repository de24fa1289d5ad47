//! Checks of input that several use cases share.

use super::error::{Error, FieldError};
use crate::time::Timestamp;

/// A name: 1 to 256 bytes without control characters or space at its ends.
pub(crate) fn name(errors: &mut Vec<FieldError>, field: &str, text: &str) {
    if text.is_empty() {
        errors.push(FieldError::new(field, "must not be empty"));
    } else if text.len() > 256 || text.chars().any(char::is_control) || text.trim() != text {
        let message = "must have at most 256 bytes, no control characters and no space at its ends";
        errors.push(FieldError::new(field, message));
    }
}

/// A description: at most 4,096 bytes.
pub(crate) fn description(errors: &mut Vec<FieldError>, field: &str, text: &str) {
    if text.len() > 4096 {
        errors.push(FieldError::new(field, "must have at most 4096 bytes"));
    }
}

/// Tags: at most 64, each a name without a comma.
pub(crate) fn tags(errors: &mut Vec<FieldError>, field: &str, tags: &[String]) {
    if tags.len() > 64 {
        errors.push(FieldError::new(field, "must be at most 64"));
    }
    for tag in tags {
        let before = errors.len();
        name(errors, field, tag);
        if errors.len() > before {
            return;
        }
        if tag.contains(',') {
            errors.push(FieldError::new(field, "must not contain a comma"));
            return;
        }
    }
}

/// An instant that must lie ahead.
pub(crate) fn future(
    errors: &mut Vec<FieldError>,
    field: &str,
    at: Option<Timestamp>,
    now: Timestamp,
) {
    if at.is_some_and(|at| at <= now) {
        errors.push(FieldError::new(field, "must lie in the future"));
    }
}

/// Nothing is wrong, or everything that is: each field once, by the first thing found.
pub(crate) fn finish(mut errors: Vec<FieldError>) -> Result<(), Error> {
    let mut seen = std::collections::BTreeSet::new();
    errors.retain(|error| seen.insert(error.field.clone()));
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Error::Invalid(errors))
    }
}

/// The revision that the caller expects, if any, is the one at hand.
pub(crate) fn revision(expected: Option<u64>, found: u64) -> Result<(), Error> {
    if expected.is_some_and(|expected| expected != found) {
        Err(Error::Stale)
    } else {
        Ok(())
    }
}
