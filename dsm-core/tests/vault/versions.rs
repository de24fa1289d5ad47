use std::num::NonZeroU32;

use dsm_core::secret::{DataPatch, OutputValue, SecretData};
use dsm_core::store::Page;
use dsm_core::vault::{Error, SecretFields, VaultOptions};

use super::fixture::{Fixture, fields, identity, value};

#[tokio::test]
async fn every_change_is_a_version_and_no_change_is_none() {
    let f = Fixture::new().await;
    let secret = f.secret("a", "1").await;
    assert_eq!(secret.version, 1);
    assert_eq!(f.rewrite(secret.id, "2").await.version, 2);
    assert_eq!(
        f.rewrite(secret.id, "2").await.version,
        2,
        "an identical write"
    );
    let described = SecretFields {
        description: Some("d".to_owned()),
        ..Default::default()
    };
    let after = f
        .vault
        .update_secret(&f.me, secret.id, described, None)
        .await
        .unwrap();
    assert_eq!(after.version, 3);
    assert_eq!(
        f.vault
            .disable_secret(&f.me, secret.id, None)
            .await
            .unwrap()
            .version,
        4
    );
    assert_eq!(
        f.vault
            .enable_secret(&f.me, secret.id)
            .await
            .unwrap()
            .version,
        5
    );
    let listed = f
        .vault
        .list_versions(&f.me, secret.id, Page::first(10))
        .await
        .unwrap();
    let numbers: Vec<u64> = listed.items.iter().map(|v| v.snapshot.version).collect();
    assert_eq!(numbers, [5, 4, 3, 2, 1]);
    assert_eq!(listed.items[4].snapshot.description, "");
}

#[tokio::test]
async fn each_version_keeps_its_own_values() {
    let f = Fixture::new().await;
    let secret = f.secret("a", "1").await;
    f.rewrite(secret.id, "2").await;
    f.vault
        .disable_secret(&f.me, secret.id, None)
        .await
        .unwrap();
    for (number, expected) in [(1, "1"), (2, "2"), (3, "2")] {
        let maps = f
            .vault
            .reveal_version(&f.me, secret.id, number)
            .await
            .unwrap();
        assert_eq!(
            maps[0].value("KEY").and_then(OutputValue::expose),
            Some(expected)
        );
    }
    let error = f
        .vault
        .reveal_version(&f.me, secret.id, 9)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotFound(_)));
}

#[tokio::test]
async fn a_kind_that_is_not_named_stays() {
    let f = Fixture::new().await;
    let secret = f.secret("a", "1").await;
    let keys = SecretData::key_values([("OTHER", "x")]).key_values;
    let patch = DataPatch {
        credentials: Some(vec![]),
        ..DataPatch::default()
    };
    let same = SecretFields {
        data: patch,
        ..Default::default()
    };
    let after = f
        .vault
        .update_secret(&f.me, secret.id, same, None)
        .await
        .unwrap();
    assert_eq!(after.version, 1, "no credentials were replaced by none");
    let patch = DataPatch {
        key_values: Some(keys),
        ..DataPatch::default()
    };
    let other = SecretFields {
        data: patch,
        ..Default::default()
    };
    f.vault
        .update_secret(&f.me, secret.id, other, None)
        .await
        .unwrap();
    let maps = f.vault.reveal_version(&f.me, secret.id, 2).await.unwrap();
    assert!(maps[0].value("KEY").is_none() && maps[0].value("OTHER").is_some());
}

#[tokio::test]
async fn restoring_makes_the_old_version_the_newest() {
    let f = Fixture::new().await;
    let secret = f.secret("a", "1").await;
    f.rewrite(secret.id, "2").await;
    let restored = f.vault.restore_version(&f.me, secret.id, 1).await.unwrap();
    assert_eq!(restored.version, 3);
    let opened = f
        .vault
        .read_secret(&f.principal().await, &identity("a"))
        .await
        .unwrap();
    assert_eq!(value(&opened), Some("1"));
}

#[tokio::test]
async fn comparing_tells_of_values_only_that_they_changed() {
    let f = Fixture::new().await;
    let secret = f.secret("a", "first value").await;
    f.rewrite(secret.id, "second value").await;
    let described = SecretFields {
        description: Some("d".to_owned()),
        ..Default::default()
    };
    f.vault
        .update_secret(&f.me, secret.id, described, None)
        .await
        .unwrap();
    let found = f
        .vault
        .compare_versions(&f.me, secret.id, 3, 1)
        .await
        .unwrap();
    let fields: Vec<_> = found
        .differences
        .iter()
        .map(|d| (&*d.field, d.change))
        .collect();
    assert_eq!(
        fields,
        [("description", "added"), ("data[0].KEY", "changed")]
    );
    let json = serde_json::to_string(&found).unwrap();
    assert!(
        !json.contains("first value") && !json.contains("second value"),
        "{json}"
    );
    let error = f
        .vault
        .compare_versions(&f.me, secret.id, 1, 1)
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Invalid(_)),
        "from must be greater: {error:?}"
    );
}

#[tokio::test]
async fn history_is_bounded_and_what_falls_off_is_gone() {
    let options = VaultOptions {
        retained_versions: NonZeroU32::new(3).unwrap(),
        ..Default::default()
    };
    let f = Fixture::with(options, |fields| fields).await;
    let secret = f.secret("a", "1").await;
    for n in 2..=6 {
        f.rewrite(secret.id, &n.to_string()).await;
    }
    let listed = f
        .vault
        .list_versions(&f.me, secret.id, Page::first(10))
        .await
        .unwrap();
    let numbers: Vec<u64> = listed.items.iter().map(|v| v.snapshot.version).collect();
    assert_eq!(numbers, [6, 5, 4]);
}

#[tokio::test]
async fn a_stale_revision_changes_nothing() {
    let f = Fixture::new().await;
    let secret = f.secret("a", "1").await;
    f.rewrite(secret.id, "2").await;
    let error = f
        .vault
        .update_secret(&f.me, secret.id, fields("3"), Some(secret.revision))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Stale));
    let now = f.vault.find_secret(&f.me, secret.id).await.unwrap();
    assert_eq!(now.version, 2);
}

#[tokio::test]
async fn purging_leaves_nothing_and_frees_the_identity() {
    let f = Fixture::new().await;
    let secret = f.secret("a", "1").await;
    f.rewrite(secret.id, "2").await;
    f.vault.purge_secret(&f.me, secret.id, None).await.unwrap();
    assert!(matches!(
        f.vault.find_secret(&f.me, secret.id).await,
        Err(Error::NotFound(_))
    ));
    let attached = f.vault.attached_secrets(f.authorization.id).await.unwrap();
    assert_eq!(attached, []);
    let again = f.secret("a", "3").await;
    assert_ne!(again.id, secret.id);
    assert_eq!(again.version, 1);
}
