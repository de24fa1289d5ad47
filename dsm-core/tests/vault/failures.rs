//! What happens when the store or the trail fails in the middle.

use std::sync::Arc;

use dsm_core::access::Origin;
use dsm_core::audit::{AuditQuery, Operation, Outcome};
use dsm_core::store::{MemoryStore, Store};
use dsm_core::testing::{FaultyStore, StoreCall};
use dsm_core::vault::{AuthorizationFields, Error, VaultOptions};

use super::fixture::{Fixture, fields, identity};

async fn faulty() -> (Fixture, Arc<FaultyStore>) {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::default())));
    let f = Fixture::over(store.clone(), VaultOptions::default(), |fields| fields).await;
    (f, store)
}

#[tokio::test]
async fn nothing_is_revealed_or_changed_without_its_record() {
    let (f, store) = faulty().await;
    let secret = f.secret("a", "1").await;
    let client = f.principal().await;
    store.fail_when(|call| call == StoreCall::AppendLog);
    let results = [
        f.vault.read_secret(&client, &identity("a")).await.map(drop),
        f.vault.read_secrets(&client).await.map(drop),
        f.vault.read_application(&client).await.map(drop),
        f.vault.reveal_version(&f.me, secret.id, 1).await.map(drop),
        f.vault
            .reveal_credentials(&f.me, f.authorization.id)
            .await
            .map(drop),
        f.vault
            .write_secret(&client, &identity("b"), fields("2"))
            .await
            .map(drop),
        f.vault
            .update_secret(&f.me, secret.id, fields("2"), None)
            .await
            .map(drop),
        f.vault
            .compare_versions(&f.me, secret.id, 2, 1)
            .await
            .map(drop),
        f.vault
            .read_secret(&client, &identity("absent"))
            .await
            .map(drop),
        f.vault
            .principal("dsm_at_nonsense", Origin::default())
            .await
            .map(drop),
    ];
    for (index, result) in results.into_iter().enumerate() {
        // Comparing a version that is not there fails before anything is recorded.
        if index != 7 {
            assert!(
                matches!(result, Err(Error::Unavailable { .. })),
                "{index}: {result:?}"
            );
        }
    }
    store.heal();
    let now = f.vault.find_secret(&f.me, secret.id).await.unwrap();
    assert_eq!(now.version, 1);
    f.vault.read_secret(&client, &identity("a")).await.unwrap();
    assert!(f.vault.read_secret(&client, &identity("b")).await.is_err());
}

