use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Instant;

use rustix::process::Signal;

use crate::harness::{Client, PATIENCE, Place};

#[test]
fn a_vault_is_made_once_and_served() {
    let place = Place::new();
    place
        .run(&["serve"])
        .refused(78, &["there is no vault", "dsm-server init"]);
    assert!(place.files().is_empty());

    let made = place.run(&["init", "--operator-name", "alice"]).succeeded();
    let token = made.out.trim_end();
    assert!(token.starts_with("dsm_op_"), "the token and nothing else");
    assert!(made.err.contains("alice"));
    let files = place.files();
    let again = place.run(&["init"]);
    again.refused(78, &["not empty", "nothing is initialised over"]);
    assert_eq!(
        files.iter().map(|(path, _)| path).collect::<Vec<_>>(),
        place
            .files()
            .iter()
            .map(|(path, _)| path)
            .collect::<Vec<_>>()
    );

    let (process, url) = place.serve();
    let client = Client::new(&url);
    assert_eq!(client.get("/livez", "").0, 200);
    let (status, body) = client.get("/readyz", "");
    assert_eq!(status, 200);
    assert_eq!(
        body,
        r#"{"ready":true,"store":"ok","audit":"ok","key":"ok"}"#
    );
    assert_eq!(client.me(token), 200);
    assert_eq!(client.me("dsm_op_nobody"), 401);
    let (status, metrics) = client.get("/metrics", "");
    assert_eq!(status, 200);
    assert!(metrics.contains("dsm_http_requests_total{route=\"livez\",status=\"2xx\"} 1"));
    assert!(metrics.contains("dsm_audit_lag_entries "));

    // Without its key a server would not come back.
    std::fs::rename(place.key(), place.path().join("elsewhere")).expect("renamed");
    let end = Instant::now() + PATIENCE;
    let body = loop {
        let (status, body) = client.get("/readyz", "");
        if status == 503 {
            break body;
        }
        assert!(Instant::now() < end, "still ready");
    };
    assert!(body.contains(r#""store":"ok","audit":"ok","key":"failing""#));
    process.stop();
}

#[test]
fn one_server_at_a_time() {
    let place = Place::new();
    let (process, line) = place.quickstart();
    for arguments in [
        &["quickstart", "--json", "--listen", "127.0.0.1:0"][..],
        &["serve", "--listen", "127.0.0.1:0"],
        &["init"],
    ] {
        let second = place.run(arguments);
        second.refused(75, &["vault.db is already served by another process"]);
    }
    assert_eq!(Client::new(&line.url).me(&line.operator_token), 200);
    process.stop();
}

#[test]
fn a_running_request_is_answered_before_the_end() {
    let place = Place::new();
    let (process, line) = place.quickstart();
    let address = line.url.strip_prefix("http://").expect("plain HTTP");
    let body = format!(
        "grant_type=client_credentials&client_id={}&client_secret={}",
        line.client_id, line.client_secret
    );
    let head = format!(
        "POST /iso/oauth2/token HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\
         Expect: 100-continue\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream.write_all(head.as_bytes()).expect("sent");
    let mut answer = [0; 25];
    stream.read_exact(&mut answer).expect("the go-ahead");
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");

    // The server is in the middle of the request now.
    process.signal(Signal::TERM);
    let end = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < end, "it still listens");
    }
    stream.write_all(body.as_bytes()).expect("sent");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("UTF-8");
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    assert!(reply.contains("access_token"), "{reply}");
    let (status, _, log) = process.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("\"message\":\"stopped\""), "{log}");
}

#[test]
fn nothing_is_left_to_a_core_dump() {
    let place = Place::new();
    let (process, _) = place.quickstart();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.id()));
    let limits = limits.expect("the process's limits");
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let columns: Vec<&str> = core.expect("a limit").split_whitespace().collect();
    assert_eq!(columns[4..6], ["0", "0"], "soft and hard");
    process.signal(Signal::ABORT);
    let (status, _, _) = process.wait();
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()));
    assert!(!status.core_dumped());
    let names = place.files();
    assert!(names.iter().all(|(path, _)| !path.ends_with("core")));
}
