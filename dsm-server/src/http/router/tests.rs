use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, HeaderMap};
use http::{Method, Request, StatusCode};
use tokio::sync::Notify;

use super::{Refusal, RequestLimits, Route, Router, TableError};
use crate::http::call::{Call, Peer, Reply, Surface};
use crate::http::operation::{Credentials, Operation};

fn undescribed() -> Operation {
    Operation::new("a route of this test", Credentials::None)
}

/// Lets a test see that a handler went on after its client was answered.
#[derive(Default)]
struct State {
    go_on: Notify,
    done: Notify,
}

fn refuse(surface: Surface, refusal: Refusal) -> Reply {
    Reply::json(refusal.status(), &format!("{surface:?} {refusal:?}"))
}

async fn echo(_: Arc<State>, call: Call) -> Reply {
    let params: Vec<&str> = ["id", "n", "identity"]
        .into_iter()
        .filter_map(|name| call.raw_param(name))
        .collect();
    let text = [call.route, &params.join("|"), &call.query].join(";");
    Reply::bytes(
        StatusCode::OK,
        "text/plain",
        [text.as_bytes(), &call.body].concat(),
    )
}

async fn slow(state: Arc<State>, _: Call) -> Reply {
    state.go_on.notified().await;
    state.done.notify_one();
    Reply::empty(StatusCode::OK)
}

fn table() -> Vec<Route<State>> {
    let route = |method, pattern, surface, name| {
        Route::new(method, pattern, surface, name, undescribed(), echo)
    };
    vec![
        route(Method::POST, "/iso/oauth2/token", Surface::Iso, "token"),
        route(Method::GET, "/iso/sctm/secret", Surface::Iso, "list"),
        route(Method::POST, "/iso/sctm/secret", Surface::Iso, "write"),
        route(
            Method::GET,
            "/iso/sctm/secret/{identity…}",
            Surface::Iso,
            "read",
        ),
        route(Method::GET, "/api/v1/secrets/{id}", Surface::V1, "get"),
        route(
            Method::GET,
            "/api/v1/secrets/compare",
            Surface::V1,
            "literal",
        ),
        route(
            Method::POST,
            "/api/v1/secrets/{id}/versions/{n}/reveal",
            Surface::V1,
            "reveal",
        ),
        route(Method::GET, "/livez", Surface::Health, "livez"),
        Route::new(
            Method::GET,
            "/slow",
            Surface::Health,
            "slow",
            undescribed(),
            slow,
        ),
        Route::new(
            Method::POST,
            "/slow",
            Surface::Health,
            "slow",
            undescribed(),
            slow,
        ),
        Route::new(
            Method::GET,
            "/slow/change",
            Surface::Health,
            "slow",
            undescribed(),
            slow,
        )
        .whole(),
        Route::new(
            Method::GET,
            "/api/v1/panic",
            Surface::V1,
            "panic",
            undescribed(),
            |_: Arc<State>, call: Call| async move {
                assert!(!call.query.is_empty(), "wanted");
                Reply::empty(StatusCode::OK)
            },
        ),
    ]
}

fn router() -> Router<State> {
    let limits = RequestLimits {
        body: 16,
        time: Duration::from_secs(30),
    };
    Router::new(Arc::default(), table(), refuse, limits).expect("the table is consistent")
}

fn peer() -> Peer {
    Peer::new("192.0.2.1:4000".parse().expect("an address"))
}

async fn ask(router: &Router<State>, method: Method, target: &str) -> (StatusCode, String) {
    let request = Request::builder()
        .method(method)
        .uri(target)
        .body(Bytes::new())
        .expect("a request");
    let reply = router.call(request, peer()).await;
    let body = reply.body_bytes().expect("no stream").to_vec();
    (reply.status, String::from_utf8(body).expect("text"))
}

#[tokio::test]
async fn a_path_finds_its_route_and_keeps_the_case_of_its_parameters() {
    let router = router();
    for (method, target, expected) in [
        (Method::POST, "/API/OAuth2/Token/?a=b", "token;;a=b"),
        (Method::GET, "/iso/sctm/Secret", "list;;"),
        (Method::GET, "/iso/sctm/secret/", "list;;"),
        (Method::GET, "/ISO/sctm/secret/Team/DB-1", "read;Team/DB-1;"),
        (
            Method::GET,
            "/iso/sctm/secret/Team%2Fdb/",
            "read;Team%2Fdb;",
        ),
        (Method::GET, "/iso/sctm/secret//x", "read;/x;"),
        (Method::GET, "/iso/sctm/secret/a/../b", "read;a/../b;"),
        (Method::GET, "/api/v1/secrets/7", "get;7;"),
        (Method::GET, "/api/v1/secrets/compare", "literal;;"),
        (
            Method::POST,
            "/Api/V1/secrets/7/versions/Aa/reveal",
            "reveal;7|Aa;",
        ),
    ] {
        let (status, body) = ask(&router, method, target).await;
        assert_eq!(
            (status, body.as_str()),
            (StatusCode::OK, expected),
            "{target}"
        );
    }
}

