use dsm_tests::api::Bearer;
use serde_json::{Value, json};

/// Everything in a vault that stays as it is when a server is started: objects with their stamps,
/// and every version of every secret with its values.
pub(crate) async fn picture(operator: &Bearer) -> Value {
    let mut picture = json!({});
    for kind in [
        "secrets",
        "applications",
        "authorizations",
        "environments",
        "systems",
        "engines",
        "application-types",
        "lines-of-business",
    ] {
        let listed = operator.get(&format!("/api/v1/{kind}?limit=500")).await;
        assert_eq!(listed["next"], Value::Null, "{kind} is one page");
        picture[kind] = listed["items"].clone();
    }
    let mut versions = Vec::new();
    for secret in picture["secrets"].as_array().expect("a list") {
        let path = format!(
            "/api/v1/secrets/{}/versions",
            secret["id"].as_str().expect("an id")
        );
        let listed = operator.get(&format!("{path}?limit=500")).await;
        for version in listed["items"].as_array().expect("a list") {
            let reveal = format!("{path}/{}/reveal", version["version"]);
            let revealed = operator.ask("POST", &reveal, Some(&json!({}))).await;
            let revealed = revealed.expect("an answer");
            assert!(matches!(revealed.status, 200 | 410), "{revealed:?}");
            versions.push(json!([version, revealed.json()["data"]]));
        }
    }
    assert!(!versions.is_empty());
    picture["versions"] = versions.into();
    picture
}
