use dsm_tests::api::{Bearer, secret};
use dsm_tests::place::Place;
use dsm_tests::server::Server;
use serde_json::{Value, json};

use crate::application::token_for;

/// An operator of a server that has just started, and what they made: environment `production`,
/// system `billing`, application `invoices` with an authorization, and secret `db/main` of two
/// versions attached to it.
pub(crate) struct Furnished {
    pub(crate) operator: Bearer,
    pub(crate) application: String,
    pub(crate) authorization: String,
    pub(crate) secret: String,
}

fn id(object: &Value) -> String {
    object["id"].as_str().expect("an id").to_owned()
}

impl Furnished {
    pub(crate) async fn new(server: &Server) -> Self {
        let operator = Bearer::operator(server);
        for (path, name) in [
            ("environments", "production"),
            ("systems", "billing"),
            ("application-types", "batch"),
            ("lines-of-business", "retail"),
        ] {
            let made = operator
                .make(&format!("/api/v1/{path}"), json!({"name": name}))
                .await;
            let entry = format!("/api/v1/{path}/{}", id(&made));
            let patch = Some(json!({"description": "described"}));
            operator.gives(200, "PATCH", &entry, patch).await;
            assert_eq!(operator.get(&entry).await["description"], "described");
        }
        let secret = id(&operator
            .make("/api/v1/secrets", secret("db/main", "first"))
            .await);
        let patch = json!({
            "description": "nightly", "data": {"key_value": {"fields": {"KEY": "second"}}},
        });
        let path = format!("/api/v1/secrets/{secret}");
        operator.gives(200, "PATCH", &path, Some(patch)).await;
        let body = json!({
            "name": "invoices", "authentication_method": "oauth2", "application_type": "batch",
            "line_of_business": "retail", "tags": ["a"],
        });
        let application = id(&operator.make("/api/v1/applications", body).await);
        let body = json!({
            "name": "nightly", "enabled": true, "encrypt_sensitive": false,
            "allow_application_creation": false, "environment": "production",
            "system": "billing", "allowed_ips": ["127.0.0.1"], "secrets": [],
        });
        let path = format!("/api/v1/applications/{application}/authorizations");
        let authorization = id(&operator.make(&path, body).await);
        let path = format!("/api/v1/authorizations/{authorization}/secrets/{secret}");
        operator.gives(204, "PUT", &path, None).await;
        Self {
            operator,
            application,
            authorization,
            secret,
        }
    }

    /// The application's client, by the credentials that an operator sees.
    pub(crate) async fn client(&self, server: &Server) -> Bearer {
        let path = format!("/api/v1/authorizations/{}/credentials", self.authorization);
        let operator = self.operator.at(server);
        let shown = operator.gives(200, "POST", &path, Some(json!({}))).await;
        let token = token_for(server, &shown["client_id"], &shown["client_secret"]).await;
        Bearer::new(server, &token.expect("the credentials are good"))
    }
}

pub(crate) async fn an_operator_grants_access_and_takes_it_away(place: Place) {
    let server = place.server().expect("the server starts");
    let furnished = Furnished::new(&server).await;
    let operator = &furnished.operator;
    let client = furnished.client(&server).await;
    let value = async || client.value("db/main").await.ok().flatten();
    assert_eq!(value().await.as_deref(), Some("second"));

    let authorization = format!("/api/v1/authorizations/{}", furnished.authorization);
    let question = json!({
        "ip": "192.0.2.1", "resource": "Secret Management", "identity": "db/main",
    });
    let explain = format!("{authorization}/explain");
    let explained = operator.gives(200, "POST", &explain, Some(question)).await;
    assert_eq!(explained["permitted"], false);
    let rules = explained["rules"].as_array().expect("a list");
    let failed = rules.iter().filter(|rule| rule["outcome"] == "failed");
    assert_eq!(failed.map(|rule| &rule["rule"]).collect::<Vec<_>>(), ["ip"]);

    let attached = format!("{authorization}/secrets/{}", furnished.secret);
    operator.gives(204, "DELETE", &attached, None).await;
    assert_eq!(value().await, None);
    operator.gives(204, "PUT", &attached, None).await;
    assert_eq!(value().await.as_deref(), Some("second"));
    let secret = format!("/api/v1/secrets/{}", furnished.secret);
    for (action, there) in [("disable", false), ("enable", true)] {
        let path = format!("{secret}/{action}");
        operator.gives(200, "POST", &path, Some(json!({}))).await;
        assert_eq!(value().await.is_some(), there, "{action}");
    }
    let patch = Some(json!({"enabled": false}));
    operator.gives(200, "PATCH", &authorization, patch).await;
    client
        .gives(401, "GET", "/iso/dapp/application", None)
        .await;
    let patch = Some(json!({"enabled": true}));
    operator.gives(200, "PATCH", &authorization, patch).await;
    assert_eq!(value().await.as_deref(), Some("second"));

    let expired = operator
        .gives(200, "POST", &format!("{secret}/expire"), Some(json!({})))
        .await;
    assert_eq!(expired["status"], "expired");
    assert_eq!(value().await, None);
    let reveal = format!("{secret}/versions/1/reveal");
    operator.gives(410, "POST", &reveal, Some(json!({}))).await;

    let application = format!("/api/v1/applications/{}", furnished.application);
    operator.gives(409, "DELETE", &application, None).await;
    operator.gives(204, "DELETE", &authorization, None).await;
    client
        .gives(401, "GET", "/iso/dapp/application", None)
        .await;
    operator
        .gives(409, "PATCH", &authorization, Some(json!({"enabled": true})))
        .await;
}

