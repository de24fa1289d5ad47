//! Clients that connect and do not go on, while another one is served.
//!
//! `DSM_SOCKETS` says how many; a campaign judges the time of the good client too.

use std::time::{Duration, Instant};

use dsm_tests::client::{Connection, request};
use dsm_tests::server::Server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The good client asks this often.
const PACE: Duration = Duration::from_millis(5);
/// The 99th of a hundred of its requests is answered within this, where it is judged.
const P99: Duration = Duration::from_millis(100);
const ENOUGH: usize = 1_000;

fn count() -> usize {
    let given = std::env::var("DSM_SOCKETS").ok();
    given.map_or(150, |count| count.parse().expect("a number of sockets"))
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_sockets_are_closed_and_disturb_nobody() {
    let count = count();
    // The default is ten seconds; the short form does not wait for them.
    let judged = count >= ENOUGH;
    let (head, closed_within) = if judged { (10, 12) } else { (1, 3) };
    let head = format!("limits.head_s={head}");
    let closed_within = Duration::from_secs(closed_within);
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::quickstart_with(folder.path(), &["--set", &head]).expect("a server");
    let token = server.token().await.expect("a token");
    let bearer = format!("Bearer {token}");
    let path = format!("/iso/sctm/secret/{}", server.printed.identity);
    let read = request("GET", &path, &[("Authorization", &bearer)], b"");
    let mut good = Connection::open(server.addr()).await.expect("it listens");
    let addr = server.addr();
    let mut sockets = JoinSet::new();
    for number in 0..count {
        sockets.spawn(async move {
            let mut socket = TcpStream::connect(addr).await.expect("it listens");
            let opened = Instant::now();
            if number % 2 == 0 {
                let begun = b"GET /livez HTTP/1.1\r\nHost: x\r\nX: ";
                socket.write_all(begun).await.expect("sent");
            }
            let mut rest = Vec::new();
            // A reset is an end too.
            let _ = socket.read_to_end(&mut rest).await;
            assert!(rest.is_empty(), "nothing was asked");
            opened.elapsed()
        });
    }
    let mut times = Vec::new();
    let mut lasted = Vec::new();
    let started = Instant::now();
    let mut pace = tokio::time::interval(PACE);
    while lasted.len() < count {
        assert!(
            started.elapsed() < 3 * closed_within,
            "{} sockets are open still",
            count - lasted.len()
        );
        pace.tick().await;
        let asked = Instant::now();
        assert_eq!(good.send_for_status(&read).await.expect("an answer"), 200);
        times.push(asked.elapsed());
        while let Some(closed) = sockets.try_join_next() {
            lasted.push(closed.expect("no panic"));
        }
    }
    times.sort();
    let p99 = times[(times.len() - 1) * 99 / 100];
    let longest = lasted.iter().max().expect("some");
    println!(
        "{count} half-open sockets were closed after {longest:.1?} at most; meanwhile {} reads, p99 \
         {p99:.1?}, slowest {:.1?}",
        times.len(),
        times[times.len() - 1],
    );
    assert!(*longest <= closed_within, "{longest:?}");
    assert!(!judged || p99 < P99, "{p99:?}");
    server.stop().expect("it stops");
}
