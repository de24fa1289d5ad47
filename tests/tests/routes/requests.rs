//! The log of requests: every answer of both surfaces is in it, once, with its status.

use serde_json::{Value, json};
use warp::http::Method;

use crate::exchange::{Answer, Ask};
use crate::world::{AUTHORIZATION, World};

const FORM: &str = "application/x-www-form-urlencoded";

fn ask(method: &str, path: &str) -> Ask {
    Ask::new(&method.parse::<Method>().expect("a method"), path)
}

async fn operator(world: &World) -> String {
    world.operator(dsm_core::access::Permissions::all()).await
}

/// A page of the log, but for what was asked to see it.
async fn log(world: &World, token: &str, query: &str) -> Vec<Value> {
    let path = format!("/api/v1/api-logs?limit=500&{query}");
    let answer = world.answer(ask("GET", &path).bearer(token)).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    let items = answer.json()["items"].as_array().expect("a list").clone();
    let asked = |item: &Value| item["operation"] == "audit.view";
    items.into_iter().filter(|item| !asked(item)).collect()
}

#[tokio::test]
async fn every_answer_is_in_the_log_with_its_status() {
    let world = World::new().await;
    let (client, ada) = (world.token().await, operator(&world).await);
    let of = |ask: Ask| ask.bearer(&client);
    let by = |ask: Ask| ask.bearer(&ada);
    let broken = "{";
    let cases = [
        // Done, refused by a rule, and gone wrong after that.
        (
            of(ask("GET", "/iso/sctm/secret/db/main")),
            200,
            "read",
            "secret.read",
        ),
        (
            of(ask("GET", "/iso/sctm/secret/db/none")),
            404,
            "read",
            "secret.read",
        ),
        (
            of(ask("GET", "/iso/dapp/application")),
            200,
            "read",
            "application.view",
        ),
        (by(ask("GET", "/api/v1/me")), 200, "read", "request"),
        (
            by(ask("GET", "/api/v1/secrets/1")),
            200,
            "read",
            "secret.view",
        ),
        (
            by(ask("GET", "/api/v1/secrets/999")),
            404,
            "read",
            "secret.view",
        ),
        (
            by(ask("DELETE", "/api/v1/secrets/2")),
            204,
            "update",
            "secret.disable",
        ),
        (
            by(ask("POST", "/api/v1/secrets/2/enable")),
            200,
            "update",
            "secret.enable",
        ),
        (
            by(ask("DELETE", "/api/v1/secrets/2?purge=true")),
            204,
            "delete",
            "secret.purge",
        ),
        (
            ask("GET", "/api/v1/secrets"),
            401,
            "read",
            "operator.token.use",
        ),
        (ask("GET", "/iso/sctm/secrets"), 401, "read", "token.use"),
        (
            ask("POST", "/iso/oauth2/token").raw(FORM, "grant_type=client_credentials"),
            401,
            "create",
            "token.issue",
        ),
        // Malformed.
        (
            ask("POST", "/iso/oauth2/token").raw(FORM, "grant_type=password"),
            400,
            "create",
            "request",
        ),
        (
            of(ask("POST", "/iso/sctm/secret").json(&json!({}))),
            400,
            "create",
            "request",
        ),
        (
            of(ask("POST", "/iso/sctm/secret").raw("application/json", broken)),
            400,
            "create",
            "request",
        ),
        (
            of(ask("GET", "/iso/sctm/secret/a%20b")),
            400,
            "read",
            "request",
        ),
        (
            of(ask("POST", "/iso/cicd/variables").raw(FORM, "env=!")),
            400,
            "create",
            "request",
        ),
        (
            of(ask("POST", "/iso/sctm/secret").raw("text/plain", "x")),
            415,
            "create",
            "request",
        ),
        (
            by(ask("POST", "/api/v1/secrets").json(&json!({"identity": ""}))),
            422,
            "create",
            "request",
        ),
        (
            by(ask("PATCH", "/api/v1/secrets/1").raw("application/json", broken)),
            400,
            "update",
            "request",
        ),
        (
            by(ask("GET", "/api/v1/secrets?colour=blue")),
            400,
            "read",
            "request",
        ),
        // Not even a route.
        (of(ask("GET", "/iso/none")), 404, "read", "request"),
        (by(ask("DELETE", "/api/v1/none")), 404, "delete", "request"),
        (of(ask("PUT", "/iso/sctm/secret")), 405, "update", "request"),
        (
            of(ask("POST", "/iso/sctm/secret").raw(FORM, vec![b'x'; 300 << 10])),
            413,
            "create",
            "request",
        ),
    ];
    for (ask, status, effect, operation) in cases {
        let shown = format!("{} {}", ask.method, ask.path);
        let bearer = ask.headers.get("authorization").cloned();
        let before = log(&world, &ada, "").await.len();
        let answer = world.answer(ask).await;
        assert_eq!(answer.status, status, "{shown}: {}", answer.json());
        let mut after = log(&world, &ada, "").await;
        assert_eq!(after.len(), before + 1, "{shown}: {after:#?}");
        let entry = after.swap_remove(0);
        assert_eq!(entry["status"], status, "{shown}: {entry}");
        assert_eq!(entry["event"], effect, "{shown}: {entry}");
        assert_eq!(entry["operation"], operation, "{shown}: {entry}");
        assert_eq!(entry["ip"], "192.0.2.10", "{shown}");
        let asked = match bearer
            .as_ref()
            .map(|value| value.to_str().expect("a header"))
        {
            Some(token) if token.ends_with(&ada) => entry["operator"]["name"] == "ada",
            Some(_) => {
                entry["application"]["name"] == "caller"
                    && entry["authorization"]["code"].is_string()
            }
            None => entry["application"].is_null() && entry["operator"].is_null(),
        };
        assert!(asked, "{shown}: {entry}");
        let refused = status >= 400;
        assert_eq!(entry["reason"].is_string(), refused, "{shown}: {entry}");
        assert_eq!(entry["outcome"] == "allowed", !refused, "{shown}: {entry}");
    }
}

