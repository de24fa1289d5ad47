//! What holds for every answer of the surface.

use http::StatusCode;
use serde_json::{Map, Value, json};

/// Whether the Go structs of the known clients take `answer`: they refuse the whole of it when one
/// field has another type, and match names in any case.
pub(crate) fn go_types_ok(answer: &Value) -> Result<(), String> {
    let top = answer.as_object().ok_or("the answer is no object")?;
    for (name, value) in top {
        let fits = match name.to_ascii_lowercase().as_str() {
            "error" | "message" | "id" | "signature" | "access_token" | "token_type" => text(value),
            "expires_in" | "code" => value.is_i64(),
            "response" => {
                response(value)?;
                true
            }
            "application" => {
                application(value)?;
                true
            }
            "secret" => {
                secret(value)?;
                true
            }
            "secrets" => {
                secrets(value)?;
                true
            }
            _ => true,
        };
        if !fits {
            return Err(format!("{name} has the wrong type"));
        }
    }
    Ok(())
}

fn text(value: &Value) -> bool {
    value.is_string() || value.is_null()
}

fn response(value: &Value) -> Result<(), String> {
    let response = value.as_object().ok_or("response is no object")?;
    expect(response, &["status", "error_code", "cod_erro"], |value| {
        value.is_i64() || value.is_null()
    })?;
    expect(response, &["error", "erro"], Value::is_boolean)?;
    expect(response, &["message", "mensagem", "detail"], text)
}

fn application(value: &Value) -> Result<(), String> {
    let application = value.as_object().ok_or("application is no object")?;
    expect(
        application,
        &["name", "description", "system", "environment"],
        text,
    )?;
    expect(application, &["tags"], |value| {
        value.is_null()
            || value
                .as_array()
                .is_some_and(|tags| tags.iter().all(Value::is_string))
    })?;
    match application.get("secrets") {
        Some(value) => secrets(value),
        None => Ok(()),
    }
}

fn secrets(value: &Value) -> Result<(), String> {
    if value.is_null() {
        return Ok(());
    }
    let list = value.as_array().ok_or("secrets is no list")?;
    list.iter().try_for_each(secret)
}

fn secret(value: &Value) -> Result<(), String> {
    let secret = value.as_object().ok_or("a secret is no object")?;
    let texts = [
        "secret_id",
        "secret_name",
        "identity",
        "version",
        "description",
        "expiration_date",
        "engine",
    ];
    expect(secret, &texts, text)?;
    let Some(data) = secret.get("data").filter(|data| !data.is_null()) else {
        return Ok(());
    };
    for item in data.as_array().ok_or("data is no list")? {
        let item = item.as_object().ok_or("an item of data is no object")?;
        for (name, value) in item {
            if !text(value) {
                return Err(format!("data.{name} is neither text nor null"));
            }
        }
    }
    Ok(())
}

fn expect(
    object: &Map<String, Value>,
    names: &[&str],
    fits: impl Fn(&Value) -> bool,
) -> Result<(), String> {
    for name in names {
        if object.get(*name).is_some_and(|value| !fits(value)) {
            return Err(format!("{name} has the wrong type"));
        }
    }
    Ok(())
}

/// The default response object is there in full and agrees with the status and with itself; errors
/// say what they are at the top as well.
pub(crate) fn default_object_ok(status: StatusCode, answer: &Value) -> Result<(), String> {
    let code = status.as_u16();
    let failed = code >= 400;
    let response = &answer["response"];
    let message = &response["message"];
    let number = &response["error_code"];
    if number.as_i64().is_none_or(|number| (number != 0) != failed) {
        return Err(format!("error_code is {number} with status {code}"));
    }
    let whole = json!({
        "status": code, "message": message, "error": failed, "error_code": number, "detail": "",
        "mensagem": message, "erro": failed, "cod_erro": number,
    });
    if *response != whole {
        return Err(format!("{response} should be {whole}"));
    }
    if answer["code"] != code {
        return Err(format!("code is {} with status {code}", answer["code"]));
    }
    if message.as_str().is_none_or(str::is_empty) {
        return Err("there is no message".to_owned());
    }
    if failed && answer["message"] != *message {
        return Err("an error has its message at the top as well".to_owned());
    }
    if code == 400 || code == 500 {
        let text = format!("{code}: {}", message.as_str().unwrap_or_default());
        let exception = json!({"code": code, "message": text, "detail": null});
        if answer["exception"] != exception {
            return Err(format!("{} should be {exception}", answer["exception"]));
        }
    }
    Ok(())
}

#[test]
fn the_checks_can_fail() {
    for wrong in [
        json!([]),
        json!({"error": true}),
        json!({"message": false}),
        json!({"id": 7}),
        json!({"expires_in": "3600"}),
        json!({"response": {"status": "200"}}),
        json!({"response": {"error": 0}}),
        json!({"application": {"tags": "a"}}),
        json!({"application": {"secrets": [{"version": 1}]}}),
        json!({"secret": {"expiration_date": 1}}),
        json!({"secret": {"data": {"a": "b"}}}),
        json!({"Secrets": [{"data": [{"TTL": 60}]}]}),
        json!({"secrets": [{"data": [{"a": {"b": "c"}}]}]}),
    ] {
        assert!(go_types_ok(&wrong).is_err(), "{wrong}");
    }
    for right in [
        json!({}),
        json!({"id": null, "tenant": "x", "success": true}),
        json!({"secret": {"data": null}, "secrets": null}),
        json!({"secret": {"data": [{"a": null}], "renew_cloud_time": 10}}),
    ] {
        assert_eq!(go_types_ok(&right), Ok(()), "{right}");
    }
    let whole = |status: u16, error: bool, number: i32| {
        json!({
            "code": status, "message": "m",
            "response": {"status": status, "message": "m", "error": error, "error_code": number,
                         "detail": "", "mensagem": "m", "erro": error, "cod_erro": number},
        })
    };
    assert_eq!(
        default_object_ok(StatusCode::OK, &whole(200, false, 0)),
        Ok(())
    );
    assert_eq!(
        default_object_ok(StatusCode::NOT_FOUND, &whole(404, true, 4)),
        Ok(())
    );
    for (status, wrong) in [
        (StatusCode::OK, whole(201, false, 0)),
        (StatusCode::OK, whole(200, true, 0)),
        (StatusCode::OK, whole(200, false, 1)),
        (StatusCode::NOT_FOUND, whole(404, false, 4)),
        (StatusCode::NOT_FOUND, whole(404, true, 0)),
        (StatusCode::BAD_REQUEST, whole(400, true, 1)),
    ] {
        assert!(default_object_ok(status, &wrong).is_err(), "{wrong}");
    }
}
