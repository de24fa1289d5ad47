use chrono::TimeDelta;
use dsm_core::access::Rule;
use dsm_core::secret::Status;
use dsm_core::store::Page;
use dsm_core::time::Clock as _;
use dsm_core::vault::{Error, SecretFields, Worked};

use super::fixture::{Fixture, fields, identity};

async fn expiring(f: &Fixture) -> dsm_core::id::SecretId {
    let secret = f.secret("a", "1").await;
    f.rewrite(secret.id, "2").await;
    let at = f.clock.now() + TimeDelta::seconds(60);
    let fields = SecretFields {
        expires_at: Some(Some(at)),
        ..Default::default()
    };
    f.vault
        .update_secret(&f.me, secret.id, fields, None)
        .await
        .unwrap();
    secret.id
}

#[tokio::test]
async fn an_expired_secret_is_refused_before_any_sweeper_ran() {
    let f = Fixture::new().await;
    let id = expiring(&f).await;
    let client = f.principal().await;
    f.clock.advance(TimeDelta::seconds(59));
    f.vault.read_secret(&client, &identity("a")).await.unwrap();
    f.clock.advance(TimeDelta::seconds(1));
    let error = f
        .vault
        .read_secret(&client, &identity("a"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Denied(d) if d.rule() == Rule::SecretExpired),
        "{error:?}"
    );
    assert!(matches!(
        f.vault.reveal_version(&f.me, id, 1).await,
        Err(Error::Gone)
    ));
}

#[tokio::test]
async fn the_worker_destroys_values_in_every_version_and_keeps_the_rest() {
    let f = Fixture::new().await;
    let id = expiring(&f).await;
    assert_eq!(
        f.vault.work(10).await.unwrap(),
        Worked::default(),
        "not due yet"
    );
    f.clock.advance(TimeDelta::seconds(60));
    assert_eq!(f.vault.work(10).await.unwrap().expired, 1);
    assert_eq!(
        f.vault.work(10).await.unwrap(),
        Worked::default(),
        "done once"
    );
    let secret = f.vault.find_secret(&f.me, id).await.unwrap();
    assert_eq!(secret.status(f.clock.now()), Status::Expired);
    assert!(secret.destroyed_at.is_some());
    let versions = f
        .vault
        .list_versions(&f.me, id, Page::first(10))
        .await
        .unwrap();
    assert_eq!(versions.items.len(), 3);
    assert!(
        versions
            .items
            .iter()
            .all(|v| v.snapshot.destroyed_at.is_some())
    );
    // Even a clock that goes back brings nothing back.
    f.clock.advance(TimeDelta::seconds(-120));
    assert!(matches!(
        f.vault.reveal_version(&f.me, id, 1).await,
        Err(Error::Gone)
    ));
    assert!(matches!(
        f.vault.restore_version(&f.me, id, 1).await,
        Err(Error::Gone)
    ));
    let error = f
        .vault
        .update_secret(&f.me, id, fields("3"), None)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "{error:?}");
}

#[tokio::test]
async fn an_expiry_that_is_moved_or_lifted_is_not_acted_on_early() {
    let f = Fixture::new().await;
    let id = expiring(&f).await;
    let later = f.clock.now() + TimeDelta::seconds(120);
    let fields = SecretFields {
        expires_at: Some(Some(later)),
        ..Default::default()
    };
    f.vault
        .update_secret(&f.me, id, fields, None)
        .await
        .unwrap();
    f.clock.advance(TimeDelta::seconds(60));
    assert_eq!(f.vault.work(10).await.unwrap(), Worked::default());
    let fields = SecretFields {
        expires_at: Some(None),
        ..Default::default()
    };
    f.vault
        .update_secret(&f.me, id, fields, None)
        .await
        .unwrap();
    f.clock.advance(TimeDelta::seconds(600));
    assert_eq!(f.vault.work(10).await.unwrap(), Worked::default());
    f.vault
        .read_secret(&f.principal().await, &identity("a"))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_expiry_in_the_past_is_refused_by_name() {
    let f = Fixture::new().await;
    let at = f.clock.now();
    let fields = SecretFields {
        expires_at: Some(Some(at)),
        ..fields("1")
    };
    let error = f.vault.create_secret(&f.me, "a", fields).await.unwrap_err();
    assert_eq!(error.to_string(), "expires_at: must lie in the future");
}

#[tokio::test]
async fn expiring_by_hand_destroys_at_once() {
    let f = Fixture::new().await;
    let secret = f.secret("a", "1").await;
    let expired = f.vault.expire_secret(&f.me, secret.id).await.unwrap();
    assert_eq!(expired.status(f.clock.now()), Status::Expired);
    assert!(matches!(
        f.vault.reveal_version(&f.me, secret.id, 1).await,
        Err(Error::Gone)
    ));
}

#[tokio::test]
async fn tokens_that_ended_are_swept() {
    let f = Fixture::new().await;
    f.principal().await;
    f.principal().await;
    assert_eq!(f.vault.sweep(10).await.unwrap().swept, 0);
    f.clock.advance(TimeDelta::hours(1));
    assert_eq!(f.vault.sweep(10).await.unwrap().swept, 2);
    assert_eq!(f.vault.sweep(10).await.unwrap().swept, 0);
}