pub(crate) async fn versions_are_compared_revealed_and_restored(place: Place) {
    let server = place.server().expect("the server starts");
    let furnished = Furnished::new(&server).await;
    let operator = &furnished.operator;
    let secret = format!("/api/v1/secrets/{}", furnished.secret);
    let listed = operator.get(&format!("{secret}/versions")).await;
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(2));
    let compared = operator.get(&format!("{secret}/compare?from=2&to=1")).await;
    let differences = compared["differences"].as_array().expect("a list");
    let fields: Vec<&Value> = differences.iter().map(|one| &one["field"]).collect();
    assert_eq!(fields, ["description", "data[0].KEY"]);
    assert!(!compared.to_string().contains("second"));
    let restored = operator
        .gives(
            200,
            "POST",
            &format!("{secret}/versions/1/restore"),
            Some(json!({})),
        )
        .await;
    assert_eq!(restored["version"], 3);
    for (version, value) in [(1, "first"), (2, "second"), (3, "first")] {
        let path = format!("{secret}/versions/{version}/reveal");
        let revealed = operator.gives(200, "POST", &path, Some(json!({}))).await;
        assert_eq!(revealed["data"], json!([{"KEY": value}]), "{version}");
    }
    let path = format!("{secret}/versions/9/reveal");
    operator.gives(404, "POST", &path, Some(json!({}))).await;
    operator
        .gives(204, "DELETE", &format!("{secret}?purge=true"), None)
        .await;
    operator.gives(404, "GET", &secret, None).await;
    let again = operator
        .make("/api/v1/secrets", dsm_tests::api::secret("db/main", "x"))
        .await;
    assert_ne!(again["id"], furnished.secret.as_str());
}

pub(crate) async fn what_was_done_is_found_in_the_trail(place: Place) {
    let server = place.server().expect("the server starts");
    let furnished = Furnished::new(&server).await;
    let operator = &furnished.operator;
    let client = furnished.client(&server).await;
    assert!(client.value("db/main").await.expect("an answer").is_some());
    let answer = client
        .ask("GET", "/iso/sctm/secret/quickstart/database", None)
        .await;
    assert_eq!(answer.expect("an answer").status, 404);
    let found = async |query: &str| {
        let page = operator
            .get(&format!("/api/v1/audit?limit=500&{query}"))
            .await;
        page["items"].as_array().expect("a list").clone()
    };
    let authorization = &furnished.authorization;
    let actor = format!("actor=authorization:{authorization}");
    for (query, expected) in [
        (
            "operation=secret.create&object=secret:name:db/main".to_owned(),
            1,
        ),
        (
            "operation=secret.update&object=secret:name:db/main".to_owned(),
            1,
        ),
        (format!("{actor}&operation=secret.read&outcome=allowed"), 1),
        (format!("{actor}&operation=secret.read&outcome=denied"), 1),
        ("operation=application.create&ip=127.0.0.1".to_owned(), 1),
        ("operation=application.create&ip=192.0.2.1".to_owned(), 0),
        (
            "operation=secret.create&until=2020-01-01T00:00:00Z".to_owned(),
            0,
        ),
    ] {
        // The copy in the store may be behind by what was done last.
        dsm_tests::api::eventually(&query, std::time::Duration::from_secs(10), async || {
            found(&query).await.len() == expected
        })
        .await;
    }
    let all = found("").await;
    assert!(!Value::from(all).to_string().contains("second"));

    // Page by page it is the same.
    let whole = found("operation=registry.create").await;
    let mut paged = Vec::new();
    let query = "/api/v1/audit?limit=3&operation=registry.create";
    let mut path = query.to_owned();
    loop {
        let page = operator.get(&path).await;
        paged.extend(page["items"].as_array().expect("a list").clone());
        match page["next"].as_str() {
            Some(next) => path = format!("{query}&after={next}"),
            None => break,
        }
    }
    assert!(paged.len() > 3);
    assert_eq!(paged, whole);
}

pub(crate) async fn operators_come_and_go(place: Place) {
    let server = place.server().expect("the server starts");
    let operator = Bearer::operator(&server);
    let body = json!({"name": "grace", "permissions": ["Secrets.View"], "expires_in_days": 7});
    let made = operator.make("/api/v1/operators", body).await;
    let grace = Bearer::new(&server, made["token"].as_str().expect("a token"));
    assert_eq!(grace.get("/api/v1/me").await["name"], "grace");
    grace.get("/api/v1/secrets").await;
    grace.gives(403, "GET", "/api/v1/operators", None).await;
    let body = Some(secret("a", "b"));
    grace.gives(403, "POST", "/api/v1/secrets", body).await;
    let path = format!("/api/v1/operators/{}", id(&made));
    operator.gives(204, "DELETE", &path, None).await;
    grace.gives(401, "GET", "/api/v1/me", None).await;
    let listed = operator.get("/api/v1/operators").await;
    let items = listed["items"].as_array().expect("a list");
    let found = items.iter().find(|item| item["name"] == "grace");
    assert_eq!(found.expect("it is kept")["status"], "revoked");
}
