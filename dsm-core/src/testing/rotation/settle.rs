//! Targets that fail, and operators who settle it.

use std::sync::Arc;

use super::{Style, World};
use crate::id::SecretId;
use crate::renewal::{MAX_REFUSALS, Settle, Stage, State};
use crate::secret::SecretError;
use crate::store::{Page, Store};
use crate::testing::provider::{FakeCall, Fault};
use crate::vault::Error;

async fn ask(world: &World, id: SecretId) {
    let asked = world.vault.rotate_secret(&world.me, id, None).await;
    asked.expect("asked");
}

async fn history(world: &World, id: SecretId) -> Vec<SecretError> {
    let page = Page::first(50);
    let errors = world.vault.list_secret_errors(&world.me, id, page).await;
    errors.expect("a history").items
}

async fn settle(world: &World, id: SecretId, how: Settle) {
    let attempt = world.attempt(id).await;
    let settled = world
        .vault
        .settle_attempt(&world.me, id, attempt.id, how)
        .await;
    settled.expect("settled");
    world.work().await;
}

/// Refusals are counted, told without values, and end at an operator; the current credential works.
pub async fn a_refused_password_ends_at_an_operator(store: Arc<dyn Store>) {
    let world = World::new(store, Style::InPlace).await;
    let id = world.secret("one", Style::InPlace).await;
    ask(&world, id).await;
    let words = "policy: `first-password-of-one` is too like `admin-password-of-the-fake`";
    world.target.fault_when(move |call| {
        (call == FakeCall::ChangePassword).then(|| Fault::Refuses(words.to_owned()))
    });
    for _ in 0..MAX_REFUSALS + 3 {
        world.work().await;
        world.wait(3_700);
        assert!(world.logs_in(id).await);
    }
    let refusals = u64::from(MAX_REFUSALS);
    assert_eq!(
        world.target.calls(FakeCall::ChangePassword),
        refusals,
        "and no more"
    );
    let attempt = world.attempt(id).await;
    assert_eq!(attempt.progress.state, State::NeedsOperator(Stage::Change));
    assert_eq!(attempt.tried.len(), MAX_REFUSALS as usize);
    let secret = world.find(id).await;
    assert!(secret.has_error && secret.version == 1);
    let history = history(&world, id).await;
    assert_eq!(history.len(), MAX_REFUSALS as usize);
    assert_eq!(history[0].kind.as_deref(), Some("needs_operator"));
    assert_eq!(history[0].next_try_at, None);
    assert_eq!(history[1].kind.as_deref(), Some("refused"));
    assert_eq!(history[1].step.as_deref(), Some("change"));
    assert!(history[1].next_try_at.is_some());
    assert!(
        history[0].message.starts_with("policy: `"),
        "{}",
        history[0].message
    );
    for value in ["admin-password", "first-password"] {
        assert!(
            !history[0].message.contains(value),
            "{}",
            history[0].message
        );
    }
    world.target.heal();
    settle(&world, id, Settle::Retry).await;
    world.finish(id).await;
    assert_eq!(world.find(id).await.version, 2);
    assert!(world.logs_in(id).await);
    let over = world.attempt(id).await;
    let again = world
        .vault
        .settle_attempt(&world.me, id, over.id, Settle::Retry)
        .await;
    assert!(matches!(again, Err(Error::Conflict(_))), "{again:?}");
}

/// What is down is waited for, ever longer, and goes on where it was.
pub async fn a_target_that_is_down_is_waited_for(store: Arc<dyn Store>) {
    let world = World::new(store, Style::Pair).await;
    let id = world.secret("one", Style::Pair).await;
    ask(&world, id).await;
    world.target.fault_when(|_| Some(Fault::Down));
    for _ in 0..20 {
        world.work().await;
        world.wait(3_700);
    }
    let attempt = world.attempt(id).await;
    assert_eq!(attempt.progress.state, State::RetryWait(Stage::Change));
    assert_eq!(attempt.progress.failures, 20);
    assert_eq!(
        history(&world, id).await[0].kind.as_deref(),
        Some("unavailable")
    );
    assert!(world.logs_in(id).await);
    world.target.heal();
    world.finish(id).await;
    assert_eq!(world.find(id).await.version, 2);
    assert!(world.logs_in(id).await);
}

/// An operator says that the current credential stays: it has to log in for that, and what the
/// target has of the candidate is removed.
pub async fn an_operator_keeps_the_current_credential(store: Arc<dyn Store>) {
    let world = World::new(store, Style::Issued).await;
    let id = world.secret("one", Style::Issued).await;
    let accounts = world.target.account_names();
    ask(&world, id).await;
    world.target.fault_when(|call| {
        (call == FakeCall::LogIn).then(|| Fault::Refuses("the key is not good".to_owned()))
    });
    for _ in 0..=MAX_REFUSALS {
        world.work().await;
        world.wait(3_700);
    }
    let state = world.attempt(id).await.progress.state;
    assert_eq!(state, State::NeedsOperator(Stage::Change));
    settle(&world, id, Settle::AcceptCurrent).await;
    let state = world.attempt(id).await.progress.state;
    assert_eq!(
        state,
        State::NeedsOperator(Stage::Change),
        "it does not log in"
    );
    world.target.heal();
    settle(&world, id, Settle::AcceptCurrent).await;
    assert_eq!(world.attempt(id).await.progress.state, State::Withdrawn);
    assert_eq!(world.find(id).await.version, 1);
    world.check_end(id, &accounts, "withdrawn").await;
    ask(&world, id).await;
    world.finish(id).await;
    assert_eq!(world.find(id).await.version, 2);
    world.check_end(id, &accounts, "rotated after all").await;
}

/// Somebody changed the password on the target: nothing is thrown away, and what is put right there
/// is found.
pub async fn what_nobody_accepts_is_not_thrown_away(store: Arc<dyn Store>) {
    let world = World::new(store, Style::InPlace).await;
    let id = world.secret("one", Style::InPlace).await;
    ask(&world, id).await;
    world
        .target
        .fault_when(|call| (call == FakeCall::ChangePassword).then_some(Fault::Down));
    world.work().await;
    world.target.heal();
    world
        .target
        .add_account("one_a", "changed-by-somebody-else");
    world.wait(3_700);
    world.work().await;
    let state = world.attempt(id).await.progress.state;
    assert_eq!(state, State::NeedsOperator(Stage::Change));
    settle(&world, id, Settle::AcceptCandidate).await;
    assert_eq!(
        world.find(id).await.version,
        1,
        "what does not log in is not promoted"
    );
    world.target.add_account("one_a", "first-password-of-one");
    settle(&world, id, Settle::Retry).await;
    world.finish(id).await;
    assert_eq!(world.find(id).await.version, 2);
    assert!(world.logs_in(id).await);
}
