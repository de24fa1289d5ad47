//! Systems that are down, slow or unwilling: a named error, and a credential that still works.

use std::time::Instant;

use dsm_core::id::SecretId;
use dsm_core::renewal::{Settle, State};

use super::{Style, System, World};

/// The newest error is of this kind, says something, and nothing has changed.
async fn check_unchanged(world: &World<'_>, id: SecretId, kind: &str, context: &str) {
    let history = world.history(id).await;
    let newest = history.first().expect("an error in the history");
    assert_eq!(newest.kind.as_deref(), Some(kind), "{context}: {newest:?}");
    assert!(
        !newest.message.is_empty() && newest.step.is_some(),
        "{newest:?}"
    );
    let secret = world.find(id).await;
    assert!(secret.has_error, "{context}");
    assert_eq!(secret.version, 1, "{context}");
    assert!(world.logs_in(id).await, "{context}");
    println!("{context}: {} while {:?}", newest.message, newest.step);
}

async fn check_rotated(world: &World<'_>, id: SecretId, context: &str) {
    world.finish(id).await;
    assert_eq!(world.find(id).await.version, 2, "{context}");
    assert!(world.logs_in(id).await, "{context}");
}

/// What is down is waited for, and rotated when it is back.
pub(crate) async fn a_system_that_is_down_is_waited_for(system: &dyn System) {
    let world = World::new(system).await;
    for style in system.styles() {
        let context = format!("{} is down, {style:?}", system.name());
        let name = format!("down_{style:?}").to_lowercase();
        let id = world.secret(&name, *style).await;
        world.ask(id).await;
        world.proxy.reset();
        for _ in 0..8 {
            assert_eq!(world.work().await.failed, 1, "{context}");
            world.wait(3_700);
        }
        check_unchanged(&world, id, "unavailable", &context).await;
        let state = world.attempt(id).await.progress.state;
        assert!(matches!(state, State::RetryWait(_)), "{context}: {state:?}");
        world.proxy.pass();
        check_rotated(&world, id, &context).await;
    }
}

/// What does not answer is given up on within what a call may take.
pub(crate) async fn a_slow_system_is_waited_for(system: &dyn System) {
    let world = World::new(system).await;
    let style = system.styles()[0];
    let context = format!("{} does not answer", system.name());
    let id = world.secret("slow", style).await;
    world.ask(id).await;
    world.proxy.black_hole();
    let since = Instant::now();
    assert_eq!(world.work().await.failed, 1, "{context}");
    let took = since.elapsed();
    assert!(took < system.patience(), "{context}: {took:?}");
    check_unchanged(&world, id, "unavailable", &context).await;
    world.proxy.reset();
    world.proxy.pass();
    world.wait(3_700);
    check_rotated(&world, id, &context).await;
}

/// Refused passwords end at an operator, and the current one works on.
pub(crate) async fn passwords_that_a_policy_refuses_end_at_an_operator(system: &dyn System) {
    let world = World::new(system).await;
    let context = format!("{} refuses the password", system.name());
    let id = world.secret("policy", Style::InPlace).await;
    system.refuse_passwords(true).await;
    world.ask(id).await;
    world.work().await;
    check_unchanged(&world, id, "refused", &context).await;
    end_at_operator(&world, id, &context).await;
    system.refuse_passwords(false).await;
    settle(&world, id).await;
    check_rotated(&world, id, &context).await;
}

/// An admin who may not do it any more ends at an operator, and the current credential works on.
pub(crate) async fn an_admin_without_rights_ends_at_an_operator(system: &dyn System) {
    let world = World::new(system).await;
    for style in system.styles() {
        let context = format!("the admin of {} lost its rights, {style:?}", system.name());
        let name = format!("rights_{style:?}").to_lowercase();
        let id = world.secret(&name, *style).await;
        world.ask(id).await;
        system.set_rights(false).await;
        world.work().await;
        check_unchanged(&world, id, "refused", &context).await;
        end_at_operator(&world, id, &context).await;
        system.set_rights(true).await;
        settle(&world, id).await;
        check_rotated(&world, id, &context).await;
    }
}

/// A change that was made and whose answer was lost is found by logging in.
pub(crate) async fn a_change_whose_answer_is_lost_is_found(system: &dyn System) {
    let world = World::new(system).await;
    for style in system.styles() {
        for stays_away in [false, true] {
            let context = format!(
                "the answer of {} is lost, {style:?}, away after it: {stays_away}",
                system.name()
            );
            let name = format!("lost_{style:?}_{stays_away}").to_lowercase();
            let id = world.secret(&name, *style).await;
            let accounts = world.accounts().await;
            world.ask(id).await;
            system.forget_answer(&world.proxy, system.change_mark(*style));
            if stays_away {
                let away = async {
                    while system.would_forget(&world.proxy) {
                        tokio::task::yield_now().await;
                    }
                    // The server has it by now, or will have it before it is asked again.
                    world.proxy.cut();
                };
                let (renewed, ()) = tokio::join!(world.work(), away);
                assert_eq!(renewed.failed, 1, "{context}");
                let newest = world.history(id).await.remove(0);
                assert_eq!(newest.kind.as_deref(), Some("unavailable"), "{context}");
                world.proxy.pass();
                world.wait(3_700);
            } else {
                assert_eq!(world.work().await.promoted, 1, "{context}");
            }
            assert!(!system.would_forget(&world.proxy), "{context}");
            check_rotated(&world, id, &context).await;
            world.check_end(id, &accounts, &context).await;
        }
    }
}

async fn end_at_operator(world: &World<'_>, id: SecretId, context: &str) {
    for _ in 0..8 {
        world.wait(3_700);
        world.work().await;
    }
    let attempt = world.attempt(id).await;
    let state = attempt.progress.state;
    assert!(
        matches!(state, State::NeedsOperator(_)),
        "{context}: {state:?}"
    );
    check_unchanged(world, id, "needs_operator", context).await;
}

async fn settle(world: &World<'_>, id: SecretId) {
    let attempt = world.attempt(id).await;
    let settled = world
        .vault()
        .settle_attempt(&world.me, id, attempt.id, Settle::Retry)
        .await;
    settled.expect("settled");
    world.work().await;
}
