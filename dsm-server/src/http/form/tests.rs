use proptest::prelude::*;
use serde_json::{Value, json};

use super::{FieldProblem, Fields, FormError};
use crate::http::json::JsonError;

fn form(body: &str) -> Fields {
    let mut fields = Fields::default();
    fields.add_form(body.as_bytes()).expect("a form");
    fields
}

fn json(body: &Value) -> Fields {
    let mut fields = Fields::default();
    fields.add_json(body.to_string().as_bytes()).expect("JSON");
    fields
}

fn multipart(body: &'static str) -> Result<Fields, FormError> {
    let mut fields = Fields::default();
    fields
        .add_multipart("multipart/form-data; boundary=b", &body.into())
        .map(|()| fields)
}

fn problem<T>(result: Result<T, super::FieldError>) -> Option<FieldProblem> {
    result.err().map(|error| error.problem)
}

#[test]
fn names_are_case_insensitive_and_values_decoded_once() {
    let fields = form("Expiration_Date=2030-01-01+00%3A00&NAME=a%2520b&empty=&flag\r\n");
    let text = |name| fields.text(&[name]).expect("one value");
    assert_eq!(text("expiration_date").as_deref(), Some("2030-01-01 00:00"));
    assert_eq!(text("name").as_deref(), Some("a%20b"));
    assert_eq!(text("empty").as_deref(), Some(""));
    assert_eq!(text("flag").as_deref(), Some(""));
    assert_eq!(text("absent"), None);
    assert_eq!(
        fields
            .text(&["other", "name"])
            .expect("an alias")
            .as_deref(),
        Some("a%20b")
    );
}

#[test]
fn json_scalars_read_as_text_and_null_as_absent() {
    let fields = json(&json!({"Name": 7, "on": true, "none": null, "data": {"a": 1}}));
    assert_eq!(
        fields.text(&["name"]).expect("a number").as_deref(),
        Some("7")
    );
    assert_eq!(fields.boolean(&["on"]), Ok(Some(true)));
    assert_eq!(fields.text(&["none"]), Ok(None));
    assert!(fields.contains(&["none"]));
    assert_eq!(problem(fields.text(&["data"])), Some(FieldProblem::NotText));
    let data = fields.value(&["date", "data"]).expect("one value");
    assert_eq!(data.as_deref(), Some(&json!({"a": 1})));
}

#[test]
fn a_field_given_twice_is_refused() {
    for fields in [
        form("name=a&NAME=b"),
        form("name[]=a&name[]=b"),
        json(&json!({"name": "a", "Name": "b"})),
        form("name=a&alias=b"),
    ] {
        let result = fields.required_text(&["name", "alias"]);
        assert_eq!(problem(result), Some(FieldProblem::Repeated));
    }
    let mut fields = Fields::of_query("name=a").expect("a query");
    fields.add_form(b"name=a").expect("a form");
    assert_eq!(
        problem(fields.text(&["name"])),
        Some(FieldProblem::Repeated)
    );
}

#[test]
fn lists_come_in_every_form() {
    let expected = Ok(Some(vec!["a".to_owned(), "b".to_owned()]));
    for fields in [
        form("l=a,+b"),
        form("l=a&L=b"),
        form("l[]=a&l[]=b"),
        form("l%5B0%5D=a&l%5B1%5D=b"),
        json(&json!({"l": ["a", "b"]})),
        json(&json!({"l": "a, b,"})),
        json(&json!({"L": ["a", " b ", ""]})),
        form("l=%5B%22a%22,%22b%22%5D"),
    ] {
        assert_eq!(fields.list(&["l"]), expected, "{fields:?}");
    }
    assert_eq!(
        form("l[]=a,b").list(&["l"]),
        Ok(Some(vec!["a,b".to_owned()]))
    );
    assert_eq!(form("l=").list(&["l"]), Ok(Some(vec![])));
    assert_eq!(json(&json!({"l": []})).list(&["l"]), Ok(Some(vec![])));
    assert_eq!(json(&json!({"l": null})).list(&["l"]), Ok(None));
    assert!(form("l=%5B%22a%22").list(&["l"]).is_err());
    for list in [
        json!([{"a": 1}]),
        json!([["a"]]),
        json!({"a": 1}),
        json!([null]),
    ] {
        let result = json(&json!({"l": list})).list(&["l"]);
        assert_eq!(problem(result), Some(FieldProblem::NotList));
    }
}

