use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE};
use dsm_core::secret::{DataPatch, SecretData};
use dsm_core::vault::FieldError;
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::{Output, Strictness, read, shape};

fn lenient(value: Value) -> Result<DataPatch, Vec<FieldError>> {
    read("data", value, Strictness::Lenient)
}

fn strict(value: Value) -> Result<DataPatch, Vec<FieldError>> {
    read("data", value, Strictness::Strict)
}

/// What a client would see of it.
fn shown(patch: Result<DataPatch, Vec<FieldError>>) -> Value {
    let data = SecretData::default().apply(patch.expect("right data"));
    serde_json::to_value(Output(&data.into_output())).expect("output serialises")
}

fn wrong(result: Result<DataPatch, Vec<FieldError>>) -> Vec<(String, String)> {
    let errors = result.expect_err("wrong data");
    errors
        .into_iter()
        .map(|error| (error.field, error.message))
        .collect()
}

fn everything() -> Value {
    json!({
        "access_keys": [{"access_key": {"type": "aws", "fields": {
            "access_key_id": "AK", "access_key_id_label": "AWS_ID",
            "secret_access_key": "sk", "secret_access_key_label": "AWS_SECRET"}}}],
        "credentials": [{"credential": {"fields": {
            "user": "u", "user_label": "DB_USER", "host": "h", "host_label": "DB_HOST",
            "password": "p", "password_label": "DB_PASS", "additional_information": "i",
            "additional_information_label": "DB_INFO", "ip": "192.0.2.1"}}}],
        "key_value": {"fields": {"A": "1", "N": null}},
        "ssh_keys": [{"ssh_key": {"fields": {
            "user": "root", "host": "h", "private_key": "k", "public_key": "q",
            "password": "phrase", "password_label": "PHRASE"}}}],
        "ephemeral_credentials": [{"ephemeral_credential": {
            "profile": "web", "fields": {"user_label": "U"}}}],
    })
}

#[test]
fn every_kind_is_read_by_both() {
    let expected = json!([
        {"DB_HOST": "h", "DB_USER": "u", "DB_PASS": "p", "DB_INFO": "i", "ip": "192.0.2.1"},
        {"hostname": "h", "username": "root", "PHRASE": "phrase", "private_key": "k",
         "public_key": "q"},
        {},
        {"AWS_ID": "AK", "AWS_SECRET": "sk", "TTL": null},
        {"A": "1", "N": null},
    ]);
    assert_eq!(shown(strict(everything())), expected);
    assert_eq!(shown(lenient(everything())), expected);
    let patch = strict(everything()).expect("right data");
    let ephemeral = &patch.ephemeral_credentials.expect("named")[0];
    assert_eq!(ephemeral.profile, "web");
    assert_eq!(ephemeral.credential.labels.user.as_deref(), Some("U"));
}

#[test]
fn key_values_come_in_many_shapes() {
    for value in [
        json!({"key_value": {"fields": {"A": "1", "B": "2"}}}),
        json!({"key_value": [{"fields": {"A": "1", "B": "2"}}]}),
        json!({"key_value": [{"fields": {"A": "1"}}, {"fields": {"B": "2"}}]}),
        json!({"key_value": [{"key_value": {"fields": {"A": "1"}}},
                             {"name": "n", "fields": {"B": "2"}}]}),
        json!({"key_value": [{"name": "n", "fields": {"A": "1", "B": 2}}]}),
    ] {
        let expected = json!([{"A": "1", "B": "2"}]);
        assert_eq!(shown(strict(value.clone())), expected, "{value}");
        assert_eq!(shown(lenient(value)), expected);
    }
}

#[test]
fn numbers_and_booleans_become_their_json_text() {
    let value = json!({"key_value": {"fields": {
        "i": 7, "n": -1, "f": 1.5, "t": true, "x": null, "e": ""}}});
    let expected = json!([{
        "e": "", "f": "1.5", "i": "7", "n": "-1", "t": "true", "x": null}]);
    assert_eq!(shown(strict(value.clone())), expected);
    assert_eq!(shown(lenient(value)), expected);
}

