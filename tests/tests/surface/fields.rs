//! The fields of every route that takes some: what they take, and which must be there.

use dsm_server::http::call::Surface;
use serde_json::{Value, json};
use warp::http::Method;

pub(crate) const TOKEN: &str = "/iso/oauth2/token";

/// What a field takes, and so what it does not.
#[derive(Clone, Copy)]
pub(crate) enum Takes {
    Text,
    Flag,
    Texts,
    Instant,
    Objects,
    Object,
    Number,
}

impl Takes {
    pub(crate) fn wrong(self, surface: Surface) -> Vec<Value> {
        let mut wrong = match self {
            Self::Text => vec![json!({"a": 1}), json!([["a"]])],
            Self::Flag => vec![json!({"a": 1}), json!([[true]]), json!("perhaps"), json!(7)],
            Self::Texts => vec![json!({"a": 1}), json!([["a"]]), json!([{"a": 1}])],
            Self::Instant => vec![
                json!({"a": 1}),
                json!([["a"]]),
                json!("tomorrow"),
                json!(true),
            ],
            Self::Objects => vec![json!({"a": 1}), json!([["a"]]), json!([1]), json!(true)],
            Self::Object => vec![json!([["a"]]), json!(7), json!(true), json!("%%%")],
            Self::Number => vec![
                json!({"a": 1}),
                json!([[1]]),
                json!("soon"),
                json!(0.5),
                json!(-7),
            ],
        };
        // On the other surface a number or a boolean may stand for its text, and one item for a
        // list of one.
        if surface == Surface::V1 {
            match self {
                Self::Text => wrong.extend([json!(7), json!(true)]),
                Self::Flag => wrong.extend([json!("true"), json!(1)]),
                Self::Texts => wrong.extend([json!("a"), json!([1])]),
                Self::Instant | Self::Objects | Self::Object | Self::Number => {}
            }
        }
        wrong
    }
}

