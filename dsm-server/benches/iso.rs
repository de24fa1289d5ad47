//! What reading one secret costs on top of a route that answers as many bytes, both in process.

use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use dsm_core::access::Origin;
use dsm_core::crypto::StaticKeys;
use dsm_core::entropy::OsEntropy;
use dsm_core::secret::SecretData;
use dsm_core::store::MemoryStore;
use dsm_core::vault::{
    ApplicationFields, AuthorizationFields, Caller, Registry, SecretFields, Vault,
};
use dsm_server::api::iso;
use dsm_server::app::App;
use dsm_server::http::call::{Call, Peer, Reply, Surface};
use dsm_server::http::client_ip::Forwarding;
use dsm_server::http::operation::{Credentials, Operation};
use dsm_server::http::router::{RequestLimits, Route, Router};
use http::{Method, Request, StatusCode};

const PATH: &str = "/iso/sctm/secret/team/database";

/// A vault with one secret, and a token that reads it.
async fn filled() -> (Vault, String) {
    let vault = Vault::builder(MemoryStore::default(), StaticKeys::generate(&OsEntropy));
    let vault = vault.initialise().await.expect("a vault");
    let me = Caller::embedded("bench");
    for registry in [Registry::System, Registry::Environment] {
        let made = vault.create_registry_entry(&me, registry, "x", "").await;
        made.expect("an entry");
    }
    let data = SecretData::key_values([("USER", "app"), ("PASSWORD", "correct horse")]);
    let fields = SecretFields::new("Database", data);
    let secret = vault.create_secret(&me, "team/database", fields).await;
    let mut fields = AuthorizationFields::new("x", "x");
    fields.allowed_ips = Some(vec!["192.0.2.0/24".to_owned()]);
    fields.secrets = Some(vec![secret.expect("a secret").id]);
    let application = vault
        .create_application(&me, ApplicationFields::new("app"))
        .await
        .expect("an application");
    let authorization = vault
        .create_authorization(&me, application.id, fields)
        .await
        .expect("an authorization");
    let key = vault.reveal_credentials(&me, authorization.id).await;
    let key = key.expect("credentials").into_oauth2();
    let key = key.expect("the default method");
    let token = vault
        .authenticate(&key.client_id, key.client_secret.expose(), origin())
        .await
        .expect("a token");
    let token = token.token.expose().to_owned();
    (vault, token)
}

fn origin() -> Origin {
    Origin {
        ip: "192.0.2.1".parse().ok(),
        ..Origin::default()
    }
}

fn request(token: &str) -> Request<Bytes> {
    Request::builder()
        .uri(PATH)
        .header("host", "vault.example.org")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Bytes::new())
        .expect("a request")
}

fn reads(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let peer = Peer::new("192.0.2.1:4000".parse().expect("an address"));
    let (vault, token) = runtime.block_on(filled());
    let vault = Arc::new(vault);
    let app = Arc::new(App::new(Arc::clone(&vault), Forwarding::default()));
    let limits = RequestLimits::default();
    let ours = Router::new(app, iso::routes(), iso::refuse, limits).expect("a table");
    let answer = runtime.block_on(ours.call(request(&token), peer.clone()));
    assert_eq!(answer.status, StatusCode::OK);
    let body = answer.body_bytes().expect("not a stream").clone();
    let route = Route::new(
        Method::GET,
        "/iso/sctm/secret/{identity…}",
        Surface::Iso,
        "bare",
        Operation::new("a route without a vault", Credentials::None),
        |body: Arc<Bytes>, _: Call| async move {
            Reply::bytes(StatusCode::OK, "application/json", Bytes::clone(&body))
        },
    );
    let bare = Router::new(Arc::new(body), vec![route], iso::refuse, limits).expect("a table");

    let mut group = c.benchmark_group("one secret");
    group.bench_function("bare route", |b| {
        b.to_async(&runtime)
            .iter(|| bare.call(request(&token), peer.clone()));
    });
    group.bench_function("the vault alone", |b| {
        b.to_async(&runtime).iter(async || {
            let identity = "team/database".parse().expect("an identity");
            let principal = vault.principal(&token, origin()).await.expect("a client");
            vault
                .read_secret(&principal, &identity)
                .await
                .expect("a secret")
        });
    });
    group.bench_function("from the vault", |b| {
        b.to_async(&runtime)
            .iter(|| ours.call(request(&token), peer.clone()));
    });
    group.finish();
}

criterion_group!(benches, reads);
criterion_main!(benches);