#[test]
fn text_in_base64_and_plain_objects_are_forgiven() {
    let text = json!({"value": "ü?>~"}).to_string();
    let expected = json!([{"value": "ü?>~"}]);
    let padded = BASE64_STANDARD.encode(&text);
    for sent in [
        Value::from(text.clone()),
        Value::from(padded.clone()),
        Value::from(BASE64_STANDARD_NO_PAD.encode(&text)),
        Value::from(BASE64_URL_SAFE.encode(&text)),
        Value::from(format!(" {}\r\n{}\n", &padded[..8], &padded[8..])),
        json!({"value": "ü?>~"}),
    ] {
        assert_eq!(shown(lenient(sent.clone())), expected, "{sent}");
        if !sent.is_object() {
            assert_eq!(wrong(strict(sent))[0].0, "data");
        }
    }
    let flat = json!({"hostname": "h", "username": "u", "password": "p"});
    assert_eq!(shown(lenient(flat.clone())), json!([flat]));
    let unknown = wrong(strict(flat));
    assert_eq!(unknown.len(), 3);
    assert_eq!(
        unknown[0],
        ("data.hostname".into(), "is not a known field".into())
    );
}

#[test]
fn nothing_changes_nothing_and_an_empty_block_removes() {
    for value in [
        json!(null),
        json!(""),
        json!({}),
        json!({"credentials": null}),
    ] {
        assert!(lenient(value).expect("nothing").is_empty());
    }
    assert!(strict(json!({})).expect("nothing").is_empty());
    assert_eq!(wrong(strict(json!(null)))[0].0, "data");
    assert_eq!(
        wrong(strict(json!({"credentials": null})))[0].0,
        "data.credentials"
    );
    for value in [
        json!({"key_value": []}),
        json!({"key_value": {"fields": {}}}),
    ] {
        for patch in [strict(value.clone()), lenient(value)] {
            let patch = patch.expect("an empty block");
            assert_eq!(patch.key_values, Some(std::collections::BTreeMap::new()));
        }
    }
    let patch = strict(json!({"credentials": []})).expect("an empty block");
    assert_eq!(patch.credentials, Some(Vec::new()));
}

#[test]
fn what_is_unknown_is_ignored_or_refused() {
    let value = json!({
        "other": 1,
        "credentials": [{"x": 1, "credential": {"x": 1, "fields": {"user": "u", "x": [1]}}}],
        "key_value": {"x": 1, "fields": {}},
    });
    let patch = lenient(value.clone()).expect("forgiven");
    assert_eq!(
        patch.credentials.expect("named")[0].user.as_deref(),
        Some("u")
    );
    let mut fields: Vec<String> = wrong(strict(value)).into_iter().map(|e| e.0).collect();
    fields.sort();
    assert_eq!(
        fields,
        [
            "data.credentials[0].credential.fields.x",
            "data.credentials[0].credential.x",
            "data.credentials[0].x",
            "data.key_value.x",
            "data.other",
        ]
    );
}

#[test]
fn single_fields_are_forgiven_their_type_and_empty_labels() {
    let value = json!({"credentials": [{"credential": {"fields": {
        "user": 7, "password": true, "host": null, "user_label": ""}}}]});
    let expected = json!([{"username": "7", "password": "true"}]);
    assert_eq!(shown(lenient(value.clone())), expected);
    let fields: Vec<String> = wrong(strict(value)).into_iter().map(|e| e.0).collect();
    let place = "data.credentials[0].credential.fields";
    assert_eq!(
        fields,
        [
            format!("{place}.user"),
            format!("{place}.password"),
            format!("{place}.user_label")
        ]
    );
}