#[tokio::test]
async fn a_malformed_request_is_recorded_with_who_sent_it_and_why() {
    let world = World::new().await;
    let (client, ada) = (world.token().await, operator(&world).await);
    let body = json!({"identity": "a b", "name": 7, "renew_cloud_time": 3});
    world
        .answer(ask("POST", "/iso/sctm/secret").bearer(&client).json(&body))
        .await;
    let answer = world
        .answer(
            ask(
                "GET",
                "/api/v1/audit?operation=request&actor=authorization:1",
            )
            .bearer(&ada),
        )
        .await;
    let entry = &answer.json()["items"][0];
    assert_eq!(entry["actor"]["type"], "authorization", "{entry}");
    assert_eq!(
        entry["object"],
        json!({"kind": "route", "id": null, "name": "POST /iso/sctm/secret", "version": null})
    );
    assert_eq!(entry["outcome"]["result"], "failed");
    let reason = entry["outcome"]["reason"].as_str().expect("a reason");
    assert!(
        reason.contains("identity: ") && reason.contains("renew_cloud_time: "),
        "{reason}"
    );
}

#[tokio::test]
async fn no_sensitive_value_is_in_the_log_or_its_exports() {
    let world = World::new().await;
    let (client, ada) = (world.token().await, operator(&world).await);
    let value = "canary-value";
    let credentials = world.credentials(AUTHORIZATION).await;
    let secret = credentials.client_secret.expose();
    let asks = [
        ask("GET", "/iso/sctm/secret/db/main").bearer(&client),
        ask("POST", "/iso/sctm/secret")
            .bearer(&client)
            .json(&json!({"identity": "new", "name": "New", "data": {"K": value}})),
        ask("POST", "/iso/sctm/secret")
            .bearer(&client)
            .json(&json!({"identity": "new", "data": {"credentials": value}})),
        ask("POST", "/iso/sctm/secret")
            .bearer(&client)
            .raw(FORM, format!("{value}=1&identity={value}!")),
        ask("POST", "/iso/sctm/secret")
            .bearer(&client)
            .raw("application/json", format!("{{\"{value}")),
        ask("POST", "/iso/cicd/variables")
            .bearer(&client)
            .raw(FORM, format!("env={value}&map={value}")),
        ask("GET", &format!("/iso/none/{client}?client_secret={secret}")).bearer(&client),
        ask("GET", &format!("/api/v1/none/{ada}")),
        ask("PUT", &format!("/iso/sctm/secrets?x={value}")).bearer(&client),
        ask("POST", "/iso/oauth2/token").raw(
            FORM,
            format!("grant_type={value}&client_id={value}&client_secret={secret}"),
        ),
        ask("POST", "/iso/oauth2/token").raw(
            FORM,
            format!("grant_type=client_credentials&client_id={value}&client_secret={secret}"),
        ),
        ask("POST", "/api/v1/secrets")
            .bearer(&ada)
            .json(&json!({value: value, "identity": 7})),
        ask("GET", &format!("/api/v1/secrets?{value}={value}")).bearer(&ada),
        ask("GET", &format!("/api/v1/secrets/{value}")).bearer(&ada),
        ask("POST", "/api/v1/secrets/1/versions/1/reveal").bearer(&ada),
        ask("POST", "/api/v1/authorizations/1/credentials").bearer(&ada),
        ask("GET", "/api/v1/secrets").bearer(value),
    ];
    let asked = asks.len();
    for ask in asks {
        world.answer(ask).await;
    }
    for path in [
        "/api/v1/api-logs?limit=500",
        "/api/v1/api-logs?format=ndjson",
        "/api/v1/api-logs?format=csv",
        "/api/v1/audit?limit=500",
    ] {
        let answer = world.answer(ask("GET", path).bearer(&ada)).await;
        assert_eq!(answer.status, 200);
        let lines = String::from_utf8_lossy(&answer.body)
            .matches("192.0.2.10")
            .count();
        assert!(lines >= asked, "{path}: {lines} of {asked}");
        assert!(
            !answer.is_sensitive(),
            "{path}: {}",
            String::from_utf8_lossy(&answer.body)
        );
    }
}

