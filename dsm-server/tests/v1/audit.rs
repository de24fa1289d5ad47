use dsm_core::access::{Permission, Permissions};
use serde_json::{Value, json};

use crate::support::Server;

async fn found(server: &Server, query: &str) -> Vec<Value> {
    let answer = server.get(&format!("/audit?limit=500&{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    answer.body["items"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn an_entry_says_who_did_what_to_what() {
    let server = Server::start().await;
    server.furnish().await;
    let patch = json!({"description": "new", "data": {"key_value": {"fields": {"A": "hunter9"}}}});
    server.patch("/secrets/1", patch).await;
    let entries = found(&server, "operation=secret.update").await;
    let mut entry = entries[0].clone();
    let members = entry.as_object_mut().expect("an object");
    for text in ["id", "server"] {
        assert!(members.remove(text).is_some_and(|text| text.is_string()));
    }
    assert!(
        members
            .remove("sequence")
            .is_some_and(|number| number.is_u64())
    );
    let expected = json!({
        "at": "2026-01-01T00:00:00Z", "actor": {"type": "operator", "id": "1", "name": "ada"},
        "ip": "127.0.0.1", "operation": "secret.update",
        "object": {"kind": "secret", "id": "1", "name": "db/main", "version": 2},
        "outcome": {"result": "allowed"},
        "answered": null,
        "changes": [
            {"field": "description", "to": "new"},
            {"field": "data.key_value"},
        ],
    });
    assert_eq!(entry, expected);
    let all = found(&server, "").await;
    assert!(!Value::from(all).to_string().contains("hunter"));
}

#[tokio::test]
async fn filters_choose() {
    let server = Server::start().await;
    server.furnish().await;
    let token = server.operator(Permissions::none()).await;
    server
        .ask("GET", "/secrets/1")
        .by(&token)
        .answer()
        .await
        .problem(403);
    server
        .ask("GET", "/me")
        .without("authorization")
        .answer()
        .await
        .problem(401);
    let operations = |entries: &[Value]| -> Vec<String> {
        let names = entries
            .iter()
            .filter_map(|entry| entry["operation"].as_str());
        names.map(str::to_owned).collect()
    };
    let denied = found(&server, "outcome=denied").await;
    assert_eq!(operations(&denied), ["operator.token.use", "secret.view"]);
    assert_eq!(denied[1]["outcome"]["rule"], "permission");
    for (query, expected) in [
        ("actor=unknown", vec!["operator.token.use"]),
        ("actor=operator:2", vec!["secret.view"]),
        (
            "actor=operator:name:ada&outcome=denied",
            vec!["secret.view"],
        ),
        ("actor=operator:name:nobody", vec![]),
        ("actor=vault", vec!["vault.initialise"]),
        ("actor=application:1", vec![]),
        ("actor=authorization:1", vec![]),
        ("actor=client:1", vec![]),
        ("actor=claimed:x", vec![]),
        ("object=secret:name:other", vec!["secret.create"]),
        ("object=secret:2", vec!["secret.create"]),
        (
            "object=application&operation=application.create",
            vec!["application.create"; 2],
        ),
        (
            "object=authorization:1",
            vec!["authorization.attach", "authorization.create"],
        ),
        (
            "ip=%3A%3Affff%3A127.0.0.1&outcome=denied",
            vec!["operator.token.use", "secret.view"],
        ),
        ("ip=192.0.2.1", vec![]),
        ("from=2026-01-01T00:00:01Z", vec![]),
        ("until=2025-12-31T23:59:59Z", vec![]),
    ] {
        let entries = found(&server, query).await;
        assert_eq!(operations(&entries), expected, "{query}");
    }
}

#[tokio::test]
async fn pages_follow_each_other() {
    let server = Server::start().await;
    server.furnish().await;
    let ids = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().expect("a list").iter();
        items
            .filter_map(|item| item["id"].as_str().map(str::to_owned))
            .collect()
    };
    let all = server.get("/audit?limit=500&object=secret").await.body;
    let mut paged = Vec::new();
    let mut path = "/audit?limit=2&object=secret".to_owned();
    loop {
        let page = server.get(&path).await.body;
        paged.extend(ids(&page));
        match page["next"].as_str() {
            Some(next) => path = format!("/audit?limit=2&object=secret&after={next}"),
            None => break,
        }
    }
    assert!(paged.len() >= 3, "{paged:?}");
    assert_eq!(paged, ids(&all));
}

#[tokio::test]
async fn wrong_filters_are_named_together() {
    let server = Server::start().await;
    let query = "limit=0&after=1&from=x&until=y&actor=who&operation=do&object=thing&outcome=fine\
                 &ip=300.1.1.1&color=red";
    let answer = server.get(&format!("/audit?{query}")).await;
    answer.problem(400);
    let mut wrong = answer.wrong();
    wrong.sort_unstable();
    let expected = [
        "actor",
        "after",
        "color",
        "from",
        "ip",
        "limit",
        "object",
        "operation",
        "outcome",
        "until",
    ];
    assert_eq!(wrong, expected);
    for query in [
        "actor=operator:x",
        "actor=client:01",
        "object=secret:x",
        "after=01-2",
    ] {
        server.get(&format!("/audit?{query}")).await.problem(400);
    }
    let token = server.operator_without(&[Permission::AuditView]).await;
    server
        .ask("GET", "/audit")
        .by(&token)
        .answer()
        .await
        .problem(403);
}
