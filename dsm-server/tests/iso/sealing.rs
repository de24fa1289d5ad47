#![allow(clippy::disallowed_methods, reason = "what a client does")]

use dsm_core::access::SealingFormat;
use dsm_core::crypto::sealing::{KeyPair, PrivateKey};
use dsm_core::entropy::OsEntropy;
use dsm_core::vault::{SealingOptions, VaultOptions};
use serde_json::{Value, json};

use crate::world::{IDENTITY, World};

const FORMATS: [SealingFormat; 3] = [
    SealingFormat::Jwe,
    SealingFormat::OaepSha1,
    SealingFormat::OaepSha256,
];

/// Has the authorization seal to a key that its client made.
async fn seal(world: &World, format: SealingFormat) -> PrivateKey {
    let pair = KeyPair::generate(&OsEntropy);
    let pem = pair.public.to_pem();
    let (me, id) = (&world.me, world.authorization);
    let registered = world.vault.register_public_key(me, id, &pem);
    registered.await.expect("a key");
    world
        .authorize(|fields| {
            fields.encrypt_sensitive = Some(true);
            fields.encryption_format = Some(format);
        })
        .await;
    PrivateKey::from_pem(pair.private.expose()).expect("just made")
}

/// The same data with what is sealed opened; which fields that were.
fn opened(data: &Value, format: SealingFormat, key: &PrivateKey) -> (Value, Vec<String>) {
    let mut sealed = Vec::new();
    let mut data = data.clone();
    for map in data.as_array_mut().expect("a list") {
        for (name, value) in map.as_object_mut().expect("a map") {
            let Some(text) = value.as_str() else { continue };
            if let Ok(text) = key.open(format, text) {
                *value = json!(String::from_utf8(text.to_vec()).expect("text"));
                sealed.push(name.clone());
            }
        }
    }
    (data, sealed)
}

#[tokio::test]
async fn every_answer_has_what_is_sensitive_sealed_and_the_rest_in_clear() {
    for format in FORMATS {
        let world = World::new().await;
        let token = world.token().await;
        let secret = format!("/iso/sctm/secret/{IDENTITY}");
        let clear = world.get(&token, &secret).await.body["secret"]["data"].clone();
        let key = seal(&world, format).await;
        let one = world.get(&token, &secret).await.body["secret"]["data"].clone();
        let (data, sealed) = opened(&one, format, &key);
        assert_eq!(data, clear, "{format:?}");
        assert!(sealed.len() >= 3, "{sealed:?}");
        for name in &sealed {
            let open = [
                "hostname",
                "username",
                "ip",
                "access_key_id",
                "TTL",
                "public_key",
            ];
            assert!(!open.contains(&name.as_str()), "{name}");
        }
        let list = world.get(&token, "/iso/sctm/secrets").await.body;
        for all in [&list["Secrets"], &list["secrets"]] {
            assert_eq!(all[0]["data"], one, "what was sealed is given again");
        }
        let application = world.get(&token, "/iso/dapp/application").await.body;
        assert_eq!(application["application"]["secrets"][0]["data"], one);
        let written = json!({"identity": "new", "name": "New", "data": {"value": "canary"}});
        let written = world.post(&token, "/iso/sctm/secret", &written).await;
        assert_eq!(written.status, 201, "{}", written.body);
        let data = &written.body["application"]["secrets"][0]["data"];
        let (data, sealed) = opened(data, format, &key);
        assert_eq!(
            (data, sealed),
            (json!([{"value": "canary"}]), vec!["value".to_owned()])
        );
    }
}

#[tokio::test]
async fn a_value_that_bare_rsa_does_not_take_refuses_the_answer() {
    let world = World::new().await;
    seal(&world, SealingFormat::OaepSha256).await;
    let token = world.token().await;
    let fits = json!({"identity": "fits", "name": "n", "data": {"value": "x".repeat(318)}});
    let written = world.post(&token, "/iso/sctm/secret", &fits).await;
    assert_eq!(written.status, 201, "{}", written.body);
    let long = json!({"identity": "fits", "data": {"value": "canary".repeat(60)}});
    let refused = world.post(&token, "/iso/sctm/secret", &long).await;
    refused.fails(409, "");
    assert!(!String::from_utf8_lossy(&refused.bytes).contains("canary"));
    let still = world.get(&token, "/iso/sctm/secret/fits").await;
    assert_eq!(still.body["secret"]["version"], "1");
}

#[tokio::test]
async fn an_application_that_registers_another_gets_its_private_key_once_where_none_is_kept() {
    for kept in [true, false] {
        let world = World::with(VaultOptions {
            sealing: SealingOptions {
                keep_private_keys: kept,
                ..SealingOptions::default()
            },
            ..VaultOptions::default()
        })
        .await;
        world
            .authorize(|fields| fields.allow_application_creation = Some(true))
            .await;
        let token = world.token().await;
        let register = json!({
            "application": "made", "system": "sys", "environment": "env",
            "encryption_enabled": true,
        });
        let made = world.post(&token, "/iso/dapp/application", &register).await;
        assert_eq!(made.status, 200, "{}", made.body);
        let key = made.body["private_key"].as_str();
        assert_eq!(key.is_some(), !kept);
        assert!(key.is_none_or(|key| PrivateKey::from_pem(key).is_ok()));
        let again = world.post(&token, "/iso/dapp/application", &register).await;
        assert_eq!(again.body["id"], made.body["id"]);
        assert_eq!(again.body["private_key"], Value::Null);
    }
}
