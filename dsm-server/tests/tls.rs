//! TLS at the accept loop, over real sockets.

#[path = "common/pki.rs"]
mod pki;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dsm_server::http::accept::{ConnectionLimits, Running, start};
use dsm_server::http::call::{Call, Reply, Surface};
use dsm_server::http::operation::{Credentials, Operation};
use dsm_server::http::router::{Refusal, RequestLimits, Route, Router};
use dsm_server::http::tls::{ClientCertificates, Tls, TlsFiles};
use http::{Method, StatusCode};
use pki::{Authority, Identity, ask, connect};
use tempfile::TempDir;
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);
const GET: &str = "GET /peer HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn peer(_: Arc<()>, call: Call) -> Reply {
    let shown = call.head.peer.certificate();
    let text = shown.map_or_else(|| "nothing".to_owned(), |digests| format!("{digests:?}"));
    Reply::bytes(StatusCode::OK, "text/plain", text)
}

async fn large(_: Arc<()>, _: Call) -> Reply {
    Reply::bytes(StatusCode::OK, "text/plain", vec![b'x'; 32 * 1024 * 1024])
}

fn route<H, F>(path: &'static str, handler: H) -> Route<()>
where
    H: Fn(Arc<()>, Call) -> F + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let operation = Operation::new("a route of this test", Credentials::None);
    Route::new(Method::GET, path, Surface::Health, path, operation, handler)
}

fn refuse(_: Surface, refusal: Refusal) -> Reply {
    Reply::empty(refusal.status())
}

/// A server and whoever its clients trust.
struct Server {
    running: Running,
    addr: SocketAddr,
    tls: Arc<Tls>,
    authority: Authority,
    folder: TempDir,
}

