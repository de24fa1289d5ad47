//! What targets can be: in use, switched off, out of their admin's hands, slow; and secrets with
//! several accounts on one.

use std::sync::Arc;
use std::time::Duration;

use super::{Style, World};
use crate::id::{SecretId, TargetId};
use crate::provider::{CALL_SECONDS, Login, Proof};
use crate::renewal::{Settle, Stage, State};
use crate::secret::{Credential, DataPatch, Managed, OutputValue, SecretData};
use crate::store::{Page, Store};
use crate::testing::provider::{FakeCall, FakeTarget, Fault};
use crate::vault::{Error, NewAdmin, SecretFields, TargetFields};

async fn target_id(world: &World) -> TargetId {
    let page = Page::first(1);
    let targets = world.vault.list_targets(&world.me, page).await;
    targets.expect("targets").items[0].id
}

async fn change(world: &World, fields: TargetFields) {
    let id = target_id(world).await;
    let changed = world.vault.update_target(&world.me, id, fields, None).await;
    changed.expect("changed");
}

async fn ask(world: &World, id: SecretId) {
    let asked = world.vault.rotate_secret(&world.me, id, None).await;
    asked.expect("asked");
}

async fn newest_error(world: &World, id: SecretId) -> crate::secret::SecretError {
    let page = Page::first(1);
    let errors = world.vault.list_secret_errors(&world.me, id, page).await;
    errors.expect("a history").items.remove(0)
}

/// A target stays while a secret refers to it.
pub async fn a_target_in_use_is_not_deleted(store: Arc<dyn Store>) {
    let world = World::new(store, Style::InPlace).await;
    let id = world.secret("one", Style::InPlace).await;
    let target = target_id(&world).await;
    let delete = || world.vault.delete_target(&world.me, target, None);
    let refused = delete().await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    let found = world.vault.find_target(&world.me, target).await;
    assert!(found.expect("it is there").enabled);
    let purged = world.vault.purge_secret(&world.me, id, None).await;
    purged.expect("purged");
    delete().await.expect("nothing refers to it");
    let gone = world.vault.find_target(&world.me, target).await;
    assert!(matches!(gone, Err(Error::NotFound(_))), "{gone:?}");
}

/// Nothing is done on a target that is switched off, and what is due there waits.
pub async fn a_disabled_target_is_left_alone(store: Arc<dyn Store>) {
    let world = World::new(store, Style::Pair).await;
    let id = world.secret("one", Style::Pair).await;
    let enabled = |enabled| TargetFields {
        enabled: Some(enabled),
        ..TargetFields::default()
    };
    change(&world, enabled(false)).await;
    ask(&world, id).await;
    for _ in 0..10 {
        world.work().await;
        world.wait(3_700);
    }
    assert_eq!(world.target.all_calls(), 0);
    let attempt = world.attempt(id).await;
    assert_eq!(attempt.progress.state, State::RetryWait(Stage::Plan));
    let error = newest_error(&world, id).await;
    assert_eq!(error.kind.as_deref(), Some("unavailable"));
    assert_eq!(error.message, "the target is disabled");
    assert!(error.next_try_at.is_some() && world.logs_in(id).await);
    change(&world, enabled(true)).await;
    world.finish(id).await;
    assert_eq!(world.find(id).await.version, 2);
    assert!(world.logs_in(id).await);
}

/// Where the admin credential is not good any more an operator is called, and once it is put right
/// the rotation goes on.
pub async fn an_admin_that_lost_its_rights_ends_at_an_operator(store: Arc<dyn Store>) {
    let world = World::new(store, Style::InPlace).await;
    let id = world.secret("one", Style::InPlace).await;
    let admin = |password: &str| TargetFields {
        admin: Some(NewAdmin::Own(Login {
            user: "admin".to_owned(),
            proof: Proof::Password(password.into()),
        })),
        ..TargetFields::default()
    };
    change(&world, admin("not-the-password-any-more")).await;
    ask(&world, id).await;
    for _ in 0..10 {
        world.work().await;
        world.wait(3_700);
    }
    let attempt = world.attempt(id).await;
    assert_eq!(attempt.progress.state, State::NeedsOperator(Stage::Change));
    let secret = world.find(id).await;
    let waits = world.vault.needs_operator(&secret).await;
    assert!(waits.expect("an answer") && secret.has_error);
    let error = newest_error(&world, id).await;
    assert_eq!(error.kind.as_deref(), Some("needs_operator"));
    assert_eq!(error.message, "wrong admin credential");
    assert!(secret.version == 1 && world.logs_in(id).await);
    let Proof::Password(good) = FakeTarget::target().admin.proof else {
        panic!("the fake has a password");
    };
    change(&world, admin(good.expose())).await;
    let settled = world
        .vault
        .settle_attempt(&world.me, id, attempt.id, Settle::Retry)
        .await;
    settled.expect("settled");
    world.finish(id).await;
    let secret = world.find(id).await;
    let waits = world.vault.needs_operator(&secret).await;
    assert!(!waits.expect("an answer") && secret.version == 2);
    assert!(world.logs_in(id).await);
}

