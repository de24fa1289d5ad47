//! The transport over real sockets: what a client sees, byte by byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dsm_server::http::accept::{ConnectionLimits, Running, start};
use dsm_server::http::call::{Call, Reply, Surface};
use dsm_server::http::operation::{Credentials, Operation};
use dsm_server::http::router::{Refusal, RequestLimits, Route, Router};
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;

/// Longer than anything here takes; a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// A time-out that a test waits for.
const SHORT: Duration = Duration::from_millis(150);

#[derive(Default)]
struct State {
    entered: Notify,
    go_on: Notify,
    stream_on: Notify,
}

fn refuse(surface: Surface, refusal: Refusal) -> Reply {
    Reply::json(refusal.status(), &format!("{surface:?} {refusal:?}"))
}

async fn echo(_: Arc<State>, call: Call) -> Reply {
    let tail = call.raw_param("identity").unwrap_or("-").to_owned();
    let head = format!("{}:{}:{}:", call.route, tail, call.query);
    let body = [head.as_bytes(), &call.body].concat();
    Reply::bytes(StatusCode::OK, "text/plain", body)
}

async fn wait(state: Arc<State>, _: Call) -> Reply {
    state.entered.notify_one();
    state.go_on.notified().await;
    Reply::bytes(StatusCode::OK, "text/plain", "waited")
}

async fn large(_: Arc<State>, _: Call) -> Reply {
    Reply::bytes(StatusCode::OK, "text/plain", vec![b'x'; 32 * 1024 * 1024])
}

async fn trickle(state: Arc<State>, _: Call) -> Reply {
    state.entered.notify_one();
    let chunks = futures_util::stream::unfold((state, 0), |(state, n)| async move {
        if n == 2 {
            return None;
        }
        if n == 1 {
            state.stream_on.notified().await;
        }
        Some((Ok(Bytes::from_static(b"part")), (state, n + 1)))
    });
    Reply::stream(StatusCode::OK, "text/plain", chunks)
}

async fn peer(_: Arc<State>, call: Call) -> Reply {
    Reply::bytes(
        StatusCode::OK,
        "text/plain",
        call.head.peer.addr().to_string(),
    )
}

async fn panic(_: Arc<State>, call: Call) -> Reply {
    assert!(call.query.is_empty(), "as the test wants it");
    Reply::empty(StatusCode::NO_CONTENT)
}

fn route<H, F>(
    method: Method,
    pattern: &'static str,
    surface: Surface,
    name: &'static str,
    handler: H,
) -> Route<State>
where
    H: Fn(Arc<State>, Call) -> F + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let operation = Operation::new("a route of this test", Credentials::None);
    Route::new(method, pattern, surface, name, operation, handler)
}

struct Server {
    running: Running,
    addr: SocketAddr,
    state: Arc<State>,
}

async fn server(connections: ConnectionLimits, requests: RequestLimits) -> Server {
    let state = Arc::new(State::default());
    let routes = vec![
        route(
            Method::POST,
            "/iso/oauth2/token",
            Surface::Iso,
            "token",
            echo,
        ),
        route(
            Method::GET,
            "/iso/dapp/application",
            Surface::Iso,
            "app",
            echo,
        ),
        route(
            Method::GET,
            "/iso/sctm/secret/{identity…}",
            Surface::Iso,
            "read",
            echo,
        ),
        route(Method::POST, "/api/v1/secrets", Surface::V1, "create", echo),
        route(Method::GET, "/wait", Surface::Health, "wait", wait),
        route(Method::GET, "/large", Surface::Health, "large", large),
        route(Method::GET, "/trickle", Surface::Health, "trickle", trickle),
        route(Method::GET, "/peer", Surface::Health, "peer", peer),
        route(Method::GET, "/panic", Surface::Iso, "panic", panic),
        route(Method::POST, "/panic", Surface::V1, "panic", panic),
    ];
    let router = Router::new(Arc::clone(&state), routes, refuse, requests).expect("a table");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let running = start(listener, connections, None, Arc::new(router).filter()).expect("a server");
    Server {
        addr: running.local_addr(),
        running,
        state,
    }
}

async fn default_server() -> Server {
    server(ConnectionLimits::default(), RequestLimits::default()).await
}

async fn connect(addr: SocketAddr) -> TcpStream {
    TcpStream::connect(addr).await.expect("a connection")
}