#[tokio::test]
async fn a_commit_that_fails_is_recorded_as_failed() {
    let (f, store) = faulty().await;
    store.fail_when(|call| call == StoreCall::Commit);
    let error = f
        .vault
        .create_secret(&f.me, "a", fields("1"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    store.heal();
    let found = f
        .vault
        .search_audit(&f.me, &AuditQuery::newest(10))
        .await
        .unwrap();
    let of_secret: Vec<_> = found
        .found
        .iter()
        .map(|found| &found.event)
        .filter(|e| e.operation == Operation::CreateSecret)
        .map(|e| &e.outcome)
        .collect();
    assert!(
        matches!(of_secret[..], [Outcome::Failed { .. }, Outcome::Allowed]),
        "newest first: {of_secret:?}"
    );
    // Nothing of it is there.
    f.vault
        .create_secret(&f.me, "a", fields("1"))
        .await
        .unwrap();
}

/// The outcomes recorded of creations of secrets, newest first.
async fn creations(f: &Fixture) -> Vec<Outcome> {
    let query = AuditQuery::newest(50);
    let found = f.vault.search_audit(&f.me, &query).await.unwrap().found;
    let events = found.into_iter().map(|found| found.event);
    events
        .filter(|event| event.operation == Operation::CreateSecret)
        .map(|event| event.outcome)
        .collect()
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_resolved() {
    let (f, store) = faulty().await;
    let mut unanswered = 2;
    store.fail_when(move |call| match call {
        StoreCall::Answer => true,
        StoreCall::Resolve if unanswered > 0 => {
            unanswered -= 1;
            true
        }
        _ => false,
    });
    // It took effect, so the caller is told that it did.
    let secret = f.vault.create_secret(&f.me, "a", fields("1")).await;
    let secret = secret.unwrap();
    store.heal();
    f.vault.find_secret(&f.me, secret.id).await.unwrap();
    assert!(matches!(creations(&f).await[..], [Outcome::Allowed]));
}

#[tokio::test(start_paused = true)]
async fn a_caller_does_not_wait_for_an_outcome_for_ever() {
    let (f, store) = faulty().await;
    store.fail_when(|call| matches!(call, StoreCall::Answer | StoreCall::Resolve));
    let waited = tokio::time::Instant::now();
    let error = f.vault.create_secret(&f.me, "a", fields("1")).await;
    assert!(matches!(error, Err(Error::Unavailable { .. })), "{error:?}");
    assert!(waited.elapsed() < std::time::Duration::from_secs(5));
    // Nothing says that it failed, for it did not.
    store.heal();
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    assert!(matches!(creations(&f).await[..], [Outcome::Allowed]));
    let taken = f.vault.create_secret(&f.me, "a", fields("1")).await;
    assert!(matches!(taken, Err(Error::Conflict(_))), "{taken:?}");
}

#[tokio::test]
async fn what_was_decided_on_policy_of_the_past_does_not_take_effect() {
    let (f, _store) = faulty().await;
    let before = f.principal().await;
    let fields_of = AuthorizationFields {
        enabled: Some(false),
        ..AuthorizationFields::default()
    };
    let id = f.authorization.id;
    f.vault
        .update_authorization(&f.me, id, fields_of, None)
        .await
        .unwrap();
    // As if it had been disabled between the decision and the commit.
    let a = identity("a");
    let written = f.vault.write_secret(&before, &a, fields("1")).await;
    assert!(matches!(written, Err(Error::Stale)), "{written:?}");
    assert!(matches!(
        creations(&f).await[..],
        [Outcome::Failed { .. }, Outcome::Allowed]
    ));
}

#[tokio::test]
async fn every_decision_leaves_its_event() {
    let (f, _store) = faulty().await;
    f.secret("a", "1").await;
    let client = f.principal().await;
    f.vault.read_secret(&client, &identity("a")).await.unwrap();
    f.vault
        .read_secret(&client, &identity("absent"))
        .await
        .unwrap_err();
    f.vault
        .principal("dsm_at_nonsense", f.origin())
        .await
        .unwrap_err();
    let found = f
        .vault
        .search_audit(&f.me, &AuditQuery::newest(4))
        .await
        .unwrap();
    let told: Vec<_> = found
        .found
        .iter()
        .map(|found| {
            let event = &found.event;
            let outcome = match &event.outcome {
                Outcome::Allowed => "allowed",
                Outcome::Denied { rule, .. } => rule,
                Outcome::Failed { .. } => "failed",
            };
            (event.operation.as_str(), outcome)
        })
        .collect();
    assert_eq!(
        told,
        [
            ("audit.view", "allowed"),
            ("token.use", "token"),
            ("secret.read", "secret_exists"),
            ("secret.read", "allowed"),
        ]
    );
}

#[tokio::test]
async fn a_store_that_cannot_be_read_gives_no_answer_from_the_cache_after_a_second() {
    let (f, store) = faulty().await;
    f.secret("a", "1").await;
    let client = f.principal().await;
    f.vault.read_secret(&client, &identity("a")).await.unwrap();
    store.fail_when(|call| call == StoreCall::Read);
    f.vault.read_secret(&client, &identity("a")).await.unwrap();
    f.clock.advance(chrono::TimeDelta::seconds(1));
    let error = f
        .vault
        .read_secret(&client, &identity("a"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn what_another_process_writes_is_seen_within_the_staleness() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let options = VaultOptions {
        max_staleness: std::time::Duration::ZERO,
        ..Default::default()
    };
    let f = Fixture::over(store, options, |fields| fields).await;
    let secret = f.secret("a", "1").await;
    let client = f.principal().await;
    f.vault.read_secret(&client, &identity("a")).await.unwrap();
    f.vault
        .disable_secret(&f.me, secret.id, None)
        .await
        .unwrap();
    assert!(f.vault.read_secret(&client, &identity("a")).await.is_err());
}

async fn operations(f: &Fixture, newest: usize) -> Vec<(&'static str, &'static str)> {
    let found = f
        .vault
        .search_audit(&f.me, &AuditQuery::newest(newest + 1))
        .await
        .unwrap();
    let told = found.found.iter().skip(1).map(|found| {
        let outcome = match &found.event.outcome {
            Outcome::Allowed => "allowed",
            Outcome::Denied { .. } => "denied",
            Outcome::Failed { .. } => "failed",
        };
        (found.event.operation.as_str(), outcome)
    });
    told.collect()
}

#[tokio::test]
async fn a_refused_sealing_is_no_read_in_the_trail() {
    let f = Fixture::that_lost_its_key().await;
    f.secret("a", "1").await;
    let client = f.principal().await;
    f.vault
        .read_secret(&client, &identity("a"))
        .await
        .unwrap_err();
    assert_eq!(operations(&f, 1).await, [("secret.read", "failed")]);
    f.vault.read_secrets(&client).await.unwrap_err();
    assert_eq!(operations(&f, 1).await, [("secret.read", "failed")]);
}

#[tokio::test]
async fn what_falls_off_the_history_and_who_attached_what_is_in_the_trail() {
    let one = std::num::NonZeroU32::new(1).unwrap();
    let options = VaultOptions {
        retained_versions: one,
        ..Default::default()
    };
    let f = Fixture::with(options, |fields| fields).await;
    let secret = f
        .vault
        .create_secret(&f.me, "a", fields("1"))
        .await
        .unwrap();
    let listed = AuthorizationFields {
        secrets: Some(vec![secret.id]),
        ..Default::default()
    };
    f.vault
        .update_authorization(&f.me, f.authorization.id, listed, None)
        .await
        .unwrap();
    assert_eq!(
        operations(&f, 2).await,
        [
            ("authorization.attach", "allowed"),
            ("authorization.update", "allowed")
        ]
    );
    f.rewrite(secret.id, "2").await;
    assert_eq!(
        operations(&f, 2).await,
        [
            ("secret.versions.trim", "allowed"),
            ("secret.update", "allowed")
        ]
    );
}