/// A target that does not answer is given up on, its lease kept all the while, and what became of the
/// call is found out. For a runtime whose time is paused.
pub async fn a_slow_target_is_given_up_on(store: Arc<dyn Store>) {
    let world = World::new(store, Style::InPlace).await;
    let other = world.another().await;
    let id = world.secret("one", Style::InPlace).await;
    ask(&world, id).await;
    let minute = Duration::from_mins(1);
    world
        .target
        .fault_when(move |call| (call == FakeCall::ChangePassword).then_some(Fault::Slow(minute)));
    let since = tokio::time::Instant::now();
    let meanwhile = async {
        for _ in 0..CALL_SECONDS {
            tokio::time::sleep(Duration::from_secs(1)).await;
            world.wait(1);
            let renewed = other.renew(64).await.expect("a round");
            assert_eq!(renewed.total(), 0, "the lease is kept");
        }
    };
    let (renewed, ()) = tokio::join!(world.work(), meanwhile);
    assert_eq!(renewed.failed, 1);
    // Once more after the probe that follows an unknown outcome.
    let calls = Duration::from_secs(2 * CALL_SECONDS);
    assert!(since.elapsed() >= calls && since.elapsed() < minute);
    let error = newest_error(&world, id).await;
    assert_eq!(error.kind.as_deref(), Some("outcome_unknown"));
    assert!(world.logs_in(id).await);
    world.target.heal();
    world.finish(id).await;
    assert_eq!(world.find(id).await.version, 2);
    assert!(world.logs_in(id).await);
    other.close().await;
}

/// Every managed item of a secret is rotated, one after the other, and the others stay.
pub async fn several_items_of_a_secret_are_rotated_each(store: Arc<dyn Store>) {
    let world = World::new(store, Style::InPlace).await;
    let accounts = ["first", "second", "third"];
    let mut data = SecretData::default();
    for account in accounts {
        world.target.add_account(account, "the-first-password");
        data.credentials.push(Credential {
            user: Some(account.to_owned()),
            password: Some("the-first-password".into()),
            managed: Some(Managed {
                target: "db".to_owned(),
                pair_user: None,
                user: None,
            }),
            ..Credential::default()
        });
    }
    data.credentials.push(Credential {
        user: Some("unmanaged".to_owned()),
        password: Some("stays".into()),
        ..Credential::default()
    });
    let fields = SecretFields::new("several", data);
    let made = world.vault.create_secret(&world.me, "several", fields);
    let id = made.await.expect("a secret").id;
    let asked = world.vault.rotate_secret(&world.me, id, None).await;
    assert_eq!(asked.expect("asked").len(), accounts.len());
    let mut promoted = 0;
    for _ in 0..accounts.len() {
        promoted += world.work().await.promoted;
    }
    assert_eq!(promoted, accounts.len());
    assert_eq!(world.find(id).await.version, 4, "a version for each");
    let served = world.vault.reveal_version(&world.me, id, 4).await;
    for map in served.expect("values") {
        let text = |name| map.value(name).and_then(OutputValue::expose);
        let (user, password) = (text("username"), text("password"));
        match user.expect("a user") {
            "unmanaged" => assert_eq!(password, Some("stays")),
            user => {
                let password = password.expect("a password");
                assert_ne!(password, "the-first-password", "{user}");
                assert!(world.target.accepts(user, password), "{user}");
            }
        }
    }
}

/// Nobody replaces a credential while it is being changed on the target.
pub async fn an_item_is_not_replaced_while_it_is_rotated(store: Arc<dyn Store>) {
    let world = World::new(store, Style::InPlace).await;
    let id = world.secret("one", Style::InPlace).await;
    ask(&world, id).await;
    world
        .target
        .fault_when(|call| (call == FakeCall::ChangePassword).then_some(Fault::Down));
    world.work().await;
    let replace = || {
        let fields = SecretFields {
            data: DataPatch {
                credentials: Some(Vec::new()),
                ..DataPatch::default()
            },
            ..SecretFields::default()
        };
        world.vault.update_secret(&world.me, id, fields, None)
    };
    let refused = replace().await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    let secret = world.find(id).await;
    assert!(secret.version == 1 && world.logs_in(id).await);
    world.target.heal();
    world.finish(id).await;
    replace().await.expect("nothing is under way");
    assert!(world.find(id).await.managed.is_empty());
}
