//! What fields may be in JSON, as the description of the interface has it: as wide as what is
//! forgiven.

use dsm_core::secret::RenewalInterval;
use serde_json::json;

use crate::http::operation::Shape;

/// A single value: numbers and booleans count as their JSON text.
pub(super) fn scalar(or_null: bool) -> Shape {
    Shape::fixed(if or_null {
        json!({"type": ["string", "number", "boolean", "null"]})
    } else {
        json!({"type": ["string", "number", "boolean"], "minLength": 1})
    })
}

/// A text that is not empty, as a form has it.
pub(super) fn filled() -> Shape {
    Shape::fixed(json!({"type": "string", "minLength": 1}))
}

pub(super) fn boolean() -> Shape {
    let words = ["", "true", "false", "1", "0", "yes", "no", "on", "off"];
    Shape::fixed(json!({
        "anyOf": [{"type": ["boolean", "null"]}, {"enum": [0, 1]}, {"enum": words}],
    }))
}

pub(super) fn list() -> Shape {
    let item = json!({"type": ["string", "number", "boolean"]});
    Shape::fixed(json!({
        "description": "A list, or its items with commas between them",
        "anyOf": [
            {"type": "array", "items": item},
            {"type": ["string", "number", "boolean", "null"]},
        ],
    }))
}

pub(super) fn instants() -> Shape {
    let form = r"^\s*(\d{4}-\d\d-\d\d[ Tt]\d\d:\d\d:\d\d\S*)?\s*$";
    Shape::fixed(json!({
        "description": "YYYY-MM-DD HH:MM:SS in UTC, RFC 3339, or an empty text for none",
        "type": ["string", "null"],
        "pattern": form,
    }))
}

pub(super) fn timers() -> Shape {
    let (min, max) = (RenewalInterval::MIN, RenewalInterval::MAX);
    Shape::fixed(json!({
        "description": "Minutes; 0, false or an empty list turn it off, an empty text or null \
                        leave it",
        "anyOf": [
            {"type": "integer", "minimum": min, "maximum": max},
            {"type": "string", "pattern": r"^\s*(|\[\]|[Ff][Aa][Ll][Ss][Ee]|\+?[0-9]+)\s*$"},
            {"enum": [0, false, null, []]},
        ],
    }))
}

pub(super) fn methods() -> Shape {
    Shape::fixed(json!({
        "anyOf": [{"enum": ["OAuth 2.0", "OAuth 1.0", "AWS"]}, {"type": ["string", "null"]}],
    }))
}

pub(super) fn objects_of_texts() -> Shape {
    Shape::fixed(json!({
        "anyOf": [
            {"type": "object", "additionalProperties": {"type": "string"}},
            {"type": ["string", "null"]},
        ],
    }))
}

pub(super) fn profile_lists() -> Shape {
    let text = json!({"type": "string"});
    Shape::fixed(json!({
        "anyOf": [
            {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"device": text, "profile": text},
                    "required": ["device", "profile"],
                },
            },
            {"type": ["string", "null"]},
        ],
    }))
}
