//! `serve` with TLS: files, signals, and authorizations that name a certificate.

use std::net::SocketAddr;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use crate::harness::{PATIENCE, Place, Process};
use crate::pki::{self, Authority, Identity};

/// A server over TLS and those it knows.
struct World {
    place: Place,
    process: Process,
    addr: SocketAddr,
    servers: Authority,
    clients: Authority,
    operator: String,
}

impl World {
    /// `mode` says whether clients show certificates.
    fn new(mode: &str) -> Self {
        let (place, servers, clients) = (Place::new(), Authority::new(), Authority::new());
        let operator = place.run(&["init"]).succeeded().out.trim_end().to_owned();
        let (certificate, key) = servers.issue("localhost").write(place.path());
        let ca = place.path().join("clients.pem");
        std::fs::write(&ca, clients.pem()).expect("written");
        let config = format!(
            "[tls]\ncertificate = '{}'\nkey = '{}'\n\
             client_certificates = '{mode}'\nclient_ca = '{}'\n",
            certificate.display(),
            key.display(),
            ca.display(),
        );
        std::fs::write(place.path().join("dsm.toml"), config).expect("written");
        let (process, address) = place.serve_with(&["--config", "dsm.toml"]);
        Self {
            place,
            process,
            addr: address.parse().expect("an address"),
            servers,
            clients,
            operator,
        }
    }

    fn connect(&self, shown: Option<&Identity>) -> std::io::Result<pki::Secured> {
        pki::connect(self.addr, &self.servers.pem(), shown, &["http/1.1"])
    }

    /// The answer to one request, on a connection of its own.
    #[track_caller]
    fn ask(
        &self,
        shown: Option<&Identity>,
        (method, path): (&str, &str),
        token: &str,
        (content_type, body): (&str, &str),
    ) -> (u16, Value) {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = self.connect(shown).expect("a handshake");
        let (status, body) = pki::ask(&mut stream, &request).expect("an answer");
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    /// What an operator makes or changes.
    #[track_caller]
    fn manage(&self, method: &str, path: &str, body: &Value) -> Value {
        let content_type = "application/json";
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let path = format!("/api/v1/{path}");
        let (status, answer) =
            self.ask(None, (method, &path), &self.operator, (content_type, &body));
        assert!(
            (200..300).contains(&status),
            "{method} {path}: {status} {answer}"
        );
        answer
    }

    /// The token endpoint's answer.
    #[track_caller]
    fn token(&self, shown: Option<&Identity>, credentials: &Value) -> (u16, String) {
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}",
            text(credentials, "client_id"),
            text(credentials, "client_secret"),
        );
        let form = ("application/x-www-form-urlencoded", form.as_str());
        let endpoint = ("POST", "/iso/oauth2/token");
        // The token that clients send along is none of its concern.
        let (status, body) = self.ask(shown, endpoint, "old", form);
        (
            status,
            body["access_token"].as_str().unwrap_or_default().to_owned(),
        )
    }

    #[track_caller]
    fn read(&self, shown: Option<&Identity>, token: &str) -> u16 {
        let path = ("GET", "/iso/sctm/secret/db/main");
        self.ask(shown, path, token, ("text/plain", "")).0
    }

    fn metric(&self, name: &str) -> String {
        let mut stream = self.connect(None).expect("a handshake");
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let (_, text) = pki::ask(&mut stream, request).expect("an answer");
        let line = text.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("no {name} in {text}"))
            .to_owned()
    }
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().expect("a text")
}