#[tokio::test]
async fn what_no_route_answers_has_the_shape_of_its_surface() {
    let router = router();
    for (target, expected) in [
        ("/iso/nothing", "\"Iso NotFound\""),
        ("/iso/%73ctm/secret", "\"Iso NotFound\""),
        ("//iso/sctm/secret", "\"Iso NotFound\""),
        ("/iso/../livez", "\"Iso NotFound\""),
        ("/api/v1/secrets//versions/1/reveal", "\"V1 NotFound\""),
        ("/api/v1", "\"V1 NotFound\""),
        ("/", "\"Iso NotFound\""),
    ] {
        let (status, body) = ask(&router, Method::GET, target).await;
        assert_eq!(
            (status, body.as_str()),
            (StatusCode::NOT_FOUND, expected),
            "{target}"
        );
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let router = router();
    for method in [Method::HEAD, Method::OPTIONS, Method::DELETE] {
        let request = Request::builder()
            .method(method)
            .uri("/api/sctm/secret")
            .body(Bytes::new())
            .expect("a request");
        let reply = router.call(request, peer()).await;
        assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(reply.headers[ALLOW], "GET, POST");
    }
}

#[tokio::test]
async fn bodies_are_limited_whatever_length_they_declare() {
    let router = router();
    let send = |declared: Option<&'static str>, body: &'static [u8]| {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri("/iso/oauth2/token");
        if let Some(declared) = declared {
            request = request.header(CONTENT_LENGTH, declared);
        }
        let request = request.body(Bytes::from_static(body)).expect("a request");
        router.call(request, peer())
    };
    assert_eq!(send(None, &[b'x'; 16]).await.status, StatusCode::OK);
    for (declared, body) in [
        (None, [b'x'; 17].as_slice()),
        (Some("2"), &[b'x'; 17]),
        (Some("17"), b""),
        (Some("18446744073709551615"), b""),
    ] {
        let status = send(declared, body).await.status;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{declared:?}");
    }
    assert_eq!(send(Some("-1"), b"").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn chunks_are_joined_in_order() {
    let chunks = [b"ab".as_slice(), b"", b"cd", b"e"].map(Ok::<_, ()>);
    let headers = HeaderMap::new();
    let body = super::read_body(&headers, futures_util::stream::iter(chunks), 5).await;
    assert_eq!(body.expect("within the limit"), "abcde");
    let broken = futures_util::stream::iter([Ok(b"ab".as_slice()), Err(())]);
    let body = super::read_body(&headers, broken, 5).await;
    assert_eq!(body, Err(Refusal::BodyBroken));
}

#[tokio::test]
async fn a_panic_is_an_answer() {
    let router = router();
    let (status, body) = ask(&router, Method::GET, "/api/v1/panic").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(body, "\"V1 Failed\"");
    let (status, _) = ask(&router, Method::GET, "/api/v1/panic?no").await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_given_up() {
    let router = router();
    let uri = "/iso/oauth2/token".parse().expect("a path");
    let head = super::Head::new(Method::POST, uri, HeaderMap::new(), peer());
    let head = Arc::new(head);
    let never = futures_util::stream::once(pending::<Result<Bytes, ()>>());
    let reply = router.answer(head, Some(never)).await;
    assert_eq!(reply.status, StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_slow_read_is_dropped_and_a_slow_change_goes_on() {
    for (change, path) in [(Method::POST, "/slow"), (Method::GET, "/slow/change")] {
        let router = router();
        for (method, path) in [(Method::GET, "/slow"), (change, path)] {
            let (status, _) = ask(&router, method, path).await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        }
        router.state.go_on.notify_one();
        router.state.done.notified().await;
        assert_eq!(Arc::strong_count(&router.state), 1);
    }
}

#[test]
fn a_table_that_contradicts_itself_is_refused() {
    let build = |routes: &[(Method, &'static str)]| {
        let routes = routes
            .iter()
            .map(|(method, pattern)| {
                let (method, surface) = (method.clone(), Surface::V1);
                Route::new(method, pattern, surface, "x", undescribed(), echo)
            })
            .collect();
        Router::new(Arc::default(), routes, refuse, RequestLimits::default()).map(|_| ())
    };
    assert_eq!(
        build(&[(Method::GET, "/a"), (Method::GET, "/a")]),
        Err(TableError::Duplicate {
            method: Method::GET,
            pattern: "/a"
        })
    );
    for pattern in ["a", "/a{b}", "/{b", "/a/{x…}/b", ""] {
        assert_eq!(
            build(&[(Method::GET, pattern)]),
            Err(TableError::Pattern(pattern))
        );
    }
    assert!(build(&[(Method::GET, "/{a}/b"), (Method::GET, "/{b}/b")]).is_err());
    assert_eq!(
        build(&[(Method::GET, "/{a}/b"), (Method::GET, "/c/{d}")]),
        Ok(())
    );
}
