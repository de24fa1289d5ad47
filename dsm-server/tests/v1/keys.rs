use dsm_core::crypto::sealing::{KeyPair, PublicKey};
use dsm_core::entropy::OsEntropy;
use serde_json::{Value, json};

use crate::support::{Answer, Server, authorization};

const PRIVATE: &str = "/authorizations/1/private-key";
const PUBLIC: &str = "/authorizations/1/public-key";

/// The status, and the key or what is said in its place.
async fn pem(server: &Server, path: &str) -> (u16, String) {
    let Answer { status, body, .. } = server.get(path).await;
    let text = body.as_str().or(body["detail"].as_str());
    (status, text.expect("a text").to_owned())
}

#[tokio::test]
async fn keys_are_downloaded_as_pem_once_there_are_any() {
    let server = Server::start().await;
    server.furnish().await;
    for path in [PRIVATE, PUBLIC] {
        let (status, text) = pem(&server, path).await;
        assert_eq!(status, 404, "{text}");
        assert!(text.contains("none was made or registered"), "{text}");
    }
    let on = json!({"encrypt_sensitive": true});
    let on = server.patch("/authorizations/1", on).await;
    assert_eq!(on.status, 200, "{on:?}");
    assert_eq!(
        on.body["private_key"],
        Value::Null,
        "it is kept, and not shown unasked"
    );
    let (status, private) = pem(&server, PRIVATE).await;
    assert_eq!(status, 200, "{private}");
    assert!(private.starts_with("-----BEGIN PRIVATE KEY-----\n"));
    let (status, public) = pem(&server, PUBLIC).await;
    assert_eq!(status, 200);
    assert!(PublicKey::from_pem(&public).is_ok(), "{public}");
}

#[tokio::test]
async fn a_key_of_the_client_is_registered_and_has_no_private_one_here() {
    let server = Server::start().await;
    server.furnish().await;
    let own = KeyPair::generate(&OsEntropy).public.to_pem();
    let put = async |body: Value| server.ask("PUT", PUBLIC).json(&body).answer().await;
    for (wrong, status) in [
        (json!({}), 422),
        (json!({"public_key": 1}), 422),
        (json!({"public_key": "no key"}), 422),
        (json!({"public_key": own, "more": 1}), 422),
    ] {
        let refused = put(wrong.clone()).await;
        assert_eq!(refused.status, status, "{wrong}: {refused:?}");
        assert!(!refused.wrong().is_empty());
    }
    let registered = put(json!({"public_key": own})).await;
    assert_eq!(registered.status, 204, "{registered:?}");
    assert_eq!(pem(&server, PUBLIC).await, (200, own));
    let (status, text) = pem(&server, PRIVATE).await;
    assert_eq!(status, 409, "{text}");
    assert!(text.contains("the client made the key"), "{text}");
}

#[tokio::test]
async fn an_authorization_that_is_made_to_seal_has_its_pair_at_once() {
    let server = Server::start().await;
    server.furnish().await;
    let mut body = authorization(&[]);
    body["encrypt_sensitive"] = json!(true);
    let made = server.post("/applications/2/authorizations", body).await;
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.body["id"].as_str().expect("an id");
    let (status, _) = pem(&server, &format!("/authorizations/{id}/private-key")).await;
    assert_eq!(status, 200);
}
