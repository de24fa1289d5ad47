use std::collections::BTreeSet;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use http::{Request, StatusCode};
use serde_json::Value;

use super::{PATH, document, with_description};
use crate::api::{iso, v1};
use crate::app::App;
use crate::http::call::Peer;
use crate::http::router::{RequestLimits, Route, Router};
use crate::serve::refuse;

fn routes() -> Vec<Route<App>> {
    let mut routes = iso::routes();
    routes.extend(v1::routes());
    with_description(routes)
}

/// Every operation with its path and method.
fn operations(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().into_iter().flatten();
        methods.map(move |(method, operation)| (format!("{method} {path}"), operation))
    })
}

fn walk(value: &Value, see: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                see(name, value);
                walk(value, see);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, see)),
        _ => {}
    }
}

#[test]
fn every_route_is_described_with_what_it_answers() {
    let routes = routes();
    let document = document(&routes);
    let mut ids = BTreeSet::new();
    for (place, operation) in operations(&document) {
        let text = |name: &str| operation[name].as_str().unwrap_or_default();
        assert!(!text("summary").is_empty(), "{place} has no summary");
        assert!(
            ids.insert(text("operationId")),
            "{place} has a name of another"
        );
        let answers = operation["responses"].as_object().expect("answers");
        let good = answers.keys().any(|status| status.starts_with('2'));
        assert!(good, "{place} has no answer for those that are right");
        assert!(!answers.contains_key("default"), "{place} answers anything");
    }
    assert_eq!(ids.len(), routes.len(), "two routes in one place");
}

#[test]
fn what_is_referred_to_is_there_under_a_name_of_its_own() {
    let document = document(&routes());
    walk(&document, &mut |name, value| {
        if name == "$ref" {
            let place = value.as_str().and_then(|place| place.strip_prefix('#'));
            let place = place.expect("a place in the document");
            assert!(document.pointer(place).is_some(), "{place} is not there");
        }
    });
    let schemas = document["components"]["schemas"].as_object();
    for name in schemas.expect("schemas").keys() {
        let plain = name.bytes().all(|byte| byte.is_ascii_alphabetic());
        assert!(
            plain,
            "{name}: two types with one name, or a name that is none"
        );
    }
}

/// Descriptions of types come from the source, whose links lead nowhere outside.
#[test]
fn descriptions_read_without_the_source() {
    let document = document(&routes());
    walk(&document, &mut |name, value| {
        if let ("description" | "summary" | "title", Value::String(text)) = (name, value) {
            for mark in ["crate::", "super::", "[`"] {
                assert!(!text.contains(mark), "{text}");
            }
        }
    });
}

#[tokio::test]
async fn the_description_is_given_once_to_those_who_keep_it() {
    // No route but its own: they need a vault.
    let routes = with_description(Vec::<Route<()>>::new());
    let router = Router::new(
        std::sync::Arc::new(()),
        routes,
        refuse,
        RequestLimits::default(),
    );
    let router = router.expect("a table");
    let ask = async |tag: Option<&str>| {
        let mut request = Request::builder().uri(PATH);
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let request = request.body(Bytes::new()).expect("a request");
        router
            .call(request, Peer::new(([127, 0, 0, 1], 1).into()))
            .await
    };
    let first = ask(None).await;
    assert_eq!(first.status, StatusCode::OK);
    assert_eq!(first.headers[CACHE_CONTROL], "no-cache");
    let tag = first.headers[ETAG].to_str().expect("a tag").to_owned();
    let body = first.body_bytes().expect("all of it");
    let body: Value = serde_json::from_slice(body).expect("JSON");
    assert_eq!(body["openapi"], "3.1.0");
    assert!(body["paths"][PATH]["get"].is_object());
    let weak = format!("W/{tag}");
    for same in [
        tag.clone(),
        weak,
        format!("\"other\", {tag}"),
        "*".to_owned(),
    ] {
        let again = ask(Some(&same)).await;
        assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{same}");
        assert_eq!(again.headers[ETAG], tag);
        assert!(again.body_bytes().is_some_and(Bytes::is_empty));
    }
    assert_eq!(ask(Some("\"other\"")).await.status, StatusCode::OK);
}
