//! Profiles and leases over a target in memory.

use dsm_core::testing::provider::FakeTarget;
use dsm_core::vault::{Caller, NewAdmin, TargetFields};
use serde_json::json;

use crate::support::Server;

/// Target `db`, profile 1, `web`, with lease 1 of a secret, and profile 2, `spare`.
pub(crate) async fn provision(server: &Server) {
    let (vault, me) = (&server.vault, Caller::embedded("tests"));
    let fields = TargetFields {
        name: Some("db".to_owned()),
        provider: Some("fake".to_owned()),
        address: Some("here".to_owned()),
        admin: Some(NewAdmin::Own(FakeTarget::target().admin)),
        ..TargetFields::default()
    };
    vault.create_target(&me, fields).await.expect("a target");
    for identifier in ["web", "spare"] {
        let body = json!({"identifier": identifier, "kind": "credential", "target": "db"});
        server.make("/profiles", body).await;
    }
    let item = json!({"ephemeral_credential": {"profile": "web"}});
    let body = json!({
        "identity": "provisioned", "name": "P", "data": {"ephemeral_credentials": [item]},
    });
    let made = server.make("/secrets", body).await;
    let id = made["id"].as_str().and_then(|id| id.parse().ok());
    let rotated = vault.rotate_secret(&me, dsm_core::id::SecretId(id.expect("an id")), None);
    rotated.await.expect("a lease");
}

#[tokio::test]
async fn a_profile_is_made_changed_and_refused_by_its_fields() {
    let server = Server::start().await;
    provision(&server).await;
    let shown = server.get("/profiles/1").await;
    assert_eq!(shown.status, 200);
    assert_eq!(shown.body["ttl_seconds"], 3_600);
    let changed = server
        .patch("/profiles/1", json!({"ttl_seconds": 60}))
        .await;
    assert_eq!(changed.body["ttl_seconds"], 60, "{changed:?}");
    for (field, value) in [
        ("ttl_seconds", json!(0)),
        ("ttl_seconds", json!(315_360_000)),
        ("creation_template", json!("CREATE USER [#USER#]")),
        ("removal_template", json!("DROP USER someone")),
        ("target", json!("elsewhere")),
        ("kind", json!("cloud")),
    ] {
        let answer = server.patch("/profiles/1", json!({field: value})).await;
        assert_eq!(answer.status, 422, "{field}: {answer:?}");
        assert_eq!(answer.body["errors"][0]["field"], field, "{answer:?}");
    }
    server.delete("/profiles/1").await.problem(409);
    assert_eq!(server.delete("/profiles/2").await.status, 204);
}

#[tokio::test]
async fn a_lease_is_shown_and_ended() {
    let server = Server::start().await;
    provision(&server).await;
    let listed = server.get("/leases?profile=web&live=true").await;
    let lease = &listed.body["items"][0];
    assert_eq!(lease["state"], "active", "{listed:?}");
    let name = lease["username"].as_str().expect("a name");
    assert!(name.starts_with("web_"), "{name}");
    assert_eq!(server.delete("/leases/1").await.status, 204);
    server.vault.renew(8).await.expect("a round");
    let ended = server.get("/leases/1").await.body;
    assert_eq!(
        (&ended["state"], &ended["end"]),
        (&json!("ended"), &json!("asked"))
    );
    server.get("/leases/9").await.problem(404);
}