/// What the server sends until it closes; a reset counts as closing.
async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let read = async {
        let mut buf = vec![0; 64 * 1024];
        while let Ok(n @ 1..) = stream.read(&mut buf).await {
            text.extend_from_slice(&buf[..n]);
        }
    };
    timeout(PATIENCE, read).await.expect("the server closes");
    String::from_utf8(text).expect("text")
}

/// One response with a content length, from a connection that stays open.
async fn read_one(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let read = async {
        loop {
            let byte = stream.read_u8().await.expect("a byte of the response");
            text.push(byte);
            if !text.ends_with(b"\r\n\r\n") {
                continue;
            }
            let head = String::from_utf8_lossy(&text).to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).unwrap_or("0");
            let length = length.split("\r\n").next().expect("a line");
            let mut body = vec![0; length.parse().expect("a length")];
            stream.read_exact(&mut body).await.expect("the body");
            text.extend_from_slice(&body);
            break;
        }
    };
    timeout(PATIENCE, read).await.expect("a response");
    String::from_utf8(text).expect("text")
}

async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.expect("sent");
}

/// Sends one request and returns all of the response.
async fn ask(addr: SocketAddr, request: &str) -> String {
    let mut stream = connect(addr).await;
    send(&mut stream, request).await;
    read_to_end(&mut stream).await
}

async fn get(addr: SocketAddr, target: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    ask(addr, &request).await
}

fn status(response: &str) -> &str {
    response.get(9..12).unwrap_or("none")
}

fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

async fn until_free(running: &Running) {
    let free = async {
        while running.places().taken() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, free).await.expect("the connection ends");
}

#[tokio::test]
async fn every_response_forbids_caching_and_names_no_server() {
    let server = default_server().await;
    for target in ["/iso/dapp/application", "/nothing", "/panic?yes"] {
        let response = get(server.addr, target).await.to_ascii_lowercase();
        assert!(
            response.contains("\r\ncache-control: no-store\r\n"),
            "{response}"
        );
        assert!(
            response.contains("\r\nx-content-type-options: nosniff\r\n"),
            "{response}"
        );
        assert!(!response.contains("\r\nserver:"), "{response}");
    }
}

#[tokio::test]
async fn paths_of_the_field_reach_their_routes() {
    let server = default_server().await;
    for (target, expected) in [
        ("/iso/dapp/Application", "app:-::"),
        ("/api/dapp/application/?a=%20", "app:-:a=%20:"),
        ("/senhasegura/ISO/dapp/application", "app:-::"),
        (
            "/iso/sctm/SECRET/Team/Db%2F1%252F/",
            "read:Team/Db%2F1%252F::",
        ),
        ("http://elsewhere/iso/dapp/application", "app:-::"),
    ] {
        let response = get(server.addr, target).await;
        assert_eq!(
            (status(&response), body(&response)),
            ("200", expected),
            "{target}"
        );
    }
}

#[tokio::test]
async fn refusals_have_the_shape_of_their_surface() {
    let server = default_server().await;
    let unknown = get(server.addr, "/iso/nothing").await;
    assert_eq!(
        (status(&unknown), body(&unknown)),
        ("404", "\"Iso NotFound\"")
    );
    let unknown = get(server.addr, "/api/v1/nothing").await;
    assert_eq!(
        (status(&unknown), body(&unknown)),
        ("404", "\"V1 NotFound\"")
    );
    let wrong = get(server.addr, "/api/v1/secrets").await;
    assert_eq!(
        (status(&wrong), body(&wrong)),
        ("405", "\"V1 MethodNotAllowed\"")
    );
    assert!(
        wrong.to_ascii_lowercase().contains("\r\nallow: post\r\n"),
        "{wrong}"
    );
    let head = "HEAD /iso/dapp/application HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&ask(server.addr, head).await), "405");
    let star = "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&ask(server.addr, star).await), "404");
    let tunnel = "CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&ask(server.addr, tunnel).await), "404");
}

