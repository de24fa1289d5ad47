//! How leases end.

use std::sync::Arc;

use super::Grounds;
use crate::audit::{AuditQuery, Operation};
use crate::provider::{Accounts as _, NewAccount};
use crate::provision::LeaseState;
use crate::renewal::MAX_REFUSALS;
use crate::secret::SecretText;
use crate::store::{ChangeSet, Kind, Page, RecordKey, Store};
use crate::testing::provider::{FakeCall, FakeTarget, Fault};
use crate::vault::LeaseEnd;

/// An account lives for as long as its lease says, and not longer; what was served stays in the
/// history.
pub async fn a_lease_ends_at_its_time(store: Arc<dyn Store>) {
    let grounds = Grounds::new(store).await;
    let world = &grounds.world;
    let id = grounds.secret("one", &["web", "cloud"]).await;
    assert_eq!(world.find(id).await.version, 1);
    grounds.rotate(id).await;
    assert_eq!(world.find(id).await.version, 2);
    let served = grounds.served(id).await;
    let host = served[0].value("hostname").and_then(|value| value.expose());
    assert_eq!(host, Some("here"));
    let ttl = served[1].value("TTL").and_then(|value| value.expose());
    assert_eq!(ttl, Some("3600"));
    let leases = grounds.leases(None).await;
    assert_eq!(leases.len(), 2);
    for lease in &leases {
        assert_eq!(lease.progress.state, LeaseState::Active);
        assert_eq!(
            (lease.content.expires_at - lease.created_at).num_seconds(),
            3_600
        );
        let prefix = format!("{}_", lease.profile);
        assert!(lease.account.starts_with(&prefix), "{}", lease.account);
    }
    world.wait(3_599);
    assert_eq!(world.work().await.over, 0);
    assert!(grounds.logs_in(id).await, "it lives");
    world.wait(1);
    assert_eq!(world.work().await.over, 2);
    assert!(!grounds.logs_in(id).await);
    grounds.check_end("at its time").await;
    assert!(grounds.leases(Some(true)).await.is_empty());
    assert_eq!(
        grounds.lease(leases[0].id).await.end,
        None,
        "its time was over"
    );
    // A month later nothing is known of them but the history.
    world.clock.advance(chrono::TimeDelta::days(31));
    while world.vault.sweep(100).await.expect("swept").swept > 0 {}
    assert!(grounds.leases(None).await.is_empty());
    assert_eq!(grounds.served(id).await[0], served[0]);
}

/// An account that somebody removed on the target is removed.
pub async fn what_is_gone_already_counts_as_removed(store: Arc<dyn Store>) {
    let grounds = Grounds::new(store).await;
    let world = &grounds.world;
    let id = grounds.secret("one", &["web"]).await;
    grounds.rotate(id).await;
    let lease = grounds.leases(None).await.remove(0);
    let target = FakeTarget::target();
    let dropped = world.target.drop_account(&target, &lease.account, None);
    dropped.await.expect("dropped");
    let revoked = world.vault.revoke_lease(&world.me, lease.id).await;
    revoked.expect("asked");
    assert_eq!(world.work().await.over, 1);
    let lease = grounds.lease(lease.id).await;
    assert_eq!(lease.progress.state, LeaseState::Ended);
    assert_eq!(lease.end, Some(LeaseEnd::Asked));
    // Asked again it stays over.
    let again = world.vault.revoke_lease(&world.me, lease.id).await;
    again.expect("asked");
    assert_eq!(world.work().await.total(), 0);
}

/// A target that is down keeps its accounts until it is back, however long that takes.
pub async fn what_cannot_be_reached_is_removed_later(store: Arc<dyn Store>) {
    let grounds = Grounds::new(store).await;
    let world = &grounds.world;
    let id = grounds.secret("one", &["web"]).await;
    grounds.rotate(id).await;
    let lease = grounds.leases(None).await.remove(0);
    world
        .target
        .fault_when(|call| (call == FakeCall::DropAccount).then_some(Fault::Down));
    for _ in 0..30 {
        world.wait(3_700);
        world.work().await;
    }
    let waiting = grounds.lease(lease.id).await;
    assert_eq!(waiting.progress.state, LeaseState::Ending);
    assert!(waiting.progress.failures >= 20, "{:?}", waiting.progress);
    assert!(waiting.try_at.is_some());
    assert!(world.find(id).await.has_error);
    world.target.heal();
    world.wait(3_700);
    world.work().await;
    grounds.check_end("after the target came back").await;
}