#[test]
fn every_wrong_field_is_named_without_its_value() {
    const CANARY: &str = "hunter2";
    let value = json!({
        "credentials": [{"credential": {"fields": {"password": [CANARY]}}}, CANARY, {},
                        {"credential": {}}, {"credential": {"target": CANARY, "fields": {}}},
                        {"credential": {"pair_user": CANARY, "fields": {}}}],
        "ssh_keys": CANARY,
        "access_keys": [{"access_key": {"type": CANARY, "fields": {}}},
                        {"access_key": {"fields": {"access_key_id": {"x": CANARY}}}}],
        "ephemeral_credentials": [{"ephemeral_credential": {"fields": {"user_label": [CANARY]}}}],
        "key_value": [{"fields": {"A": [CANARY], "B": CANARY}}, {"fields": {"B": CANARY}}, {}],
    });
    let clients = (
        lenient(value.clone()),
        "is for operators to set, over /api/v1",
    );
    let operators = (strict(value), "must not be given without a target");
    for (result, pair_user) in [clients, operators] {
        let errors = wrong(result);
        let fields = errors.iter().map(|(field, _)| field.as_str());
        // Which targets there are is not known here; that clients name none is.
        let fields: Vec<&str> = fields
            .filter(|field| *field != "data.credentials[4].credential.target")
            .collect();
        assert_eq!(
            fields,
            [
                "data.credentials[0].credential.fields.password",
                "data.credentials[1]",
                "data.credentials[2].credential",
                "data.credentials[3].credential.fields",
                "data.credentials[5].credential.pair_user",
                "data.ssh_keys",
                "data.ephemeral_credentials[0].ephemeral_credential.profile",
                "data.ephemeral_credentials[0].ephemeral_credential.fields.user_label",
                "data.access_keys[0].access_key.type",
                "data.access_keys[1].access_key.type",
                "data.access_keys[1].access_key.fields.access_key_id",
                "data.key_value[0].fields.A",
                "data.key_value[1].fields.B",
                "data.key_value[2].fields",
            ]
        );
        let named = errors
            .iter()
            .find(|(field, _)| field.ends_with("pair_user"));
        assert_eq!(named.expect("named").1, pair_user);
        assert!(!format!("{errors:?}").contains(CANARY));
    }
}

#[test]
fn the_rules_for_json_hold_inside_base64() {
    let deep = format!("{}1{}", "[".repeat(40), "]".repeat(40));
    for (text, message) in [
        (r#"{"a":1,"a":2}"#.to_owned(), "the key a is given twice"),
        (
            format!(r#"{{"a":{deep}}}"#),
            "JSON nested deeper than 32 levels",
        ),
        (
            r#"{"a":123456789012345678901234567890}"#.to_owned(),
            "the number at a is too large to be kept exactly",
        ),
        ("[1]".to_owned(), "the body is not a JSON object"),
        (
            r#"{a: "hunter2",}"#.to_owned(),
            "malformed JSON at line 1, column 2",
        ),
    ] {
        let sent = BASE64_STANDARD.encode(&text);
        let errors = wrong(lenient(sent.into()));
        assert_eq!(errors, [("data".to_owned(), message.to_owned())], "{text}");
        if text.starts_with('{') {
            assert_eq!(wrong(lenient(text.into())), errors);
        }
    }
    assert_eq!(
        wrong(lenient("hunter2!".into())),
        [(
            "data".to_owned(),
            "must be an object or the Base64 of one".to_owned()
        )]
    );
}

#[test]
fn nested_values_are_no_pairs() {
    let errors = wrong(lenient(json!({"a": {"b": "c"}, "d": ["e"], "f": "g"})));
    let fields: Vec<&str> = errors.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, ["data.a", "data.d"]);
}

/// A value that has everything that a schema names.
fn whole(schema: &Value, count: &mut usize) -> Value {
    if let Some(first) = schema["enum"].get(0).or(schema["anyOf"].get(0)) {
        return match first {
            Value::Object(_) => whole(first, count),
            value => value.clone(),
        };
    }
    match schema["type"].as_str() {
        Some("object") => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            let properties = properties.map(|(name, schema)| (name.clone(), whole(schema, count)));
            properties.collect::<Map<_, _>>().into()
        }
        Some("array") => json!([whole(&schema["items"], count)]),
        _ => {
            *count += 1;
            json!(format!("text {count}"))
        }
    }
}

#[test]
fn all_that_is_described_is_taken() {
    let schema = shape::strict().make(&mut SchemaGenerator::default());
    let mut count = 0;
    let whole = whole(schema.as_value(), &mut count);
    assert!(count >= 30, "{whole}");
    let read = read("data", whole.clone(), Strictness::Strict);
    let patch = read.unwrap_or_else(|wrong| panic!("{wrong:?} of {whole}"));
    assert!(patch.credentials.is_some_and(|items| items.len() == 1));
    assert!(patch.ssh_keys.is_some_and(|items| items.len() == 1));
    assert!(patch.access_keys.is_some_and(|items| items.len() == 1));
    assert!(
        patch
            .ephemeral_credentials
            .is_some_and(|items| items.len() == 1)
    );
    assert!(patch.key_values.is_some());
}