#[tokio::test]
async fn the_log_is_searched_by_filters() {
    let world = World::new().await;
    let (client, ada) = (world.token().await, operator(&world).await);
    for path in [
        "/iso/sctm/secret/db/main",
        "/iso/sctm/secret/db/none",
        "/iso/sctm/secret/a%20b",
    ] {
        world.answer(ask("GET", path).bearer(&client)).await;
    }
    world
        .answer(ask("GET", "/api/v1/secrets/1").bearer(&ada))
        .await;
    world
        .answer(ask("GET", "/api/v1/secrets/999").bearer(&ada))
        .await;
    let statuses = async |query: &str| {
        let found = log(&world, &ada, query).await;
        let statuses = found
            .iter()
            .map(|item| item["status"].as_u64().expect("a status"));
        statuses.collect::<Vec<_>>()
    };
    for (query, expected) in [
        (
            "actor=authorization:1&operation=secret.read",
            &[404, 200][..],
        ),
        ("actor=authorization:1&operation=request", &[400]),
        ("actor=operator:name:ada&operation=secret.view", &[404, 200]),
        ("object=secret:name:db/main&actor=authorization:1", &[200]),
        ("object=secret:999", &[404]),
        ("outcome=denied&actor=authorization:1", &[404]),
        ("outcome=failed", &[404, 400]),
        ("outcome=allowed&operation=secret.view", &[200]),
        ("ip=192.0.2.99", &[]),
        ("until=2025-01-01T00:00:00Z", &[]),
        ("from=2027-01-01T00:00:00Z", &[]),
    ] {
        assert_eq!(statuses(query).await, expected, "{query}");
    }
    for query in [
        "format=xml",
        "limit=501",
        "format=csv&limit=10001",
        "outcome=404",
        "actor=me",
    ] {
        let answer = world
            .answer(ask("GET", &format!("/api/v1/api-logs?{query}")).bearer(&ada))
            .await;
        assert_eq!(answer.status, 400, "{query}");
    }
}

#[tokio::test]
async fn exports_are_lines_or_cells_and_lead_on() {
    let world = World::new().await;
    let (client, ada) = (world.token().await, operator(&world).await);
    for _ in 0..7 {
        world
            .answer(ask("GET", "/iso/sctm/secret/db/main").bearer(&client))
            .await;
    }
    let export = async |path: &str, accept: &str| -> Answer {
        let answer = world
            .answer(ask("GET", path).bearer(&ada).header("accept", accept))
            .await;
        assert_eq!(answer.status, 200, "{path}");
        answer
    };
    let mut path = "/api/v1/api-logs?limit=3&operation=secret.read".to_owned();
    let mut seen = Vec::new();
    loop {
        let answer = export(&path, "application/x-ndjson").await;
        assert_eq!(answer.headers["content-type"], "application/x-ndjson");
        let text = String::from_utf8(answer.body.to_vec()).expect("text");
        assert!(text.is_empty() || text.ends_with('\n'));
        for line in text.lines() {
            let entry: Value = serde_json::from_str(line).expect("an object in each line");
            assert_eq!(entry["status"], 200);
            seen.push(entry["id"].as_str().expect("an id").to_owned());
        }
        let Some(link) = answer.headers.get("link") else {
            break;
        };
        let link = link.to_str().expect("a link");
        path = link
            .strip_prefix('<')
            .and_then(|rest| rest.split_once(">; rel=\"next\""))
            .expect("where it goes on")
            .0
            .to_owned();
    }
    assert_eq!(seen.len(), 7);
    seen.dedup();
    assert_eq!(seen.len(), 7, "each once");

    let answer = export("/api/v1/api-logs?operation=secret.read", "text/csv").await;
    assert_eq!(answer.headers["content-type"], "text/csv; charset=utf-8");
    let text = String::from_utf8(answer.body.to_vec()).expect("text");
    let lines: Vec<&str> = text.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 8);
    assert!(lines[0].starts_with("\"id\",\"at\",\"server\",\"event\",\"status\""));
    assert!(lines[1].contains("\"read\",\"200\",\"allowed\"") && lines[1].contains("\"caller\""));
    let columns = lines[0].matches("\",\"").count();
    assert!(
        lines
            .iter()
            .all(|line| line.matches("\",\"").count() == columns)
    );
    // What is asked for in the query wins.
    let answer = export("/api/v1/api-logs?format=json", "text/csv").await;
    assert_eq!(answer.headers["content-type"], "application/json");
}
