use serde_json::{Value, json};

use crate::support::Server;

/// Every list, with the parameters it takes beside those of a page.
const LISTS: [&str; 14] = [
    "/environments",
    "/systems",
    "/engines",
    "/application-types",
    "/lines-of-business",
    "/applications",
    "/applications/1/authorizations",
    "/authorizations",
    "/secrets",
    "/secrets/1/versions",
    "/secrets/1/errors",
    "/operators",
    "/variables",
    "/deploys",
];

#[tokio::test]
async fn pages_follow_each_other_newest_first() {
    let server = Server::start().await;
    for index in 1..=5 {
        let body = json!({"identity": format!("s/{index}"), "name": "S"});
        server.make("/secrets", body).await;
    }
    let mut seen = Vec::new();
    let mut path = "/secrets?limit=2".to_owned();
    let mut pages = 0;
    loop {
        let page = server.get(&path).await;
        assert_eq!(page.status, 200, "{page:?}");
        pages += 1;
        let items = page.body["items"].as_array().expect("a list");
        assert!(items.len() <= 2);
        seen.extend(
            items
                .iter()
                .map(|item| item["id"].as_str().expect("an id").to_owned()),
        );
        match &page.body["next"] {
            Value::String(next) => path = format!("/secrets?after={next}&limit=2"),
            Value::Null => break,
            other => panic!("{other}"),
        }
        // What is made meanwhile is newer than the first page.
        let body = json!({"identity": format!("late/{pages}"), "name": "Late"});
        server.make("/secrets", body).await;
    }
    assert_eq!(seen, ["5", "4", "3", "2", "1"]);
    assert_eq!(pages, 3);
}

#[tokio::test]
async fn a_page_has_fifty_items_unless_said() {
    let server = Server::start().await;
    for index in 1..=51 {
        server
            .make("/systems", json!({"name": format!("s{index}")}))
            .await;
    }
    let page = server.get("/systems").await;
    assert_eq!(page.body["items"].as_array().map(Vec::len), Some(50));
    assert!(page.body["next"].is_string());
    let page = server.get("/systems?limit=500").await;
    assert_eq!(page.body["items"].as_array().map(Vec::len), Some(51));
    assert_eq!(page.body["next"], Value::Null);
}

#[tokio::test]
async fn wrong_and_unknown_parameters_are_named_together() {
    let server = Server::start().await;
    server.furnish().await;
    for list in LISTS {
        let listed = server.get(list).await;
        assert_eq!(listed.status, 200, "{list}: {listed:?}");
        let members: Vec<&String> = listed.body.as_object().expect(list).keys().collect();
        assert_eq!(members, ["items", "next"], "{list}");
        let answer = server
            .get(&format!(
                "{list}?limit=0&after=x&color=red&limit=1&%63olor=2"
            ))
            .await;
        answer.problem(400);
        let mut wrong = answer.wrong();
        wrong.sort_unstable();
        assert_eq!(wrong, ["after", "color", "limit"], "{list}");
        for limit in [
            "0",
            "501",
            "-1",
            "+5",
            "05",
            "1.0",
            "",
            "99999999999999999999",
        ] {
            let answer = server.get(&format!("{list}?limit={limit}")).await;
            answer.problem(400);
            assert_eq!(answer.wrong(), ["limit"], "{list} {limit}");
        }
    }
}

#[tokio::test]
async fn wrong_filters_are_named() {
    let server = Server::start().await;
    for (path, wrong) in [
        (
            "/secrets?enabled=maybe&has_error=1&expires_from=now",
            vec!["enabled", "has_error", "expires_from"],
        ),
        ("/secrets?engine=Nothing", vec!["engine"]),
        ("/secrets?environment=mars", vec!["environment"]),
        (
            "/applications?authentication_method=basic",
            vec!["authentication_method"],
        ),
        (
            "/applications?line_of_business=none",
            vec!["line_of_business"],
        ),
        (
            "/authorizations?application=x&created_from=y",
            vec!["application", "created_from"],
        ),
        ("/authorizations?system=none", vec!["system"]),
        ("/secrets?name=%ff", vec!["query"]),
    ] {
        let answer = server.get(path).await;
        answer.problem(400);
        assert_eq!(answer.wrong(), wrong, "{path}");
    }
}

#[tokio::test]
async fn routes_without_parameters_refuse_them() {
    let server = Server::start().await;
    server.furnish().await;
    for (method, path) in [
        ("GET", "/me?x=1"),
        ("GET", "/secrets/1?purge=true"),
        ("POST", "/secrets?x=1"),
        ("PATCH", "/secrets/1?x=1"),
        ("POST", "/secrets/1/enable?x=1"),
        ("DELETE", "/secrets/1?x=1"),
        ("DELETE", "/applications/2?x=1"),
    ] {
        let answer = server.ask(method, path).answer().await;
        answer.problem(400);
        assert_eq!(answer.wrong().len(), 1, "{method} {path}");
    }
    let answer = server.delete("/secrets/1?purge=yes").await;
    answer.problem(400);
    assert_eq!(answer.wrong(), ["purge"]);
    assert_eq!(server.get("/secrets/1").await.body["status"], "active");
}