/// What a target refuses is tried five times, is in the history of the secret, and goes on when an
/// operator asks.
pub async fn a_removal_that_is_refused_calls_an_operator(store: Arc<dyn Store>) {
    let grounds = Grounds::new(store).await;
    let world = &grounds.world;
    let id = grounds.secret("one", &["web"]).await;
    grounds.rotate(id).await;
    let before = world.target.calls(FakeCall::DropAccount);
    let words = "`admin-password-of-the-fake` may not drop accounts";
    world.target.fault_when(move |call| {
        (call == FakeCall::DropAccount).then(|| Fault::Refuses(words.to_owned()))
    });
    for _ in 0..MAX_REFUSALS + 5 {
        world.wait(3_700);
        world.work().await;
    }
    let refused = world.target.calls(FakeCall::DropAccount) - before;
    assert_eq!(refused, u64::from(MAX_REFUSALS), "and no more");
    let lease = grounds.leases(Some(true)).await.remove(0);
    assert_eq!(lease.progress.state, LeaseState::NeedsOperator);
    assert_eq!(lease.tried.len(), MAX_REFUSALS as usize);
    let page = Page::first(20);
    let errors = world.vault.list_secret_errors(&world.me, id, page).await;
    let errors = errors.expect("a history").items;
    assert_eq!(errors[0].kind.as_deref(), Some("needs_operator"));
    assert_eq!(errors[1].kind.as_deref(), Some("refused"));
    assert!(
        !errors[0].message.contains("admin-password"),
        "{}",
        errors[0].message
    );
    world.target.heal();
    world.wait(3_700);
    world.work().await;
    assert_eq!(
        grounds.leases(Some(true)).await.len(),
        1,
        "it waits for somebody"
    );
    let revoked = world.vault.revoke_lease(&world.me, lease.id).await;
    revoked.expect("asked");
    world.work().await;
    grounds.check_end("after an operator asked").await;
}

/// An account of a profile that no lease knows is removed and recorded; those of others are left.
pub async fn leftovers_are_found_recorded_and_removed(store: Arc<dyn Store>) {
    let grounds = Grounds::new(store).await;
    let world = &grounds.world;
    let id = grounds.secret("one", &["web", "web", "cloud"]).await;
    grounds.rotate(id).await;
    let leases = grounds.leases(None).await;
    // As after a restore of an older backup: nobody knows two of the accounts any more.
    for lease in leases.iter().filter(|lease| lease.profile == "web") {
        let key = RecordKey::new(Kind(24), lease.id);
        let set = ChangeSet::default().delete(key, lease.revision);
        grounds.store.commit(set).await.expect("deleted");
    }
    let others = ["web_admin", "web_0123456abcdef", "cloud", "someone"];
    let password = SecretText::new("no-password-of-anybody-1");
    for name in others {
        let account = NewAccount {
            name,
            password: Some(&password),
            roles: &[],
            expires_at: None,
            template: None,
        };
        let target = FakeTarget::target();
        let made = world.target.create_account(&target, &account);
        made.await.expect("made");
    }
    assert_eq!(world.target.account_names().len(), 7);
    world.wait(601);
    world.work().await;
    let known = leases.iter().find(|lease| lease.profile == "cloud");
    let mut left: Vec<&str> = others.to_vec();
    left.push(&known.expect("one of the cloud").account);
    left.sort_unstable();
    assert_eq!(world.target.account_names(), left);
    let query = AuditQuery {
        operation: Some(Operation::RemoveLeftover),
        ..AuditQuery::newest(10)
    };
    let found = world.vault.search_audit(&world.me, &query).await;
    let found = found.expect("the trail");
    assert_eq!(found.found.len(), 2);
    // Again and again, for as long as there are profiles.
    world.wait(601);
    world.work().await;
    assert_eq!(world.target.account_names(), left);
}