#[tokio::test]
async fn a_panic_is_answered_and_the_connection_lives_on() {
    let server = default_server().await;
    let mut stream = connect(server.addr).await;
    send(&mut stream, "GET /panic?yes HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let response = read_one(&mut stream).await;
    assert_eq!(
        (status(&response), body(&response)),
        ("500", "\"Iso Failed\"")
    );
    send(
        &mut stream,
        "POST /panic?yes HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let response = read_one(&mut stream).await;
    assert_eq!(
        (status(&response), body(&response)),
        ("500", "\"V1 Failed\"")
    );
    send(&mut stream, "GET /panic HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(status(&read_one(&mut stream).await), "204");
}

#[tokio::test]
async fn the_peer_is_the_socket() {
    let server = default_server().await;
    let mut stream = connect(server.addr).await;
    send(
        &mut stream,
        "GET /peer HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n",
    )
    .await;
    let own = stream.local_addr().expect("an address").to_string();
    assert_eq!(body(&read_one(&mut stream).await), own);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = default_server().await;
    let mut stream = connect(server.addr).await;
    let request = |n: u32| format!("GET /iso/sctm/secret/{n} HTTP/1.1\r\nHost: x\r\n\r\n");
    let requests: String = (0..20).map(request).collect();
    send(&mut stream, &requests).await;
    for n in 0..20 {
        let response = read_one(&mut stream).await;
        assert_eq!(body(&response), format!("read:{n}::"));
    }
}

#[tokio::test]
async fn headers_that_do_not_end_are_given_up() {
    let limits = ConnectionLimits {
        head: SHORT,
        ..ConnectionLimits::default()
    };
    let server = server(limits, RequestLimits::default()).await;
    for start in ["", "GET", "GET / HTTP/1.1\r\nHost: x\r\nA: b"] {
        assert_eq!(ask(server.addr, start).await, "", "{start:?}");
    }
    let mut stream = connect(server.addr).await;
    send(&mut stream, "GET /peer HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(status(&read_one(&mut stream).await), "200");
    send(&mut stream, "GET /peer HTT").await;
    assert_eq!(read_to_end(&mut stream).await, "");
}

#[tokio::test]
async fn trickled_headers_gain_no_time() {
    let limits = ConnectionLimits {
        head: SHORT,
        ..ConnectionLimits::default()
    };
    let server = server(limits, RequestLimits::default()).await;
    let mut stream = connect(server.addr).await;
    send(&mut stream, "GET / HTTP/1.1\r\nHost: ").await;
    let trickle = async {
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    timeout(PATIENCE, trickle).await.expect("the server closes");
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_one_in_use_is_not() {
    let limits = ConnectionLimits {
        idle: SHORT,
        ..ConnectionLimits::default()
    };
    let server = server(limits, RequestLimits::default()).await;
    let mut stream = connect(server.addr).await;
    send(&mut stream, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    server.state.entered.notified().await;
    tokio::time::sleep(SHORT * 2).await;
    server.state.go_on.notify_one();
    assert_eq!(body(&read_one(&mut stream).await), "waited");
    assert_eq!(read_to_end(&mut stream).await, "");
}

#[tokio::test]
async fn a_streamed_reply_outlives_the_idle_time() {
    let limits = ConnectionLimits {
        idle: SHORT,
        ..ConnectionLimits::default()
    };
    let server = server(limits, RequestLimits::default()).await;
    let mut stream = connect(server.addr).await;
    send(&mut stream, "GET /trickle HTTP/1.1\r\nHost: x\r\n\r\n").await;
    server.state.entered.notified().await;
    tokio::time::sleep(SHORT * 2).await;
    server.state.stream_on.notify_one();
    let response = read_to_end(&mut stream).await;
    assert_eq!(body(&response), "4\r\npart\r\n4\r\npart\r\n0\r\n\r\n");
}

#[tokio::test]
async fn a_reply_nobody_reads_is_given_up() {
    let limits = ConnectionLimits {
        write: SHORT,
        ..ConnectionLimits::default()
    };
    let server = server(limits, RequestLimits::default()).await;
    let mut stream = connect(server.addr).await;
    send(&mut stream, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await;
    stream.readable().await.expect("the reply begins");
    until_free(&server.running).await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up() {
    let limits = RequestLimits {
        time: SHORT,
        ..RequestLimits::default()
    };
    let server = server(ConnectionLimits::default(), limits).await;
    let request = "POST /api/v1/secrets HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{";
    let response = ask(server.addr, request).await;
    assert_eq!(
        (status(&response), body(&response)),
        ("408", "\"V1 BodyTimedOut\"")
    );
    let response = get(server.addr, "/wait").await;
    assert_eq!(
        (status(&response), body(&response)),
        ("503", "\"Health TimedOut\"")
    );
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_without_reading_it() {
    let server = default_server().await;
    let head = "POST /iso/oauth2/token HTTP/1.1\r\nHost: x\r\n";
    let declared = format!("{head}Expect: 100-continue\r\nContent-Length: 262145\r\n\r\n");
    let response = ask(server.addr, &declared).await;
    assert_eq!(
        (status(&response), body(&response)),
        ("413", "\"Iso BodyTooLarge\"")
    );

    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    let endless = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n{}",
        chunk.repeat(20)
    );
    let response = ask(server.addr, &endless).await;
    assert_eq!(
        (status(&response), body(&response)),
        ("413", "\"Iso BodyTooLarge\"")
    );

    let exact = format!(
        "{head}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n{}0\r\n\r\n",
        chunk.repeat(8)
    );
    let response = ask(server.addr, &exact).await;
    assert_eq!(
        (status(&response), body(&response).len()),
        ("200", "token:-::".len() + 262_144)
    );
}

#[tokio::test]
async fn contradicting_lengths_reach_no_route() {
    let server = default_server().await;
    let head = "POST /iso/oauth2/token HTTP/1.1\r\nHost: x\r\n";
    for rest in [
        "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "Content-Length: -1\r\n\r\n",
        "Content-Length: +1\r\n\r\na",
        "Transfer-Encoding: gzip\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let response = ask(server.addr, &[head, rest].concat()).await;
        assert_eq!(status(&response), "400", "{rest:?}: {response}");
    }
    let short = "Content-Length: 2\r\nConnection: close\r\n\r\nabGET /peer HTTP/1.1\r\n\r\n";
    let response = ask(server.addr, &[head, short].concat()).await;
    assert_eq!(body(&response), "token:-::ab");
}

#[tokio::test]
async fn headers_over_the_limit_are_refused() {
    let server = default_server().await;
    let long = "x".repeat(64 * 1024);
    let request = format!("GET /peer HTTP/1.1\r\nHost: x\r\nA: {long}\r\n\r\n");
    assert_eq!(status(&ask(server.addr, &request).await), "431");
    let many = "A: b\r\n".repeat(200);
    let request = format!("GET /peer HTTP/1.1\r\nHost: x\r\n{many}\r\n");
    assert_eq!(status(&ask(server.addr, &request).await), "431");
}

#[tokio::test]
async fn http2_is_refused() {
    let server = default_server().await;
    let response = ask(
        server.addr,
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    )
    .await;
    assert!(
        response.is_empty() || status(&response) == "400",
        "{response:?}"
    );
    let upgrade = "GET /peer HTTP/1.1\r\nHost: x\r\nConnection: close, Upgrade, HTTP2-Settings\r\n\
        Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    assert_eq!(status(&ask(server.addr, upgrade).await), "200");
}

#[tokio::test]
async fn connections_over_the_cap_wait_for_a_place() {
    let limits = ConnectionLimits {
        connections: 1,
        ..ConnectionLimits::default()
    };
    let server = server(limits, RequestLimits::default()).await;
    let mut first = connect(server.addr).await;
    send(&mut first, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    server.state.entered.notified().await;
    assert_eq!(server.running.places().taken(), 1);
    let mut second = connect(server.addr).await;
    send(&mut second, "GET /peer HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let early = timeout(SHORT, second.read_u8()).await;
    assert!(early.is_err(), "the second has no place yet");
    server.state.go_on.notify_one();
    let response = read_to_end(&mut first).await.to_ascii_lowercase();
    assert!(
        response.contains("\r\nconnection: close\r\n"),
        "others wait: {response}"
    );
    assert_eq!(status(&read_one(&mut second).await), "200");
}

#[tokio::test]
async fn draining_finishes_what_runs_and_closes_the_rest() {
    let server = default_server().await;
    let mut idle = connect(server.addr).await;
    send(&mut idle, "GET /peer HTTP/1.1\r\nHost: x\r\n\r\n").await;
    read_one(&mut idle).await;
    let mut silent = connect(server.addr).await;
    let mut half = connect(server.addr).await;
    send(&mut half, "GET /peer HTT").await;
    let mut streaming = connect(server.addr).await;
    send(&mut streaming, "GET /trickle HTTP/1.1\r\nHost: x\r\n\r\n").await;
    server.state.entered.notified().await;
    let mut busy = connect(server.addr).await;
    send(&mut busy, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    server.state.entered.notified().await;

    let down = tokio::spawn(server.running.shutdown(PATIENCE));
    for stream in [&mut idle, &mut silent, &mut half] {
        assert_eq!(read_to_end(stream).await, "");
    }
    assert!(TcpStream::connect(server.addr).await.is_err());
    server.state.go_on.notify_one();
    let busy = read_to_end(&mut busy).await;
    assert!(!down.is_finished(), "a reply is still on its way");
    server.state.stream_on.notify_one();
    let streaming = read_to_end(&mut streaming).await;
    assert_eq!(body(&busy), "waited");
    assert_eq!(body(&streaming), "4\r\npart\r\n4\r\npart\r\n0\r\n\r\n");
    assert!(down.await.expect("no panic"), "all came to its end");
}

#[tokio::test]
async fn draining_takes_no_longer_than_its_grace() {
    let server = default_server().await;
    let mut busy = connect(server.addr).await;
    send(&mut busy, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    server.state.entered.notified().await;
    assert!(!server.running.shutdown(SHORT).await);
    assert_eq!(read_to_end(&mut busy).await, "");
}

#[tokio::test]
async fn a_dropped_server_drains() {
    let server = default_server().await;
    let mut busy = connect(server.addr).await;
    send(&mut busy, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    server.state.entered.notified().await;
    drop(server.running);
    server.state.go_on.notify_one();
    assert_eq!(body(&read_to_end(&mut busy).await), "waited");
}

#[tokio::test]
async fn many_half_open_connections_are_closed_in_time() {
    let limits = ConnectionLimits {
        head: Duration::from_secs(1),
        ..ConnectionLimits::default()
    };
    let server = server(limits, RequestLimits::default()).await;
    let mut streams = Vec::new();
    for _ in 0..300 {
        let mut stream = connect(server.addr).await;
        send(&mut stream, "GET /peer HTTP/1.1\r\n").await;
        streams.push(stream);
    }
    for stream in &mut streams {
        assert_eq!(read_to_end(stream).await, "");
    }
    until_free(&server.running).await;
    assert_eq!(status(&get(server.addr, "/peer").await), "200");
}

#[tokio::test]
async fn who_is_idle_makes_room_for_who_waits() {
    let limits = ConnectionLimits {
        connections: 3,
        ..ConnectionLimits::default()
    };
    let server = server(limits, RequestLimits::default()).await;
    let request = "GET /peer HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut busy = connect(server.addr).await;
    send(&mut busy, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    server.state.entered.notified().await;
    let mut idle = connect(server.addr).await;
    send(&mut idle, request).await;
    assert_eq!(status(&read_one(&mut idle).await), "200");
    tokio::time::sleep(SHORT).await;
    let mut fresh = connect(server.addr).await;
    send(&mut fresh, request).await;
    assert_eq!(status(&read_one(&mut fresh).await), "200");

    // The one that has been idle for the longest goes, the others stay.
    let mut third = connect(server.addr).await;
    send(&mut third, request).await;
    assert_eq!(status(&read_one(&mut third).await), "200");
    assert_eq!(read_to_end(&mut idle).await, "");
    send(&mut fresh, request).await;
    assert_eq!(status(&read_one(&mut fresh).await), "200");
    server.state.go_on.notify_one();
    assert_eq!(body(&read_one(&mut busy).await), "waited");
}

#[tokio::test]
async fn who_says_nothing_makes_room_for_who_waits() {
    let limits = ConnectionLimits {
        connections: 2,
        head: PATIENCE,
        ..ConnectionLimits::default()
    };
    let server = server(limits, RequestLimits::default()).await;
    let mut silent = connect(server.addr).await;
    let mut half = connect(server.addr).await;
    send(&mut half, "GET /peer HTT").await;
    for _ in 0..3 {
        let mut client = connect(server.addr).await;
        send(&mut client, "GET /peer HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(status(&read_one(&mut client).await), "200");
    }
    assert_eq!(read_to_end(&mut silent).await, "");
    drop(half);
}