async fn server(limits: ConnectionLimits, clients: Clients) -> Server {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().expect("a folder"));
    let (certificate, key) = authority.issue("localhost").write(folder.path());
    let ca = folder.path().join("clients.pem");
    let (mode, text) = match clients {
        Clients::Off => (ClientCertificates::Off, String::new()),
        Clients::Optional(text) => (ClientCertificates::Optional(ca.clone()), text),
        Clients::Required(text) => (ClientCertificates::Required(ca.clone()), text),
    };
    std::fs::write(&ca, text).expect("written");
    let tls = Tls::load(TlsFiles {
        certificate,
        key,
        clients: mode,
    });
    let tls = Arc::new(tls.expect("files that fit"));
    let routes = vec![route("/peer", peer), route("/large", large)];
    let router = Router::new(Arc::new(()), routes, refuse, RequestLimits::default());
    let router = Arc::new(router.expect("a table"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let running = start(listener, limits, Some(Arc::clone(&tls)), router.filter());
    let running = running.expect("a server");
    Server {
        addr: running.local_addr(),
        running,
        tls,
        authority,
        folder,
    }
}

enum Clients {
    Off,
    Optional(String),
    Required(String),
}

impl Server {
    async fn plain() -> Self {
        server(ConnectionLimits::default(), Clients::Off).await
    }

    fn trusted(&self) -> String {
        self.authority.pem()
    }

    async fn until_free(&self) {
        let started = Instant::now();
        while self.running.places().taken() > 0 {
            assert!(started.elapsed() < PATIENCE, "a connection stays");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// What a client does, which waits for sockets.
async fn client<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(act).await.expect("no panic")
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_come_over_tls_and_http_1_1_is_all_there_is() {
    let server = Server::plain().await;
    let (addr, trusted) = (server.addr, server.trusted());
    client(move || {
        for (offered, agreed) in [
            (&[][..], None),
            (&["http/1.1"], Some("http/1.1")),
            (&["h2", "http/1.1"], Some("http/1.1")),
        ] {
            let mut stream = connect(addr, &trusted, None, offered).expect("a handshake");
            let protocol = stream.conn.alpn_protocol();
            assert_eq!(protocol, agreed.map(str::as_bytes));
            for _ in 0..2 {
                let answer = ask(&mut stream, GET).expect("an answer");
                assert_eq!(answer, (200, "nothing".to_owned()));
            }
        }
        assert!(connect(addr, &trusted, None, &["h2"]).is_err());
        let stranger = Authority::new().pem();
        assert!(connect(addr, &stranger, None, &[]).is_err());
    })
    .await;
    // The server hears of the second one later than the client.
    server.until_free().await;
    assert_eq!(server.tls.failed_handshakes(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_gets_no_answer_and_silence_ends_in_time() {
    let limits = ConnectionLimits {
        head: SHORT,
        ..ConnectionLimits::default()
    };
    let server = server(limits, Clients::Off).await;
    let (addr, trusted) = (server.addr, server.trusted());
    client(move || {
        let mut text = TcpStream::connect(addr).expect("a connection");
        text.write_all(GET.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        let _ = text.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
        // Before the handshake, in the middle of it, and after it.
        for sent in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
            let mut silent = TcpStream::connect(addr).expect("a connection");
            silent.set_read_timeout(Some(PATIENCE)).expect("a time-out");
            silent.write_all(sent).expect("sent");
            let mut rest = Vec::new();
            silent.read_to_end(&mut rest).expect("it closes in time");
        }
        let mut shaken = connect(addr, &trusted, None, &[]).expect("a handshake");
        let mut rest = Vec::new();
        let read = shaken.read_to_end(&mut rest);
        assert!(read.is_ok(), "the server says that it ends: {read:?}");
        assert!(rest.is_empty());
    })
    .await;
    server.until_free().await;
    assert_eq!(server.tls.failed_handshakes(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_nobody_reads_is_given_up() {
    let limits = ConnectionLimits {
        write: SHORT,
        ..ConnectionLimits::default()
    };
    let server = server(limits, Clients::Off).await;
    let (addr, trusted) = (server.addr, server.trusted());
    let open = client(move || {
        let mut stream = connect(addr, &trusted, None, &[]).expect("a handshake");
        let request = GET.replace("/peer", "/large");
        stream.write_all(request.as_bytes()).expect("sent");
        stream
    })
    .await;
    while server.running.places().taken() == 0 {
        tokio::task::yield_now().await;
    }
    server.until_free().await;
    drop(open);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_shown_by_those_who_have_one() {
    let clients = Authority::new();
    let alone = Identity::alone("pinned");
    let accepted = clients.pem() + &alone.certificate;
    let optional = server(
        ConnectionLimits::default(),
        Clients::Optional(accepted.clone()),
    )
    .await;
    let required = server(ConnectionLimits::default(), Clients::Required(accepted)).await;
    let at = [
        (optional.addr, optional.trusted()),
        (required.addr, required.trusted()),
    ];
    client(move || {
        let ask_as = |(addr, trusted): &(SocketAddr, String), shown: Option<&Identity>| {
            let mut stream = connect(*addr, trusted, shown, &[]).ok()?;
            ask(&mut stream, GET).ok().map(|(_, body)| body)
        };
        let issued = clients.issue("client");
        let stranger = Authority::new().issue("client");
        for server in &at {
            for identity in [&issued, &alone] {
                let seen = ask_as(server, Some(identity)).expect("an answer");
                assert!(seen.contains("sha256"), "{seen}");
            }
            assert_eq!(ask_as(server, Some(&stranger)), None);
            assert_eq!(ask_as(server, Some(&Identity::alone("other"))), None);
        }
        assert_eq!(ask_as(&at[0], None).as_deref(), Some("nothing"));
        assert_eq!(ask_as(&at[1], None), None);
    })
    .await;
    optional.until_free().await;
    required.until_free().await;
    assert_eq!(optional.tls.failed_handshakes(), 2);
    assert_eq!(required.tls.failed_handshakes(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_exchanged_while_connections_last() {
    let server = Server::plain().await;
    let (addr, old) = (server.addr, server.trusted());
    let trusted = old.clone();
    let mut stream = client(move || {
        let mut stream = connect(addr, &trusted, None, &[]).expect("a handshake");
        assert_eq!(ask(&mut stream, GET).expect("an answer").0, 200);
        stream
    })
    .await;
    let new = Authority::new();
    let identity = new.issue("localhost");
    let folder = server.folder.path();
    // Half of the exchange, a key that fits no certificate, and no PEM at all.
    std::fs::write(folder.join("server.pem"), &identity.certificate).expect("written");
    let refused = server.tls.reload().expect_err("the key is another's");
    assert!(refused.to_string().contains("server.key"), "{refused}");
    for bad in ["", "hunter2", "-----BEGIN CERTIFICATE-----\nhunter2\n"] {
        std::fs::write(folder.join("server.pem"), bad).expect("written");
        let refused = server.tls.reload().expect_err("no certificate").to_string();
        assert!(refused.contains("server.pem"), "{refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
    }
    std::fs::remove_file(folder.join("server.pem")).expect("removed");
    assert!(server.tls.reload().is_err());
    let trusted = old.clone();
    client(move || connect(addr, &trusted, None, &[]).expect("the old one stays")).await;

    identity.write(folder);
    server.tls.reload().expect("files that fit");
    client(move || {
        assert_eq!(ask(&mut stream, GET).expect("an answer").0, 200);
        assert!(connect(addr, &old, None, &[]).is_err());
        let mut stream = connect(addr, &new.pem(), None, &[]).expect("a handshake");
        assert_eq!(ask(&mut stream, GET).expect("an answer").0, 200);
    })
    .await;
}
