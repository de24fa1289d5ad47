//! Makers and workers that die, and answers that are lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use super::Grounds;
use crate::entropy::{Entropy, OsEntropy};
use crate::id::SecretId;
use crate::store::Store;
use crate::testing::provider::{FakeCall, Fault};
use crate::vault::{PROVISION_FAIL_POINTS, RenewalFields, SecretFields};

/// How an account comes to be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Operator,
    Timer,
}

/// Asks for accounts until they are there or whoever makes them dies; tells whether one died.
async fn ask(grounds: &Grounds, id: SecretId, by: By) -> bool {
    let world = &grounds.world;
    match by {
        By::Operator => tokio::select! {
            biased;
            () = world.points.stopped() => true,
            _ = world.vault.rotate_secret(&world.me, id, None) => false,
        },
        By::Timer => {
            set_timer(grounds, id, Some(10)).await;
            world.wait(601);
            tokio::select! {
                biased;
                () = world.points.stopped() => true,
                _ = world.vault.renew(64) => false,
            }
        }
    }
}

async fn set_timer(grounds: &Grounds, id: SecretId, minutes: Option<i64>) {
    let interval = minutes.map(|minutes| {
        crate::secret::RenewalInterval::from_minutes(minutes).expect("an interval in its bounds")
    });
    let fields = SecretFields {
        renew: RenewalFields {
            ephemeral: Some(interval),
            ..RenewalFields::default()
        },
        ..SecretFields::default()
    };
    let (vault, me) = (&grounds.world.vault, &grounds.world.me);
    let changed = vault.update_secret(me, id, fields, None).await;
    changed.expect("changed");
}

/// Lets go on what a dead one had sent already.
async fn settle_down() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
}

/// Somebody dies at each point, the first or second time that it is come to, with and without a
/// target that fails: what is served logs in for as long as it lives, and afterwards nothing is left.
pub async fn every_crash_leaves_no_account(store: Arc<dyn Store>) {
    let grounds = Grounds::new(store).await;
    for point in PROVISION_FAIL_POINTS {
        for nth in 1..=2 {
            for by in [By::Operator, By::Timer] {
                for fault in [None, Some(FakeCall::CreateAccount), Some(FakeCall::LogIn)] {
                    crash_once(&grounds, point, nth, by, fault).await;
                }
            }
        }
    }
    let all: BTreeSet<&str> = PROVISION_FAIL_POINTS.iter().copied().collect();
    let seen = grounds.world.points.seen();
    let missed: Vec<_> = all.difference(&seen).collect();
    assert!(missed.is_empty(), "points that nobody comes to: {missed:?}");
}

async fn crash_once(
    grounds: &Grounds,
    point: &'static str,
    nth: u32,
    by: By,
    fault: Option<FakeCall>,
) {
    let context = format!("died {point} ({nth}), {by:?}, {fault:?} fails");
    let name = format!("{}_{nth}_{by:?}_{fault:?}", point.replace(' ', "_"));
    let name: String = name
        .chars()
        .filter(|it| it.is_ascii_alphanumeric() || *it == '_')
        .collect();
    let world = &grounds.world;
    let id = grounds.secret(&name, &["web"]).await;
    grounds.rotate(id).await;
    assert!(grounds.logs_in(id).await, "{context}");
    let mut faults = u32::from(fault.is_some());
    world.target.fault_when(move |call| {
        let hit = Some(call) == fault && faults > 0;
        faults -= u32::from(hit);
        hit.then_some(if call == FakeCall::LogIn {
            Fault::Refuses("not now".to_owned())
        } else {
            Fault::ForgetsAfter
        })
    });
    let mut left = nth;
    world.points.stop_when(move |here| {
        let hit = here == point && left > 0;
        left -= u32::from(hit);
        hit && left == 0
    });
    ask(grounds, id, by).await;
    settle_down().await;
    assert!(
        grounds.logs_in(id).await,
        "served what does not log in: {context}"
    );
    set_timer(grounds, id, None).await;
    grounds.end_everything().await;
    settle_down().await;
    world.points.heal();
    world.target.heal();
    grounds.end_everything().await;
    grounds.check_end(&context).await;
}

/// A random number below `bound`.
fn below(bound: u32) -> u32 {
    let entropy: &dyn Entropy = &OsEntropy;
    u32::from_be_bytes(entropy.array()) % bound
}

/// A thousand leases are begun and ended while makers and workers die at random at every point and
/// the target loses answers: afterwards no account is left and no lease is without an end.
#[allow(clippy::print_stdout, reason = "the figures of a random run")]
pub async fn a_thousand_leases_and_random_crashes_leave_nothing(store: Arc<dyn Store>) {
    let grounds = Grounds::new(store).await;
    let world = &grounds.world;
    let mut secrets = Vec::new();
    for number in 0..10 {
        let profiles = ["web", "web", "cloud", "web"];
        secrets.push(grounds.secret(&format!("secret-{number}"), &profiles).await);
    }
    let deaths: Arc<Mutex<BTreeMap<&'static str, u32>>> = Arc::default();
    let died_at = Arc::clone(&deaths);
    world.points.stop_when(move |point| {
        let dies = below(25) == 0;
        if dies && PROVISION_FAIL_POINTS.contains(&point) {
            let mut deaths = died_at.lock().expect("no panic under the lock");
            *deaths.entry(point).or_default() += 1;
        }
        dies
    });
    world.target.fault_when(|call| {
        (below(40) == 0).then(|| match below(4) {
            0 => Fault::Down,
            1 if call.changes() => Fault::ForgetsAfter,
            2 => Fault::ForgetsBefore,
            _ => Fault::Refuses("not now".to_owned()),
        })
    });
    for (index, id) in secrets
        .iter()
        .enumerate()
        .filter(|(index, _)| index % 3 == 0)
    {
        set_timer(
            &grounds,
            *id,
            Some(10 + i64::try_from(index).expect("small")),
        )
        .await;
    }
    let mut asked = 0_u32;
    loop {
        for id in &secrets {
            ask(&grounds, *id, By::Operator).await;
            asked += 1;
            tokio::select! {
                biased;
                () = world.points.stopped() => {}
                _ = world.vault.renew(64) => {}
            }
            world.wait(i64::from(below(120)));
        }
        let lowest_id = grounds.leases(None).await.len();
        if lowest_id >= 1_000
            && deaths.lock().expect("no panic").len() == PROVISION_FAIL_POINTS.len()
        {
            break;
        }
        assert!(asked < 5_000, "{:?}", deaths.lock().expect("no panic"));
    }
    settle_down().await;
    for id in &secrets {
        set_timer(&grounds, *id, None).await;
    }
    world.points.heal();
    world.target.heal();
    grounds.end_everything().await;
    grounds.check_end("after random crashes").await;
    let ended = grounds.leases(None).await.len();
    let deaths = deaths.lock().expect("no panic under the lock");
    let count: u32 = deaths.values().sum();
    println!("{ended} leases ended, {asked} times asked, {count} deaths: {deaths:?}");
}