#[test]
fn booleans_are_strict() {
    let fields = form("a=TRUE&b=0&c=&d=maybe&e=2");
    assert_eq!(fields.boolean(&["a"]), Ok(Some(true)));
    assert_eq!(fields.boolean(&["b"]), Ok(Some(false)));
    assert_eq!(fields.boolean(&["c"]), Ok(None));
    for name in ["d", "e"] {
        assert_eq!(
            problem(fields.boolean(&[name])),
            Some(FieldProblem::NotBoolean)
        );
    }
}

#[test]
fn required_means_not_empty() {
    for fields in [form(""), form("name="), json(&json!({"name": null}))] {
        let error = fields.required_text(&["name"]).expect_err("absent");
        assert_eq!(error.to_string(), "name is required");
    }
}

#[test]
fn multipart_is_a_form() {
    let body = "--b\r\nContent-Disposition: form-data; name=\"Env\"\r\n\r\nA=1\r\nB=2\r\n\
        --b\r\nContent-Disposition: form-data; name=\"l[]\"\r\n\r\nx\r\n--b--\r\n";
    let fields = multipart(body).expect("multipart");
    assert_eq!(
        fields.text(&["env"]).expect("one").as_deref(),
        Some("A=1\r\nB=2")
    );
    assert_eq!(fields.list(&["l"]), Ok(Some(vec!["x".to_owned()])));
    for body in [
        "",
        "--b\r\nContent-Disposition: form-data; name=\"Env\"\r\n\r\nA=1",
        "--b\r\nContent-Disposition: form-data\r\n\r\nA=1\r\n--b--\r\n",
    ] {
        assert_eq!(multipart(body), Err(FormError::Malformed("multipart form")));
    }
}

#[test]
fn what_is_not_utf8_is_refused_rather_than_changed() {
    assert_eq!(
        Fields::of_query("a=%ff"),
        Err(FormError::Malformed("query string"))
    );
    let mut fields = Fields::default();
    assert_eq!(
        fields.add_form(b"a=\xff"),
        Err(FormError::Malformed("form"))
    );
}

#[test]
fn the_number_of_fields_is_bounded() {
    assert!(Fields::of_query(&"a=1&".repeat(1_000)).is_ok());
    assert_eq!(
        Fields::of_query(&"a=1&".repeat(1_001)),
        Err(FormError::TooManyFields)
    );
}

#[test]
fn errors_and_debug_show_no_value() {
    let mut fields = form("password=hunter2&secret[]=hunter2");
    let error = fields
        .add_json(br#"{"x":"hunter2"x"#)
        .expect_err("malformed");
    assert!(matches!(
        error,
        FormError::Json(JsonError::Malformed { .. })
    ));
    let wrong = fields.boolean(&["password"]).expect_err("no boolean");
    assert!(!format!("{fields:?} {error} {error:?} {wrong} {wrong:?}").contains("hunter2"));
    assert_eq!(super::shown_type("text/x<script>"), "text/xscript");
}

proptest! {
    #[test]
    fn any_text_survives_a_form(name in "[a-z_]{1,8}", value in any::<String>()) {
        use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
        let body = format!("{}={}", name, utf8_percent_encode(&value, NON_ALPHANUMERIC));
        let mut fields = Fields::default();
        fields.add_form(body.as_bytes()).expect("a form");
        prop_assert_eq!(fields.text(&["NAME"]).is_ok(), true);
        let name: &'static str = Box::leak(name.into_boxed_str());
        let read = fields.text(&[name]).expect("one value");
        prop_assert_eq!(read.as_deref(), Some(value.as_str()));
    }
}
