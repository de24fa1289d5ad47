//! What the table of routes costs on top of a bare warp route, in process and over a socket.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use dsm_server::http::accept::{ConnectionLimits, start};
use dsm_server::http::call::{Call, Peer, Reply, Surface};
use dsm_server::http::operation::{Credentials, Operation};
use dsm_server::http::router::{Refusal, RequestLimits, Route, Router};
use http::{Method, Request, StatusCode};
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use warp::Filter;

const PATH: &str = "/iso/sctm/secret/team/database";

async fn answer(_: Arc<()>, call: Call) -> Reply {
    let identity = call.raw_param("identity").unwrap_or_default().to_owned();
    Reply::bytes(StatusCode::OK, "text/plain", identity)
}

fn refuse(_: Surface, refusal: Refusal) -> Reply {
    Reply::empty(refusal.status())
}

fn router() -> Arc<Router<()>> {
    let mut routes = vec![Route::new(
        Method::GET,
        "/iso/sctm/secret/{identity…}",
        Surface::Iso,
        "read",
        undescribed(),
        answer,
    )];
    for n in 0..100 {
        let pattern: &'static str = Box::leak(format!("/api/v1/r{n}/{{id}}/x").into_boxed_str());
        let route = Route::new(
            Method::GET,
            pattern,
            Surface::V1,
            "x",
            undescribed(),
            answer,
        );
        routes.push(route);
    }
    Arc::new(Router::new(Arc::new(()), routes, refuse, RequestLimits::default()).expect("a table"))
}

fn undescribed() -> Operation {
    Operation::new("a route of this benchmark", Credentials::None)
}

fn bare() -> impl Filter<Extract = (impl warp::Reply,), Error = warp::Rejection> + Clone {
    warp::get()
        .and(warp::path!("iso" / "sctm" / "secret" / ..))
        .and(warp::path::tail())
        .map(|tail: warp::path::Tail| tail.as_str().to_owned())
}

fn request() -> Request<String> {
    let mut request = Request::builder()
        .uri(PATH)
        .header("host", "vault.example.org")
        .header("user-agent", "Go-http-client/1.1")
        .header(
            "authorization",
            "Bearer dsm_0123456789abcdef0123456789abcdef",
        )
        .header("content-type", "application/x-www-form-urlencoded")
        .header("accept-encoding", "gzip")
        .body(String::new())
        .expect("a request");
    let addr: SocketAddr = "192.0.2.1:4000".parse().expect("an address");
    request.extensions_mut().insert(Peer::new(addr));
    request
}

fn in_process(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut group = c.benchmark_group("in process");
    let bare = TowerToHyperService::new(warp::service(bare()));
    group.bench_function("bare warp route", |b| {
        b.to_async(&runtime).iter(|| bare.call(request()));
    });
    let table = TowerToHyperService::new(warp::service(router().filter()));
    group.bench_function("table of 101 routes", |b| {
        b.to_async(&runtime).iter(|| table.call(request()));
    });
    group.finish();
}

/// One request and its reply on a connection that stays open.
async fn exchange(stream: &mut TcpStream) {
    let text = b"GET /iso/sctm/secret/team/database HTTP/1.1\r\nHost: vault.example.org\r\n\r\n";
    stream.write_all(text).await.expect("sent");
    let mut buf = [0; 2048];
    let n = stream.read(&mut buf).await.expect("read");
    assert!(buf[..n].ends_with(b"team/database"));
}

fn over_a_socket(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut group = c.benchmark_group("over a socket");
    let (bare, ours) = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let service = TowerToHyperService::new(warp::service(bare()));
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("an option");
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await
                .expect("served");
            Ok::<_, Infallible>(())
        });
        let bare = TcpStream::connect(addr).await.expect("a connection");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let running = start(
            listener,
            ConnectionLimits::default(),
            None,
            router().filter(),
        );
        let running = running.expect("a server");
        let ours = TcpStream::connect(running.local_addr()).await;
        // Dropped, it would drain.
        std::mem::forget(running);
        (bare, ours.expect("a connection"))
    });
    for (name, stream) in [
        ("bare hyper and warp", bare),
        ("accept loop and table", ours),
    ] {
        let stream = tokio::sync::Mutex::new(stream);
        group.bench_function(name, |b| {
            b.to_async(&runtime)
                .iter(async || exchange(&mut *stream.lock().await).await);
        });
    }
    group.finish();
}

criterion_group!(benches, in_process, over_a_socket);
criterion_main!(benches);
