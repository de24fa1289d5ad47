//! Timers, overlaps, failures and edits.

use std::sync::Arc;
use std::time::Duration;

use super::Grounds;
use crate::id::SecretId;
use crate::provision::LeaseState;
use crate::secret::{EphemeralCredential, RenewalInterval};
use crate::store::{Page, Store};
use crate::testing::provider::{FakeCall, Fault};
use crate::testing::rotation::World;
use crate::vault::{Error, LeaseEnd, RenewalFields, SecretFields};

async fn set_timer(grounds: &Grounds, id: SecretId, minutes: Option<i64>) {
    let interval = minutes.map(|it| RenewalInterval::from_minutes(it).expect("an interval"));
    let fields = SecretFields {
        renew: RenewalFields {
            ephemeral: Some(interval),
            ..RenewalFields::default()
        },
        ..SecretFields::default()
    };
    let World { vault, me, .. } = &grounds.world;
    let changed = vault.update_secret(me, id, fields, None).await;
    changed.expect("changed");
}

/// A secret is served a new account in each interval, from before its account ends; the accounts of
/// before are in the history and live to their time.
pub async fn the_ephemeral_timer_serves_new_accounts(store: Arc<dyn Store>) {
    let grounds = Grounds::new(store).await;
    let world = &grounds.world;
    let id = grounds.secret("one", &["web", "cloud"]).await;
    set_timer(&grounds, id, Some(30)).await;
    world.wait(26 * 60);
    assert_eq!(world.work().await.promoted, 0, "nothing is due yet");
    let mut promoted = 0;
    for _ in 0..20 * 60 {
        world.wait(10);
        promoted += world.work().await.promoted;
        assert!(grounds.logs_in(id).await);
    }
    let due = 200 / 30;
    assert!(
        (due..=due + 2).contains(&promoted),
        "{promoted} in 200 minutes"
    );
    let version = world.find(id).await.version;
    assert_eq!(version, 2 + promoted as u64, "made, timer set, served");
    let last = world.vault.reveal_version(&world.me, id, version - 1).await;
    let last = last.expect("the version of before");
    assert!(
        last.iter().all(|map| grounds.accepts(map)),
        "it lives to its time"
    );
    let live = grounds.leases(Some(true)).await.len();
    assert!((4..=6).contains(&live), "{live} live of an hour");
    set_timer(&grounds, id, None).await;
    grounds.end_everything().await;
    grounds.check_end("after the timer was turned off").await;
}

/// For a leak, or a shorter overlap: the account of before does not live to its time.
pub async fn an_overlap_ends_the_account_of_before(store: Arc<dyn Store>) {
    let grounds = Grounds::new(store).await;
    let world = &grounds.world;
    let id = grounds.secret("one", &["web"]).await;
    grounds.rotate(id).await;
    for (overlap, wait) in [(300, 300), (0, 0)] {
        let before = grounds.leases(Some(true)).await.remove(0);
        let overlap = Some(Duration::from_secs(overlap));
        let rotated = world.vault.rotate_secret(&world.me, id, overlap).await;
        rotated.expect("provisioned");
        if wait > 0 {
            world.wait(wait - 1);
            world.work().await;
            assert_eq!(
                grounds.lease(before.id).await.progress.state,
                LeaseState::Active
            );
            world.wait(1);
        }
        world.work().await;
        let before = grounds.lease(before.id).await;
        assert_eq!(before.progress.state, LeaseState::Ended);
        assert_eq!(before.end, Some(LeaseEnd::Replaced));
        assert!(grounds.logs_in(id).await);
        assert_eq!(world.target.account_names().len(), 1);
    }
}