#[test]
fn an_authorization_that_names_a_certificate_is_used_with_that_one_alone() {
    let world = World::new("optional");
    let (right, wrong) = (world.clients.issue("right"), world.clients.issue("wrong"));
    for path in ["environments", "systems"] {
        world.manage("POST", path, &json!({"name": "here"}));
    }
    let application = json!({"name": "app", "authentication_method": "oauth2"});
    let application = world.manage("POST", "applications", &application);
    let secret = json!({
        "identity": "db/main", "name": "Main", "data": {"key_value": {"fields": {"K": "v"}}},
    });
    let secret = world.manage("POST", "secrets", &secret);
    let path = format!("applications/{}/authorizations", text(&application, "id"));
    let authorization = json!({
        "enabled": true, "encrypt_sensitive": false, "allow_application_creation": false,
        "environment": "here", "system": "here", "allowed_ips": ["127.0.0.1"],
        "secrets": [text(&secret, "id")],
        "certificate_fingerprint": data_encoding::HEXUPPER.encode(&Sha256::digest(&right.der)),
    });
    let authorization = world.manage("POST", &path, &authorization);
    let path = format!("authorizations/{}", text(&authorization, "id"));
    let credentials = world.manage("POST", &format!("{path}/credentials"), &json!({}));

    let (status, token) = world.token(Some(&right), &credentials);
    assert_eq!(status, 200);
    assert_eq!(world.token(Some(&wrong), &credentials).0, 401);
    assert_eq!(world.token(None, &credentials).0, 401);
    assert_eq!(world.read(Some(&right), &token), 200);
    assert_eq!(world.read(Some(&wrong), &token), 403);
    assert_eq!(world.read(None, &token), 403);

    // Imported ones are SHA-1, in whatever spelling.
    let sha1 = data_encoding::HEXLOWER.encode(&Sha1::digest(&wrong.der));
    let patch = json!({"certificate_fingerprint": sha1});
    world.manage("PATCH", &path, &patch);
    assert_eq!(world.read(Some(&right), &token), 403);
    assert_eq!(world.read(Some(&wrong), &token), 200);

    let denied = world
        .manage("GET", "audit?limit=100", &Value::Null)
        .to_string();
    for reason in [
        "a client certificate is required and none was shown",
        "the client certificate is not the required one",
    ] {
        assert!(denied.contains(reason), "{denied}");
    }
    world.process.stop();
}

#[test]
fn files_are_read_again_at_a_signal() {
    let world = World::new("required");
    let client = world.clients.issue("client");
    let mut open = world.connect(Some(&client)).expect("a handshake");
    let livez = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut lives = |what: &str| {
        let answer = pki::ask(&mut open, livez);
        assert_eq!(answer.expect(what).0, 200, "{what}");
    };
    lives("before");
    let said = |words: &str| {
        let started = Instant::now();
        while !world.process.log().contains(words) {
            assert!(
                started.elapsed() < PATIENCE,
                "{words}: {}",
                world.process.log()
            );
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    };
    std::fs::write(world.place.path().join("server.pem"), "hunter2").expect("written");
    world.process.signal(Signal::HUP);
    said("the TLS files are refused");
    lives("after files that are wrong");
    assert!(world.connect(Some(&client)).is_ok(), "the old ones stay");

    let others = Authority::new();
    others.issue("localhost").write(world.place.path());
    world.process.signal(Signal::HUP);
    said("the TLS files are read again");
    lives("after files that are right");
    assert!(
        world.connect(Some(&client)).is_err(),
        "signed by others now"
    );
    let trusted = others.pem();
    let mut stream = pki::connect(world.addr, &trusted, Some(&client), &[]).expect("a handshake");
    assert_eq!(pki::ask(&mut stream, livez).expect("an answer").0, 200);
    let log = world.process.stop();
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn handshakes_that_fail_are_counted() {
    let world = World::new("optional");
    let stranger = Authority::new().issue("client");
    let refused = world.connect(Some(&stranger)).and_then(|mut stream| {
        let request = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
        pki::ask(&mut stream, request)
    });
    assert!(refused.is_err());
    // A client may know of a failure before it is counted.
    let started = Instant::now();
    let counted = || world.metric("dsm_tls_handshake_failures_total");
    while counted() != "dsm_tls_handshake_failures_total 1" {
        assert!(started.elapsed() < PATIENCE, "{}", counted());
    }
    world.process.stop();
}

#[test]
fn files_that_do_not_fit_are_found_before_the_port_is_bound() {
    let place = Place::new();
    place.run(&["init"]).succeeded();
    let identity = Authority::new().issue("localhost");
    let (certificate, key) = identity.write(place.path());
    let (certificate, key) = (certificate.to_str(), key.to_str());
    let certificate = format!("tls.certificate={}", certificate.expect("UTF-8"));
    let key = format!("tls.key={}", key.expect("UTF-8"));
    let files = [
        "--listen",
        "0.0.0.0:0",
        "--set",
        &certificate,
        "--set",
        &key,
    ];
    let with = |command: &'static str| [&[command][..], &files].concat();
    let well = place.run(&with("check")).succeeded();
    assert!(well.out.contains("ok      tls"), "{well:?}");
    Identity::alone("localhost").write(place.path());
    std::fs::write(place.path().join("server.pem"), &identity.certificate).expect("written");
    place.run(&with("serve")).refused(78, &["server.key"]);
    let found = place.run(&with("check"));
    assert!(found.out.contains("REFUSED tls"), "{found:?}");
    place
        .run(&["quickstart", "--set", &certificate, "--set", &key])
        .refused(78, &["plain HTTP"]);
}
