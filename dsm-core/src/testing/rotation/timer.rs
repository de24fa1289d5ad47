//! Timers, overlaps and several workers.

use std::sync::Arc;
use std::time::Duration;

use super::{Style, World};
use crate::id::SecretId;
use crate::renewal::State;
use crate::secret::RenewalInterval;
use crate::store::{Page, Store};
use crate::testing::provider::FakeCall;
use crate::vault::{RenewalFields, SecretFields};

async fn set_timers(world: &World, id: SecretId, minutes: Option<i64>) {
    let interval = minutes
        .map(|minutes| RenewalInterval::from_minutes(minutes).expect("an interval in its bounds"));
    let fields = SecretFields {
        renew: RenewalFields {
            cloud: Some(interval),
            credential: Some(interval),
            ephemeral: Some(interval),
        },
        ..SecretFields::default()
    };
    let changed = world.vault.update_secret(&world.me, id, fields, None).await;
    changed.expect("changed");
}

/// The old credential works until the overlap is over, and not after.
pub async fn the_old_credential_works_until_the_overlap_is_over(store: Arc<dyn Store>) {
    let world = World::new(store, Style::Issued).await;
    for style in [Style::Pair, Style::Issued] {
        let id = world.secret(&format!("{style:?}"), style).await;
        let overlap = Some(Duration::from_mins(10));
        let asked = world.vault.rotate_secret(&world.me, id, overlap).await;
        asked.expect("asked");
        assert_eq!(world.work().await.promoted, 1);
        world.wait(599);
        assert_eq!(world.work().await.total(), 0, "the overlap runs");
        for version in [1, 2] {
            assert!(
                world.version_logs_in(id, version).await,
                "{style:?} {version}"
            );
        }
        world.wait(1);
        assert_eq!(world.work().await.over, 1);
        assert!(!world.version_logs_in(id, 1).await, "{style:?}");
        assert!(world.version_logs_in(id, 2).await, "{style:?}");
        assert_eq!(world.attempt(id).await.progress.state, State::Retired);
    }
}

/// For a leak: what was leaked stops working at once, in the middle of an overlap as well.
pub async fn a_leak_cuts_the_overlap_short(store: Arc<dyn Store>) {
    let world = World::new(store, Style::Issued).await;
    for style in [Style::Pair, Style::Issued] {
        let id = world.secret(&format!("{style:?}"), style).await;
        let rotate = |overlap| world.vault.rotate_secret(&world.me, id, overlap);
        rotate(None).await.expect("asked");
        world.work().await;
        let running = rotate(None).await.expect("asked");
        assert_eq!(
            running[0].id,
            world.attempt(id).await.id,
            "the running one again"
        );
        rotate(Some(Duration::ZERO)).await.expect("asked");
        for _ in 0..4 {
            world.work().await;
        }
        assert_eq!(world.find(id).await.version, 3, "{style:?}");
        for (version, works) in [(1, false), (2, false), (3, true)] {
            let logs_in = world.version_logs_in(id, version).await;
            assert_eq!(logs_in, works, "{style:?} {version}");
        }
    }
}

/// A timer renews in its interval, again and again; turned off it does not, and one with nothing to
/// renew idles.
pub async fn a_timer_renews_again_and_again(store: Arc<dyn Store>) {
    let world = World::new(store, Style::Issued).await;
    for style in [Style::InPlace, Style::Pair, Style::Issued] {
        let id = world.secret(&format!("{style:?}"), style).await;
        set_timers(&world, id, Some(10)).await;
        let before = world.find(id).await.version;
        world.wait(539);
        assert_eq!(
            world.work().await.promoted,
            0,
            "{style:?}: nothing is due yet"
        );
        let mut promoted = 0;
        for _ in 0..300 {
            world.wait(10);
            promoted += world.work().await.promoted;
        }
        let expected = 4..=6;
        assert!(
            expected.contains(&promoted),
            "{style:?}: {promoted} in fifty minutes"
        );
        assert!(world.logs_in(id).await, "{style:?}");
        set_timers(&world, id, None).await;
        world.finish(id).await;
        let after = world.find(id).await.version;
        assert!(after >= before + 4, "{style:?}: from {before} to {after}");
        for _ in 0..20 {
            world.wait(300);
            assert_eq!(world.work().await.promoted, 0, "{style:?}: it is off");
        }
        let errors = world
            .vault
            .list_secret_errors(&world.me, id, Page::first(1))
            .await;
        assert!(errors.expect("a history").items.is_empty(), "{style:?}");
    }
}

/// A timer that is turned on while an overlap runs begins to run.
pub async fn a_timer_turned_on_in_an_overlap_runs(store: Arc<dyn Store>) {
    let world = World::new(store, Style::Issued).await;
    let id = world.secret("one", Style::Issued).await;
    let asked = world.vault.rotate_secret(&world.me, id, None).await;
    asked.expect("asked");
    assert_eq!(world.work().await.promoted, 1);
    set_timers(&world, id, Some(120)).await;
    let mut promoted = 0;
    for _ in 0..140 {
        world.wait(60);
        promoted += world.work().await.promoted;
    }
    assert_eq!(promoted, 1, "once in two hours and a bit");
    assert!(world.logs_in(id).await);
}

/// Two workers on one queue: each secret is rotated exactly once, no more at a time on the target
/// than they may, and every reader is served what logs in.
pub async fn two_workers_rotate_each_secret_once(store: Arc<dyn Store>) {
    let count = 1_000;
    let world = World::new(store, Style::InPlace).await;
    let mut ids = Vec::new();
    for number in 0..count {
        let id = world
            .secret(&format!("secret-{number}"), Style::InPlace)
            .await;
        set_timers(&world, id, Some(525_600)).await;
        ids.push(id);
    }
    world.wait(525_600 * 60);
    let other = world.another().await;
    let (mut first, mut second) = (0, 0);
    for _ in 0..count {
        let (one, two) = tokio::join!(world.vault.renew(16), other.renew(16));
        let (one, two) = (one.expect("a round"), two.expect("a round"));
        first += one.promoted;
        second += two.promoted;
        if one.total() + two.total() == 0 {
            break;
        }
    }
    assert!(first > 0 && second > 0, "both worked: {first} and {second}");
    assert_eq!(u64::try_from(first + second), Ok(count));
    assert_eq!(world.target.calls(FakeCall::ChangePassword), count);
    assert!(
        world.target.busiest() <= 8,
        "{} at a time",
        world.target.busiest()
    );
    for id in ids {
        assert_eq!(world.find(id).await.version, 3, "made, timer set, rotated");
        assert!(world.logs_in(id).await);
    }
    other.close().await;
}
