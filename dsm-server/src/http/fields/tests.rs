use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::{FieldReader, Patch, Shape, shape_of};

fn reader(object: Value) -> FieldReader {
    match object {
        Value::Object(object) => FieldReader::over(object),
        _ => FieldReader::over(Map::new()),
    }
}

#[test]
fn right_fields_read_as_themselves() {
    let mut fields = reader(json!({
        "name": "db", "enabled": true, "ttl": 60, "tags": ["a"], "none": null,
        "expires_at": "2030-01-31T13:00:00.1234567+01:00",
        "renew": {"cloud": 10}, "targets": [{"host": "h"}, {"host": "i"}],
    }));
    assert_eq!(fields.required_string("name"), "db");
    assert_eq!(fields.optional_bool("enabled"), Some(true));
    assert_eq!(fields.optional_integer("ttl"), Some(60));
    assert_eq!(fields.optional_list("tags"), Some(vec!["a".into()]));
    assert_eq!(fields.optional_string("none"), None);
    assert_eq!(fields.optional_string("absent"), None);
    let at = fields.instant("expires_at").expect("an instant");
    assert_eq!(at.to_rfc3339(), "2030-01-31T12:00:00.123456+00:00");
    let renew = fields.object("renew", |renew| renew.optional_integer("cloud"));
    assert_eq!(renew, Some(Some(10)));
    let hosts = fields.objects("targets", |target| target.required_string("host"));
    assert_eq!(hosts, Some(vec!["h".into(), "i".into()]));
    assert_eq!(fields.finish(), Ok(()));
}

#[test]
fn every_wrong_field_is_named_at_once() {
    let mut fields = reader(json!({
        "name": "", "enabled": "hunter2", "ttl": 1.5, "tags": ["a", 7], "when": "hunter2",
        "renew": {"cloud": "hunter2", "other": 1}, "targets": [{"host": "h"}, "hunter2"],
        "surplus": "hunter2",
    }));
    fields.required_string("name");
    fields.required_string("absent");
    fields.required_bool("enabled");
    fields.optional_integer("ttl");
    fields.optional_list("tags");
    fields.instant("when");
    fields.object("renew", |renew| renew.optional_integer("cloud"));
    fields.objects("targets", |target| target.required_string("host"));
    fields.reject("name", "is taken");
    let issues = fields.finish().expect_err("nearly all are wrong");
    let names: Vec<&str> = issues.iter().map(|issue| issue.field.as_str()).collect();
    assert_eq!(
        names,
        [
            "name",
            "absent",
            "enabled",
            "ttl",
            "tags[1]",
            "when",
            "renew.cloud",
            "renew.other",
            "targets[1]",
            "name",
            "surplus"
        ]
    );
    assert!(!format!("{issues:?}").contains("hunter2"));
}

#[test]
fn a_patch_tells_absent_from_null() {
    let mut fields = reader(json!({"a": null, "b": "x", "c": 1}));
    assert_eq!(fields.patch_string("a"), Patch::Clear);
    assert_eq!(fields.patch_string("b"), Patch::Set("x".into()));
    assert_eq!(fields.patch_string("d"), Patch::Keep);
    assert_eq!(fields.patch_instant("c"), Patch::Keep);
    assert!(fields.finish().is_err());
}

/// The schema of what `read` asks for, without what it shares with others.
fn described<T>(read: impl FnOnce(FieldReader) -> T, required: &[&str]) -> Value {
    let (_, shape) = shape_of(read, required);
    shape.make(&mut SchemaGenerator::default()).to_value()
}

#[test]
fn a_reader_describes_what_it_asks_for() {
    let read = |mut fields: FieldReader| {
        fields.required_string("name");
        fields.optional_bool("enabled");
        fields.kept("ttl", Shape::integer, |_| Ok(0));
        fields.refuse("identity", "cannot be changed");
        fields.object("renew", |renew| renew.patch_string("cloud"));
        fields.objects("targets", |target| target.required_string("host"));
        fields.finish()
    };
    let text = json!({"type": "string"});
    let none = json!({"type": "null"});
    let filled = json!({"type": "string", "minLength": 1});
    let expected = json!({
        "type": "object",
        "properties": {
            "name": filled,
            "enabled": {"anyOf": [{"type": "boolean"}, none]},
            "ttl": {"type": "integer"},
            "renew": {"anyOf": [
                {
                    "type": "object",
                    "properties": {"cloud": {"anyOf": [text, none]}},
                    "additionalProperties": false,
                },
                none,
            ]},
            "targets": {"anyOf": [
                {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"host": filled},
                        "required": ["host"],
                        "additionalProperties": false,
                    },
                },
                none,
            ]},
        },
        "required": ["name", "ttl"],
        "additionalProperties": false,
    });
    assert_eq!(described(read, &["ttl"]), expected);
}

#[test]
fn a_reader_of_a_request_notes_nothing() {
    let mut fields = reader(json!({"name": "db"}));
    fields.required_string("name");
    assert!(fields.notes.all().is_empty());
    assert_eq!(fields.finish(), Ok(()));
}
