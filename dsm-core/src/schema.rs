//! JSON Schemas of the types whose serialised form no derive can see.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::access::{Resource, Rule};
use crate::secret::{Identity, RenewalInterval};

/// A segment of an identity: neither empty nor `.` nor `..`.
const SEGMENT: &str = r"(\.*[A-Za-z0-9_-][A-Za-z0-9._-]*|\.{3,})";

/// An id: a number in its one decimal form, as text.
pub(crate) fn id() -> Schema {
    json_schema!({"type": "string", "pattern": "^(0|[1-9][0-9]{0,19})$"})
}

/// One of some names.
fn names(names: impl Iterator<Item = &'static str>) -> Schema {
    json_schema!({"type": "string", "enum": names.collect::<Vec<_>>()})
}

impl JsonSchema for Resource {
    fn schema_name() -> Cow<'static, str> {
        "Resource".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        names(Self::ALL.iter().map(|resource| resource.as_str()))
    }
}

impl JsonSchema for Rule {
    fn schema_name() -> Cow<'static, str> {
        "Rule".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        names(Self::ALL.iter().map(|rule| rule.as_str()))
    }
}

impl JsonSchema for RenewalInterval {
    fn schema_name() -> Cow<'static, str> {
        "RenewalInterval".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": Self::MIN, "maximum": Self::MAX})
    }
}

impl JsonSchema for Identity {
    fn schema_name() -> Cow<'static, str> {
        "Identity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "Segments of letters, digits, dots, underscores and hyphens, joined by \
                            slashes; no segment is `.` or `..`",
            "minLength": 1,
            "maxLength": Self::MAX_LEN,
            "pattern": format!("^{SEGMENT}(/{SEGMENT})*$"),
        })
    }
}