/// A target that fails leaves what is served as it is; each failure is told in its own words, waited
/// for ever longer, and what was made is removed.
pub async fn a_failed_provision_leaves_what_is_served(store: Arc<dyn Store>) {
    let grounds = Grounds::new(store).await;
    let world = &grounds.world;
    let id = grounds.secret("one", &["web"]).await;
    grounds.rotate(id).await;
    let version = world.find(id).await.version;
    for (call, fault, kind, step) in [
        (
            FakeCall::CreateAccount,
            Fault::Refuses("policy: the password is too short".to_owned()),
            "refused",
            "create account",
        ),
        (
            FakeCall::CreateAccount,
            Fault::Down,
            "unavailable",
            "create account",
        ),
        (
            FakeCall::CreateAccount,
            Fault::ForgetsAfter,
            "outcome_unknown",
            "create account",
        ),
        (FakeCall::LogIn, Fault::Nonsense, "unavailable", "log in"),
    ] {
        let context = format!("{call:?} {fault:?}");
        world
            .target
            .fault_when(move |this| (this == call).then(|| fault.clone()));
        let error = world.vault.rotate_secret(&world.me, id, None).await;
        let error = error.expect_err("a failure");
        let refused = kind == "refused";
        assert_eq!(
            matches!(error, Error::Conflict(_)),
            refused,
            "{context}: {error}"
        );
        assert_eq!(
            matches!(error, Error::Unavailable { .. }),
            !refused,
            "{context}: {error}"
        );
        world.target.heal();
        let page = Page::first(1);
        let errors = world.vault.list_secret_errors(&world.me, id, page).await;
        let newest = errors.expect("a history").items.remove(0);
        assert_eq!(newest.kind.as_deref(), Some(kind), "{context}");
        assert_eq!(newest.step.as_deref(), Some(step), "{context}");
        assert_eq!(world.find(id).await.version, version, "{context}");
        assert!(grounds.logs_in(id).await, "{context}");
        // One that may still be made is removed once it cannot be any more.
        let unknown = kind == "outcome_unknown";
        world.wait(if unknown { 90 } else { 0 });
        world.work().await;
        assert_eq!(world.target.account_names().len(), 1, "{context}");
    }
    // The timer comes again by itself.
    set_timer(&grounds, id, Some(10)).await;
    world
        .target
        .fault_when(|call| (call == FakeCall::CreateAccount).then_some(Fault::Down));
    world.wait(601);
    assert_eq!(world.work().await.failed, 1);
    world.target.heal();
    world.wait(60);
    assert_eq!(world.work().await.promoted, 1);
    assert!(grounds.logs_in(id).await);
}

/// New labels, and an older version restored, leave the account that is served now.
pub async fn an_edit_and_a_restore_keep_the_account(store: Arc<dyn Store>) {
    let grounds = Grounds::new(store).await;
    let World { vault, me, .. } = &grounds.world;
    let id = grounds.secret("one", &["web"]).await;
    grounds.rotate(id).await;
    let mut item = EphemeralCredential {
        profile: "web".to_owned(),
        ..EphemeralCredential::default()
    };
    item.credential.labels.password = Some("DB_PASS".to_owned());
    let mut fields = SecretFields::default();
    fields.data.ephemeral_credentials = Some(vec![item]);
    let edited = vault
        .update_secret(me, id, fields, None)
        .await
        .expect("edited");
    assert_eq!(edited.version, 3);
    let served = grounds.served(id).await.remove(0);
    let text = |map: &crate::secret::OutputMap, name| {
        map.value(name)
            .and_then(|value| value.expose())
            .map(str::to_owned)
    };
    let (user, password) = (text(&served, "username"), text(&served, "DB_PASS"));
    let accepts = |user: &Option<String>, password: &Option<String>| {
        let target = &grounds.world.target;
        target.accepts(
            user.as_deref().expect("a user"),
            password.as_deref().expect("one"),
        )
    };
    assert!(accepts(&user, &password));
    grounds.rotate(id).await;
    vault.restore_version(me, id, 2).await.expect("restored");
    let restored = grounds.served(id).await.remove(0);
    let now = (text(&restored, "username"), text(&restored, "password"));
    assert_ne!(now.0, user, "not the account of that version");
    assert!(
        accepts(&now.0, &now.1),
        "the labels of then, the account of now"
    );
}
