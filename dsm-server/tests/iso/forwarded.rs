//! Who stands behind a proxy: address and certificate.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use dsm_core::access::{CertificateDigests, Fingerprint};
use dsm_core::audit::{AuditQuery, Outcome};
use dsm_server::api::{iso, v1};
use dsm_server::app::App;
use dsm_server::http::call::Peer;
use dsm_server::http::client_ip::{ForwardedHeader, Forwarding};
use dsm_server::http::router::{RequestLimits, Router};
use dsm_server::serve;
use http::Request;
use sha2::{Digest as _, Sha256};

use crate::world::World;

const PROXY: [u8; 4] = [10, 0, 0, 1];
const STRANGER: [u8; 4] = [203, 0, 113, 9];

struct Behind {
    world: World,
    router: Router<App>,
    token: String,
    der: Vec<u8>,
}

impl Behind {
    /// An authorization that a client at 192.0.2.1 uses with one certificate.
    async fn new() -> Self {
        let world = World::new().await;
        let token = world.token().await;
        let der = certificate();
        let fingerprint = sha256(&der).to_string();
        world
            .authorize(|fields| {
                fields.allowed_ips = Some(vec!["192.0.2.1".to_owned()]);
                fields.certificate_fingerprint = Some(Some(fingerprint));
            })
            .await;
        let trusted = "10.0.0.0/8".parse().expect("a network");
        let forwarding = Forwarding::new([trusted], ForwardedHeader::XForwardedFor);
        let app = Arc::new(App::new(world.vault.clone(), forwarding));
        let mut routes = iso::routes();
        routes.extend(v1::routes());
        let router = Router::new(app, routes, serve::refuse, RequestLimits::default());
        Self {
            world,
            router: router.expect("a table"),
            token,
            der,
        }
    }

    async fn status(&self, peer: Peer, headers: &[(&str, &str)], path: &str, token: &str) -> u16 {
        let mut request = Request::builder()
            .uri(path)
            .header("authorization", format!("Bearer {token}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Bytes::new()).expect("a request");
        self.router.call(request, peer).await.status.as_u16()
    }

    async fn read(&self, from: [u8; 4], headers: &[(&str, &str)]) -> u16 {
        let peer = peer(from);
        self.status(peer, headers, "/iso/sctm/secrets", &self.token)
            .await
    }

    /// Rule and reason of the newest refusal.
    async fn denied(&self) -> (String, String) {
        let query = AuditQuery::newest(5);
        let page = self.world.vault.search_audit(&self.world.me, &query).await;
        let mut found = page.expect("the trail").found.into_iter();
        let denied = found.find_map(|found| match found.event.outcome {
            Outcome::Denied { rule, reason } => Some((rule, reason)),
            _ => None,
        });
        denied.expect("a refusal")
    }
}

fn peer(from: [u8; 4]) -> Peer {
    Peer::new(SocketAddr::from((from, 4000)))
}

fn certificate() -> Vec<u8> {
    let made = rcgen::generate_simple_self_signed(["client".to_owned()]).expect("a certificate");
    made.cert.der().to_vec()
}

fn sha256(der: &[u8]) -> Fingerprint {
    Fingerprint::Sha256(Sha256::digest(der).into())
}

fn client_cert(der: &[u8]) -> String {
    format!(":{}:", BASE64_STANDARD.encode(der))
}

#[tokio::test]
async fn a_trusted_proxy_names_address_and_certificate() {
    let behind = Behind::new().await;
    let right = client_cert(&behind.der);
    let wrong = client_cert(&certificate());
    let from = ("x-forwarded-for", "192.0.2.1");
    let cases = [
        (PROXY, vec![from, ("client-cert", &*right)], 200),
        (PROXY, vec![from, ("client-cert", &*wrong)], 403),
        (PROXY, vec![from], 403),
        (
            PROXY,
            vec![("x-forwarded-for", "192.0.2.7"), ("client-cert", &*right)],
            403,
        ),
        // From anybody else neither header is anything.
        (STRANGER, vec![from, ("client-cert", &*right)], 403),
        ([192, 0, 2, 1], vec![("client-cert", &*right)], 403),
    ];
    for (peer, headers, status) in cases {
        assert_eq!(
            behind.read(peer, &headers).await,
            status,
            "{peer:?} {headers:?}"
        );
    }
    let shown = CertificateDigests::only(sha256(&behind.der));
    // The session's certificate is the client's without a proxy, and the proxy's own with one.
    let direct = peer([192, 0, 2, 1]).showing(Some(shown));
    let path = "/iso/sctm/secrets";
    let token = behind.token.as_str();
    assert_eq!(behind.status(direct, &[], path, token).await, 200);
    let proxy = || peer(PROXY).showing(Some(shown));
    assert_eq!(behind.status(proxy(), &[from], path, token).await, 403);
    assert_eq!(behind.denied().await.0, "fingerprint");
}

#[tokio::test]
async fn what_a_proxy_says_and_nobody_can_read_refuses_every_request() {
    let behind = Behind::new().await;
    let right = client_cert(&behind.der);
    let from = ("x-forwarded-for", "192.0.2.1");
    let operator = {
        let new = dsm_core::vault::NewOperator::new("ada");
        let made = behind.world.vault.create_operator(&behind.world.me, new);
        made.await.expect("an operator").1
    };
    let cases = [
        (vec![], "x-forwarded-for is missing"),
        (
            vec![("x-forwarded-for", "hunter2")],
            "x-forwarded-for is malformed",
        ),
        (
            vec![("x-forwarded-for", "010.0.0.1")],
            "x-forwarded-for is malformed",
        ),
        (
            vec![("x-forwarded-for", "10.1.1.1, 10.2.2.2")],
            "x-forwarded-for names nobody but trusted proxies",
        ),
        (
            vec![from, ("client-cert", "hunter2")],
            "client-cert is no byte sequence",
        ),
        (
            vec![from, ("client-cert", ":MAA=:")],
            "client-cert holds no X.509 certificate",
        ),
        (
            vec![from, ("client-cert", &*right), ("client-cert", &*right)],
            "client-cert is sent more than once",
        ),
    ];
    for (headers, reason) in cases {
        assert_eq!(behind.read(PROXY, &headers).await, 403, "{reason}");
        let (rule, why) = behind.denied().await;
        assert_eq!(rule, "origin");
        assert!(why.starts_with(reason), "{why}");
        assert!(!why.contains("hunter2"), "{why}");
        let me = behind.status(peer(PROXY), &headers, "/api/v1/me", operator.expose());
        assert_eq!(me.await, 403, "{reason}");
        let mut request = Request::builder().method("POST").uri("/iso/oauth2/token");
        for (name, value) in &headers {
            request = request.header(*name, *value);
        }
        let body = Bytes::from_static(b"grant_type=client_credentials");
        let request = request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        let request = request.expect("a request");
        let reply = behind.router.call(request, peer(PROXY)).await;
        assert_eq!(reply.status.as_u16(), 401, "{reason}");
        assert_eq!(behind.denied().await.0, "origin");
    }
}
