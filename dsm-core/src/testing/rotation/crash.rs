//! Workers that die, and answers that are lost.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Style, World};
use crate::id::SecretId;
use crate::renewal::State;
use crate::store::Store;
use crate::testing::provider::{FakeCall, Fault};
use crate::vault::FAIL_POINTS;

/// Works until a worker dies or the attempt is over; tells whether one died.
async fn work_until_death(world: &World, id: SecretId) -> bool {
    for _ in 0..50 {
        let died = tokio::select! {
            biased;
            () = world.points.stopped() => true,
            _ = world.vault.renew(64) => false,
        };
        if died {
            return true;
        }
        if world.attempt(id).await.progress.state.is_over() {
            return false;
        }
        world.wait(3_700);
    }
    panic!("it does not come to an end: {:?}", world.attempt(id).await);
}

/// A worker dies at each point, the first or second time that it comes there, and another takes
/// over: what is served logs in, and no key or account is left that nobody knows.
pub async fn every_crash_is_survived(store: Arc<dyn Store>) {
    let world = World::new(store, Style::Issued).await;
    for style in [Style::InPlace, Style::Pair, Style::Issued] {
        crash_everywhere(&world, style).await;
    }
    let all: BTreeSet<&str> = FAIL_POINTS.iter().copied().collect();
    assert_eq!(world.points.seen(), all, "a point that no worker comes to");
}

/// The same with keys that are made on this side.
pub async fn every_crash_with_installed_keys_is_survived(store: Arc<dyn Store>) {
    let world = World::new(store, Style::Installed).await;
    crash_everywhere(&world, Style::Installed).await;
}

async fn crash_everywhere(world: &World, style: Style) {
    for point in FAIL_POINTS {
        for nth in 1..=2 {
            crash_once(world, style, point, nth).await;
        }
    }
}

async fn crash_once(world: &World, style: Style, point: &'static str, nth: u32) {
    let context = format!("{style:?} died {point} ({nth})");
    let name = format!("{style:?}_{}_{nth}", point.replace(' ', "_"));
    let id = world.secret(&name, style).await;
    let accounts = world.target.account_names();
    let asked = world.vault.rotate_secret(&world.me, id, None).await;
    asked.expect("asked");
    let mut left = nth;
    world.points.stop_when(move |here| {
        left -= u32::from(here == point && left > 0);
        here == point && left == 0
    });
    let died = work_until_death(world, id).await;
    world.points.heal();
    if died {
        // What was sent by the dead is there, the rest is not.
        tokio::task::yield_now().await;
        if style != Style::InPlace {
            assert!(
                world.logs_in(id).await,
                "not served what logs in: {context}"
            );
        }
        world.wait(6);
        world.finish(id).await;
    }
    let state = world.attempt(id).await.progress.state;
    assert_eq!(state, State::Retired, "{context}");
    assert_eq!(world.find(id).await.version, 2, "rotated once: {context}");
    world.check_end(id, &accounts, &context).await;
}

/// The answer to each kind of change is lost, done or not, and the worker dies or not.
pub async fn lost_answers_are_survived(store: Arc<dyn Store>) {
    let world = World::new(store, Style::Issued).await;
    for style in [Style::InPlace, Style::Pair, Style::Issued] {
        for call in [
            FakeCall::ChangePassword,
            FakeCall::MakeKey,
            FakeCall::DeactivateKey,
        ] {
            for fault in [
                Fault::ForgetsAfter,
                Fault::ForgetsBefore,
                Fault::Nonsense,
                Fault::Down,
            ] {
                let context = format!("{style:?} {call:?} {fault:?}");
                let name = context.replace(' ', "_");
                let id = world.secret(&name, style).await;
                let accounts = world.target.account_names();
                let asked = world.vault.rotate_secret(&world.me, id, None).await;
                asked.expect("asked");
                let mut left = 2;
                let lost = fault.clone();
                world.target.fault_when(move |this| {
                    let hit = this == call && left > 0;
                    left -= u32::from(hit);
                    hit.then(|| lost.clone())
                });
                world.finish(id).await;
                world.target.heal();
                assert_eq!(world.find(id).await.version, 2, "rotated once: {context}");
                world.check_end(id, &accounts, &context).await;
            }
        }
    }
}

/// Nobody else has the job while its lease runs, and within ten seconds somebody has.
pub async fn a_dead_workers_job_is_taken_over(store: Arc<dyn Store>) {
    let world = World::new(store, Style::InPlace).await;
    let id = world.secret("one", Style::InPlace).await;
    let asked = world.vault.rotate_secret(&world.me, id, None).await;
    asked.expect("asked");
    world
        .points
        .stop_when(|here| here == "after the candidate is committed");
    assert!(work_until_death(&world, id).await);
    world.points.heal();
    world.wait(4);
    assert_eq!(world.work().await.total(), 0, "the lease runs");
    world.wait(2);
    assert_eq!(world.work().await.promoted, 1);
    assert!(world.logs_in(id).await);
}