/// The fields of a route's body that have a type.
pub(crate) fn typed(method: &Method, pattern: &str) -> Vec<(&'static str, Takes)> {
    use Takes::{Flag, Instant, Number, Object, Objects, Text, Texts};
    let secret = [
        ("name", Text),
        ("enabled", Flag),
        ("engine", Text),
        ("environment", Text),
        ("expires_at", Instant),
        ("tags", Texts),
        ("description", Text),
        ("renew", Object),
        ("data", Object),
    ];
    let application = [
        ("name", Text),
        ("authentication_method", Text),
        ("enabled", Flag),
        ("line_of_business", Text),
        ("application_type", Text),
        ("tags", Texts),
        ("description", Text),
        ("aws_arns", Texts),
        ("automatic_provisioning", Flag),
        ("cloud_profiles", Texts),
        ("credential_profiles", Objects),
    ];
    let authorization = [
        ("name", Text),
        ("enabled", Flag),
        ("expires_at", Instant),
        ("encrypt_sensitive", Flag),
        ("encryption_format", Text),
        ("allow_application_creation", Flag),
        ("environment", Text),
        ("system", Text),
        ("allowed_ips", Texts),
        ("allowed_referrers", Texts),
        ("certificate_fingerprint", Text),
        ("resources", Texts),
        ("read_only", Flag),
        ("unique_key", Text),
        ("secrets", Texts),
    ];
    let target = [
        ("name", Text),
        ("provider", Text),
        ("address", Text),
        ("options", Object),
        ("enabled", Flag),
        ("password_policy", Object),
        ("admin_credential", Object),
    ];
    let registry = [("name", Text), ("enabled", Flag), ("description", Text)];
    let under = pattern.strip_prefix("/api/v1/").unwrap_or(pattern);
    match (method.as_str(), under) {
        ("PUT", "authorizations/{id}/public-key") => vec![("public_key", Text)],
        ("DELETE" | "PUT", _) => Vec::new(),
        (_, TOKEN) => {
            vec![
                ("grant_type", Text),
                ("client_id", Text),
                ("client_secret", Text),
            ]
        }
        (_, "/iso/oauth2/revoke" | "/iso/oauth2/introspect") => vec![
            ("token", Text),
            ("client_id", Text),
            ("client_secret", Text),
        ],
        (_, "/iso/dapp/application") => vec![
            ("application", Text),
            ("system", Text),
            ("environment", Text),
            ("unique_key", Text),
            ("description", Text),
            ("tags", Texts),
            ("line_of_business", Text),
            ("application_type", Text),
            ("authentication_method", Text),
            ("aws_arns", Texts),
            ("cloud_profiles", Texts),
            ("credential_profiles", Objects),
            ("authorized_resources", Texts),
            ("expiration_date", Instant),
            ("encryption_enabled", Flag),
            ("allowed_ips", Texts),
            ("allowed_http_referers", Texts),
            ("certificate_fingerprint", Text),
        ],
        (_, "/iso/coe/dapp/provision") => vec![
            ("secret_id", Text),
            ("identity", Text),
            ("pod_name", Text),
            ("deploy", Text),
            ("namespace", Text),
        ],
        (_, "/iso/sctm/provision") => vec![("secret_id", Text), ("identity", Text)],
        (_, "/iso/coe/dapp/deprovision" | "/iso/dapp/deprovision") => vec![
            ("secret_id", Text),
            ("pod_name", Text),
            ("deploy", Text),
            ("namespace", Text),
        ],
        ("POST", "profiles") | ("PATCH", "profiles/{id}") => vec![
            ("identifier", Text),
            ("kind", Text),
            ("target", Text),
            ("creation_template", Text),
            ("removal_template", Text),
            ("roles", Texts),
            ("policies", Texts),
            ("ttl_seconds", Number),
            ("enabled", Flag),
        ],
        (_, "/iso/cicd/variables") => vec![("env", Text), ("map", Text)],
        (_, "/iso/sctm/secret") => vec![
            ("identity", Text),
            ("name", Text),
            ("engine", Text),
            ("expiration_date", Instant),
            ("description", Text),
            ("renew_cloud_time", Number),
            ("renew_credential_time", Number),
            ("renew_ephemeral_credential_time", Number),
            ("data", Object),
        ],
        ("POST", "applications") | ("PATCH", "applications/{id}") => application.into(),
        ("POST", "applications/{id}/authorizations") | ("PATCH", "authorizations/{id}") => {
            authorization.into()
        }
        ("POST", "authorizations/{id}/explain") => vec![
            ("ip", Text),
            ("referrer", Text),
            ("fingerprint", Text),
            ("resource", Text),
            ("identity", Text),
            ("at", Instant),
            ("method", Text),
            ("arn", Text),
        ],
        ("POST", "secrets") => [&[("identity", Text)][..], &secret[..]].concat(),
        ("PATCH", "secrets/{id}") => secret.into(),
        ("POST", "authorizations/{id}/clients/rotate" | "secrets/{id}/rotate") => {
            vec![("overlap_seconds", Number)]
        }
        ("POST", "secrets/{id}/attempts/{n}/settle") => vec![("decision", Text)],
        ("POST", "targets") | ("PATCH", "targets/{id}") => target.into(),
        ("PATCH", "variables/{id}") => vec![("status", Text), ("enabled", Flag)],
        ("POST", "operators") => vec![
            ("name", Text),
            ("permissions", Texts),
            ("expires_at", Instant),
            ("expires_in_days", Number),
        ],
        (
            _,
            "environments"
            | "systems"
            | "engines"
            | "application-types"
            | "lines-of-business"
            | "environments/{id}"
            | "systems/{id}"
            | "engines/{id}"
            | "application-types/{id}"
            | "lines-of-business/{id}",
        ) => registry.into(),
        // These take no fields.
        (
            "POST",
            "authorizations/{id}/credentials"
            | "secrets/{id}/enable"
            | "secrets/{id}/disable"
            | "secrets/{id}/expire"
            | "secrets/{id}/versions/{n}/reveal"
            | "secrets/{id}/versions/{n}/restore"
            | "targets/{id}/test"
            | "variables/{id}/reveal",
        ) => Vec::new(),
        _ => panic!("which fields has {method} {pattern}?"),
    }
}

/// The fields without which a route makes nothing.
pub(crate) fn required(pattern: &str) -> &'static [&'static str] {
    match pattern {
        TOKEN => &["grant_type"],
        "/iso/oauth2/revoke" | "/iso/oauth2/introspect" => &["token"],
        "/iso/dapp/application" => &["application"],
        "/iso/coe/dapp/deprovision" | "/iso/dapp/deprovision" => {
            &["secret_id", "pod_name", "deploy", "namespace"]
        }
        "/iso/coe/dapp/provision" | "/iso/sctm/provision" => &["secret_id"],
        "/api/v1/profiles" => &["identifier", "kind", "target"],
        "/iso/sctm/secret" => &["identity"],
        "/api/v1/applications" => &["name", "authentication_method"],
        "/api/v1/applications/{id}/authorizations" => &[
            "enabled",
            "encrypt_sensitive",
            "allow_application_creation",
            "environment",
            "system",
        ],
        "/api/v1/authorizations/{id}/explain" => &["ip", "resource"],
        "/api/v1/secrets" => &["identity", "name"],
        "/api/v1/secrets/{id}/attempts/{n}/settle" => &["decision"],
        "/api/v1/targets" => &["name", "provider", "address", "admin_credential"],
        "/api/v1/operators"
        | "/api/v1/environments"
        | "/api/v1/systems"
        | "/api/v1/engines"
        | "/api/v1/application-types"
        | "/api/v1/lines-of-business" => &["name"],
        _ => &[],
    }
}
