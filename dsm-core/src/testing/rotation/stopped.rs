//! Workers that are stopped for longer than their lease, and go on afterwards.

use std::sync::Arc;
use std::time::Duration;

use super::{Style, World};
use crate::id::SecretId;
use crate::renewal::State;
use crate::store::Store;
use crate::testing::provider::{FakeCall, Fault};
use crate::vault::{FAIL_POINTS, Renewed, Vault, kind};

/// A little longer than a lease.
const LEASE_AND_MORE: i64 = 6;

/// A worker that stops at `point` while it rotates a secret; none when it never comes there.
async fn stopped_at(
    world: &World,
    id: SecretId,
    point: &'static str,
) -> Option<impl Future<Output = Renewed>> {
    world.points.stop_when(move |here| here == point);
    loop {
        let mut worker = Box::pin(world.work());
        tokio::select! {
            biased;
            () = world.points.stopped() => return Some(worker),
            _ = &mut worker => {}
        }
        if world.attempt(id).await.progress.state.is_over() {
            world.points.heal();
            return None;
        }
        world.wait(3_700);
    }
}

/// Both clocks go on, the vault's and the machine's, and nobody polls the worker.
async fn lease_ends(world: &World) {
    world.wait(LEASE_AND_MORE);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(LEASE_AND_MORE.unsigned_abs())).await;
    tokio::time::resume();
}

async fn ask(world: &World, id: SecretId) {
    let asked = world.vault.rotate_secret(&world.me, id, None).await;
    asked.expect("asked");
}

async fn finish_by(other: &Vault, world: &World, id: SecretId, context: &str) {
    for _ in 0..20 {
        if world.attempt(id).await.progress.state.is_over() {
            return;
        }
        other.renew(64).await.expect("a round");
        world.wait(3_700);
    }
    panic!("it does not come to an end: {context}");
}

/// A worker is stopped at each point, beyond its lease, another one takes over and finishes, and the
/// first goes on: it touches neither the target nor the store, and nothing is lost.
pub async fn a_stopped_worker_touches_nothing_when_it_goes_on(store: Arc<dyn Store>) {
    let world = World::new(store, Style::Issued).await;
    let other = world.another().await;
    let mut stopped = 0;
    for style in [Style::InPlace, Style::Pair, Style::Issued] {
        for point in FAIL_POINTS {
            let context = format!("{style:?} stopped {point}");
            let id = world.secret(&context.replace(' ', "_"), style).await;
            let accounts = world.target.account_names();
            ask(&world, id).await;
            let Some(worker) = stopped_at(&world, id, point).await else {
                world.finish(id).await;
                continue;
            };
            stopped += 1;
            lease_ends(&world).await;
            finish_by(&other, &world, id, &context).await;
            let calls = world.target.all_calls();
            let (secret, attempt) = (world.find(id).await, world.attempt(id).await);
            world.points.go_on();
            let renewed = worker.await;
            assert_eq!((renewed.lost, renewed.total()), (1, 1), "{context}");
            assert_eq!(world.target.all_calls(), calls, "{context}");
            let now = (world.find(id).await, world.attempt(id).await);
            assert_eq!(now.0.revision, secret.revision, "{context}");
            assert_eq!(now.1.revision, attempt.revision, "{context}");
            assert_eq!(now.1.progress.state, State::Retired, "{context}");
            assert_eq!(now.0.version, 2, "rotated once: {context}");
            world.check_end(id, &accounts, &context).await;
        }
    }
    // Retirement is not reached in place, and keys are issued in one style only.
    assert!(stopped > 2 * FAIL_POINTS.len(), "only {stopped} stopped");
    other.close().await;
}

/// A worker whose own clock says that the lease runs commits nothing once another one has claimed the
/// job, be it that this one has committed nothing yet: every commit asks for the generation.
pub async fn a_stale_generation_never_commits(store: Arc<dyn Store>) {
    let world = World::new(store, Style::Issued).await;
    for (style, point, fails) in [
        (Style::InPlace, "before the candidate is committed", false),
        (Style::Issued, "before the candidate is committed", false),
        (Style::Issued, "after the target is changed", false),
        (Style::InPlace, "before the promotion", false),
        (Style::Pair, "before the promotion", false),
        (Style::Issued, "before the promotion", false),
        (Style::InPlace, "before the job is put off", true),
    ] {
        let context = format!("{style:?} {point}");
        let id = world.secret(&context.replace(' ', "_"), style).await;
        let accounts = world.target.account_names();
        ask(&world, id).await;
        if fails {
            world
                .target
                .fault_when(|call| (call == FakeCall::ChangePassword).then_some(Fault::Down));
        }
        let worker = stopped_at(&world, id, point).await.expect("it comes there");
        world.wait(LEASE_AND_MORE);
        let (now, lease_for) = (world.vault.now(), Duration::from_secs(5));
        let topics = [kind::ROTATE, kind::RETIRE];
        let claimed = world.store.claim_due(&topics, now, lease_for, 9).await;
        assert_eq!(claimed.expect("claimed").len(), 1, "{context}");
        let (secret, attempt) = (world.find(id).await, world.attempt(id).await);
        world.points.go_on();
        world.target.heal();
        let renewed = worker.await;
        assert_eq!((renewed.lost, renewed.total()), (1, 1), "{context}");
        assert_eq!(world.find(id).await.revision, secret.revision, "{context}");
        let after = world.attempt(id).await;
        assert_eq!(after.revision, attempt.revision, "{context}");
        // Whoever claimed it died, and it goes on after that.
        world.wait(LEASE_AND_MORE);
        world.finish(id).await;
        assert_eq!(world.find(id).await.version, 2, "{context}");
        world.check_end(id, &accounts, &context).await;
    }
}
