use dsm_core::access::{DenialClass, Rule};
use dsm_core::vault::{AuthorizationFields, Error, SecretFields, VaultOptions};

use super::fixture::{Fixture, fields, identity, value};

#[tokio::test]
async fn what_a_client_writes_is_attached_to_its_authorization() {
    let f = Fixture::new().await;
    let client = f.principal().await;
    let written = f
        .vault
        .write_secret(&client, &identity("new"), fields("1"))
        .await
        .unwrap();
    assert!(written.created);
    assert_eq!(value(&written.secret), Some("1"));
    // Its token sees the secret at once.
    let client = f.principal().await;
    f.vault
        .read_secret(&client, &identity("new"))
        .await
        .unwrap();
    let again = f
        .vault
        .write_secret(&client, &identity("new"), fields("2"))
        .await
        .unwrap();
    assert!(!again.created);
    assert_eq!(again.secret.secret.version, 2);
    let same = f
        .vault
        .write_secret(&client, &identity("new"), fields("2"))
        .await
        .unwrap();
    assert_eq!(
        same.secret.secret.version, 2,
        "an identical write makes no version"
    );
}

#[tokio::test]
async fn a_secret_of_others_is_neither_written_nor_deleted() {
    let f = Fixture::new().await;
    f.vault
        .create_secret(&f.me, "other", fields("1"))
        .await
        .unwrap();
    let client = f.principal().await;
    let error = f
        .vault
        .write_secret(&client, &identity("other"), fields("2"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Denied(d) if d.class() == DenialClass::Forbidden),
        "{error:?}"
    );
    let error = f
        .vault
        .delete_secret(&client, &identity("other"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Denied(d) if d.class() == DenialClass::NotFound),
        "{error:?}"
    );
}

#[tokio::test]
async fn deleting_disables_and_writing_a_disabled_one_conflicts() {
    let f = Fixture::new().await;
    let secret = f.secret("a", "1").await;
    let client = f.principal().await;
    f.vault
        .delete_secret(&client, &identity("a"))
        .await
        .unwrap();
    assert!(!f.vault.find_secret(&f.me, secret.id).await.unwrap().enabled);
    let error = f
        .vault
        .write_secret(&client, &identity("a"), fields("2"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Denied(d) if d.class() == DenialClass::Conflict),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_read_only_authorization_writes_nothing() {
    let f = Fixture::with(VaultOptions::default(), |fields| AuthorizationFields {
        read_only: Some(true),
        ..fields
    })
    .await;
    f.secret("a", "1").await;
    let client = f.principal().await;
    f.vault.read_secret(&client, &identity("a")).await.unwrap();
    for error in [
        f.vault
            .write_secret(&client, &identity("a"), fields("2"))
            .await
            .unwrap_err(),
        f.vault
            .write_secret(&client, &identity("b"), fields("2"))
            .await
            .unwrap_err(),
        f.vault
            .delete_secret(&client, &identity("a"))
            .await
            .unwrap_err(),
        f.vault.revoke_self(&client).await.unwrap_err(),
    ] {
        assert!(
            matches!(&error, Error::Denied(d) if d.rule() == Rule::ReadOnly),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn every_wrong_field_is_named_at_once_and_nothing_is_stored() {
    let f = Fixture::new().await;
    let wrong = SecretFields {
        name: Some(String::new()),
        engine: Some("Nonesuch".to_owned()),
        tags: Some(vec!["a,b".to_owned()]),
        ..fields("1")
    };
    let error = f
        .vault
        .create_secret(&f.me, "a b", wrong)
        .await
        .unwrap_err();
    let Error::Invalid(errors) = &error else {
        panic!("{error:?}")
    };
    let fields: Vec<_> = errors.iter().map(|e| e.field.as_str()).collect();
    assert_eq!(fields, ["identity", "engine", "name", "tags"]);
    let missing = AuthorizationFields::default();
    let id = f.authorization.application;
    let error = f
        .vault
        .create_authorization(&f.me, id, missing)
        .await
        .unwrap_err();
    let Error::Invalid(errors) = &error else {
        panic!("{error:?}")
    };
    let fields: Vec<_> = errors.iter().map(|e| e.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "enabled",
            "encrypt_sensitive",
            "allow_application_creation",
            "environment",
            "system"
        ]
    );
}

#[tokio::test]
async fn an_identity_is_taken_once() {
    let f = Fixture::new().await;
    f.secret("a", "1").await;
    let error = f
        .vault
        .create_secret(&f.me, "a", fields("2"))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "there is a secret with this identity");
}

#[tokio::test]
async fn clients_that_write_at_once_do_not_stand_in_each_others_way() {
    let f = std::sync::Arc::new(Fixture::new().await);
    let tasks: Vec<_> = (0..16)
        .map(|n| {
            let f = f.clone();
            tokio::spawn(async move {
                let client = f.principal().await;
                let name = identity(&format!("s{n}"));
                f.vault
                    .write_secret(&client, &name, fields("1"))
                    .await
                    .unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let attached = f.vault.attached_secrets(f.authorization.id).await.unwrap();
    assert_eq!(attached.len(), 16);
}

#[tokio::test]
async fn the_list_of_secrets_is_replaced_whole() {
    let f = Fixture::new().await;
    let (a, b) = (f.secret("a", "1").await, f.secret("b", "2").await);
    let c = f
        .vault
        .create_secret(&f.me, "c", fields("3"))
        .await
        .unwrap();
    let replace = async |secrets| {
        let fields = AuthorizationFields {
            secrets: Some(secrets),
            ..Default::default()
        };
        f.vault
            .update_authorization(&f.me, f.authorization.id, fields, None)
            .await
    };
    replace(vec![b.id, c.id, c.id]).await.unwrap();
    let mut attached = f.vault.attached_secrets(f.authorization.id).await.unwrap();
    attached.sort();
    assert_eq!(attached, [b.id, c.id]);
    let client = f.principal().await;
    assert!(
        f.vault.read_secret(&client, &identity("a")).await.is_err(),
        "detached: {a:?}"
    );
    f.vault.read_secret(&client, &identity("c")).await.unwrap();
    let error = replace(vec![999.into()]).await.unwrap_err();
    assert_eq!(error.to_string(), "secrets: there is no secret 999");
    f.vault
        .detach_secret(&f.me, f.authorization.id, c.id)
        .await
        .unwrap();
    assert!(f.vault.read_secret(&client, &identity("c")).await.is_err());
    let error = f
        .vault
        .detach_secret(&f.me, f.authorization.id, c.id)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotFound(_)));
}
