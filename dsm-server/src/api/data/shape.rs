//! What the values of secrets are made of on their way in, and how the description of the interface
//! has it.

use serde_json::{Map, Value, json};

use crate::http::operation::Shape;

/// The fields of one object, none of which is read that is not among them: the description of the
/// interface lists them too.
pub(super) type Names = &'static [&'static str];

pub(super) const BLOCKS: Names = &[
    "access_keys",
    "credentials",
    "ephemeral_credentials",
    "key_value",
    "ssh_keys",
];
pub(super) const CREDENTIAL: Names = &["fields", "target", "pair_user"];
pub(super) const SSH_KEY: Names = &["fields", "target"];
pub(super) const EPHEMERAL: Names = &["profile", "fields"];
pub(super) const ACCESS_KEY: Names = &["type", "fields", "target", "user"];
/// Pairs; the name says nothing about them.
pub(super) const GROUP: Names = &["name", "fields"];
pub(super) const LABELS: Names = &[
    "host_label",
    "user_label",
    "password_label",
    "additional_information_label",
];
pub(super) const CREDENTIAL_TEXTS: Names =
    &["host", "user", "password", "additional_information", "ip"];
pub(super) const SSH_KEY_TEXTS: Names = &[
    "host",
    "user",
    "private_key",
    "public_key",
    "password",
    "additional_information",
    "ip",
];
pub(super) const ACCESS_KEY_TEXTS: Names = &["access_key_id", "secret_access_key"];
pub(super) const ACCESS_KEY_LABELS: Names = &["access_key_id_label", "secret_access_key_label"];

/// What [`Strictness::Strict`](super::Strictness::Strict) takes.
pub fn strict() -> Shape {
    let target = json!({
        "type": ["string", "null"],
        "description": "The target on which the credential is managed",
    });
    let credential = json!({
        "fields": fields(CREDENTIAL_TEXTS, LABELS),
        "target": target,
        "pair_user": {
            "type": ["string", "null"],
            "description": "The other account, where two are served in turn",
        },
    });
    let ssh_key = json!({"fields": fields(SSH_KEY_TEXTS, LABELS), "target": target});
    let ephemeral = json!({"profile": {"type": "string"}, "fields": fields(&[], LABELS)});
    let access_key = json!({
        "type": {"enum": ["aws", "azure", "gcp"]},
        "fields": fields(ACCESS_KEY_TEXTS, ACCESS_KEY_LABELS),
        "target": target,
        "user": {
            "type": ["string", "null"],
            "description": "The account that a managed key is of",
        },
    });
    let blocks = BLOCKS.iter().map(|block| {
        let schema = match *block {
            "access_keys" => items("access_key", &access_key, &["type", "fields"]),
            "credentials" => items("credential", &credential, &["fields"]),
            "ephemeral_credentials" => items("ephemeral_credential", &ephemeral, &["profile"]),
            "ssh_keys" => items("ssh_key", &ssh_key, &["fields"]),
            _ => pairs(),
        };
        ((*block).to_owned(), schema)
    });
    let blocks: Map<String, Value> = blocks.collect();
    Shape::fixed(json!({
        "description": "The values. A kind that is named replaces what there was of that kind",
        "type": "object",
        "properties": blocks,
        "additionalProperties": false,
    }))
}

/// What [`Strictness::Lenient`](super::Strictness::Lenient) takes in JSON.
pub fn lenient() -> Shape {
    Shape::fixed(json!({
        "description": "The values: an object with a list for each kind, of which those that are \
                        named replace what there was of that kind, or an object of names and \
                        values; or the Base64 or JSON text of one",
        "type": ["object", "string", "null"],
    }))
}

/// A list of objects that hold an item under a name.
fn items(name: &str, properties: &Value, required: &[&str]) -> Value {
    let item = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    json!({
        "type": "array",
        "items": {
            "type": "object",
            "properties": {name: item},
            "required": [name],
            "additionalProperties": false,
        },
    })
}

fn fields(texts: Names, labels: Names) -> Value {
    let text = json!({"type": ["string", "null"]});
    let label = json!({"type": ["string", "null"], "minLength": 1});
    let texts = texts.iter().map(|name| ((*name).to_owned(), text.clone()));
    let labels = labels
        .iter()
        .map(|name| ((*name).to_owned(), label.clone()));
    let properties: Map<String, Value> = texts.chain(labels).collect();
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

fn pairs() -> Value {
    let value = json!({"type": ["string", "number", "boolean", "null"]});
    let group = json!({
        "type": "object",
        "properties": {
            "name": true,
            "fields": {"type": "object", "additionalProperties": value},
        },
        "required": ["fields"],
        "additionalProperties": false,
    });
    let wrapped = json!({
        "type": "object",
        "properties": {"key_value": group},
        "required": ["key_value"],
        "additionalProperties": false,
    });
    json!({"anyOf": [group, {"type": "array", "items": {"anyOf": [group, wrapped]}}]})
}
