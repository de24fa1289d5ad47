//! The right request for every route.

use std::sync::OnceLock;

use dsm_core::crypto::sealing::KeyPair;
use dsm_core::entropy::OsEntropy;
use serde_json::{Value, json};
use warp::http::Method;

use crate::exchange::Ask;

/// A right request for a route, without credentials.
///
/// # Panics
///
/// For a route that has none yet: a new one gets its line here.
pub(crate) fn request(method: &Method, pattern: &str) -> Ask {
    let path = pattern
        .replace("{identity…}", "db/main")
        .replace("{secret_id}", if method == Method::PUT { "2" } else { "1" })
        .replace("{client_id}", "1")
        .replace("{n}", "1")
        .replace(
            "{id}",
            match (method.as_str(), pattern) {
                ("DELETE", "/api/v1/applications/{id}")
                | ("POST", "/api/v1/secrets/{id}/enable") => "3",
                (
                    _,
                    "/api/v1/secrets/{id}/rotate"
                    | "/api/v1/secrets/{id}/attempts"
                    | "/api/v1/secrets/{id}/attempts/{n}/settle",
                ) => "4",
                ("GET", "/api/v1/authorizations/{id}/private-key")
                // The first ones are in use.
                | ("DELETE", "/api/v1/profiles/{id}" | "/api/v1/targets/{id}") => "2",
                _ => "1",
            },
        );
    let path = if pattern.ends_with("/compare") {
        path + "?from=2&to=1"
    } else if method == Method::GET && pattern == "/iso/coe/dapp/provision" {
        path + "?identity=db/main"
    } else {
        path
    };
    let ask = Ask::new(method, path);
    match fields(method, pattern) {
        Value::Null => ask,
        fields => ask.json(&fields),
    }
}

/// Two public keys, made once.
pub(crate) fn public_key(number: usize) -> &'static str {
    static KEYS: OnceLock<[String; 2]> = OnceLock::new();
    let make = || KeyPair::generate(&OsEntropy).public.to_pem();
    &KEYS.get_or_init(|| [make(), make()])[number]
}

/// The fields of that request; null when it has no body.
pub(crate) fn fields(method: &Method, pattern: &str) -> Value {
    let path = pattern.split('?').next().unwrap_or_default();
    let name = || json!({"name": "new"});
    let data = || json!({"key_value": {"fields": {"PASSWORD": "canary-new"}}});
    match (method.as_str(), path) {
        ("PUT", "/api/v1/authorizations/{id}/public-key") => json!({"public_key": public_key(1)}),
        ("GET" | "DELETE" | "PUT", _)
        | (
            "POST",
            "/iso/oauth2/token"
            | "/iso/oauth2/revoke"
            | "/iso/oauth2/introspect"
            | "/api/v1/authorizations/{id}/credentials"
            | "/api/v1/authorizations/{id}/clients/rotate"
            | "/api/v1/secrets/{id}/enable"
            | "/api/v1/secrets/{id}/disable"
            | "/api/v1/secrets/{id}/expire"
            | "/api/v1/secrets/{id}/versions/{n}/reveal"
            | "/api/v1/secrets/{id}/versions/{n}/restore"
            | "/api/v1/targets/{id}/test"
            | "/api/v1/variables/{id}/reveal",
        ) => Value::Null,
        ("POST", "/iso/dapp/application") => json!({
            "application": "caller", "system": "sys", "environment": "dev",
            "description": "changed",
        }),
        // NAME=canary-new, and credentials of the secret db/main.
        ("POST", "/iso/cicd/variables") => json!({
            "env": "TkFNRT1jYW5hcnktbmV3",
            "map": "eyJrZXlfdmFsdWUiOlt7Im5hbWUiOiJkYi9tYWluIiwiZmllbGRzIjpbIk5BTUUiXX1dfQ,,",
        }),
        ("PATCH", "/api/v1/variables/{id}") => json!({"status": "approved_manually"}),
        ("POST", "/iso/sctm/secret") => json!({"identity": "db/main", "data": data()}),
        ("POST", "/api/v1/applications") => {
            json!({"name": "new", "authentication_method": "oauth2"})
        }
        ("POST", "/api/v1/applications/{id}/authorizations") => json!({
            "name": "new", "enabled": true, "encrypt_sensitive": false,
            "allow_application_creation": false, "environment": "dev", "system": "sys",
            "allowed_ips": ["10.0.0.0/8"],
        }),
        ("POST", "/api/v1/authorizations/{id}/explain") => {
            json!({"ip": "192.0.2.10", "resource": "Application"})
        }
        ("POST", "/api/v1/secrets") => {
            json!({"identity": "new", "name": "New", "data": data()})
        }
        ("PATCH", "/api/v1/secrets/{id}") => json!({"data": data()}),
        ("POST", "/iso/coe/dapp/provision" | "/iso/sctm/provision") => {
            json!({"identity": "db/main"})
        }
        ("POST", "/iso/coe/dapp/deprovision" | "/iso/dapp/deprovision") => json!({
            "pod_name": "pod", "deploy": "deploy", "namespace": "space", "secret_id": "5",
        }),
        ("POST", "/api/v1/profiles") => {
            json!({"identifier": "new", "kind": "credential", "target": "db"})
        }
        ("PATCH", "/api/v1/profiles/{id}") => json!({"ttl_seconds": 600}),
        ("POST", "/api/v1/secrets/{id}/rotate") => json!({"overlap_seconds": 60}),
        ("POST", "/api/v1/secrets/{id}/attempts/{n}/settle") => json!({"decision": "retry"}),
        ("POST", "/api/v1/targets") => json!({
            "name": "new", "provider": "fake", "address": "here",
            "admin_credential": {"username": "admin", "password": "canary-admin"},
        }),
        ("PATCH", "/api/v1/targets/{id}") => json!({
            "password_policy": {"length": 20},
            "admin_credential": {"username": "admin", "password": "canary-admin"},
        }),
        ("POST", "/api/v1/operators") => json!({"name": "new", "permissions": []}),
        (
            "POST",
            "/api/v1/environments"
            | "/api/v1/systems"
            | "/api/v1/engines"
            | "/api/v1/application-types"
            | "/api/v1/lines-of-business",
        )
        | (
            "PATCH",
            "/api/v1/environments/{id}"
            | "/api/v1/systems/{id}"
            | "/api/v1/engines/{id}"
            | "/api/v1/application-types/{id}"
            | "/api/v1/lines-of-business/{id}"
            | "/api/v1/applications/{id}"
            | "/api/v1/authorizations/{id}",
        ) => name(),
        _ => panic!("no request for {method} {pattern}: write one"),
    }
}
