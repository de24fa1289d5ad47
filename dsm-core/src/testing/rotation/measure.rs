//! What rotations cost a store.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;

use super::{Style, World};
use crate::store::{ChangeSet, Job, JobKey, Settlement, Store, Topic};
use crate::testing::ManualClock;
use crate::time::{Clock as _, Timestamp};
use crate::vault::VaultOptions;

/// A topic of no vault.
const TOPIC: Topic = Topic(1_000);
/// How many jobs are claimed at a time.
const DUE: u64 = 16;
/// How many claims are timed at a time.
const CLAIMS: usize = 200;

fn job(subject: u64, due_at: Timestamp) -> Job {
    Job {
        key: JobKey {
            topic: TOPIC,
            subject,
        },
        due_at,
        body: Vec::new(),
    }
}

/// Puts so many jobs into the queue of a store that are due a day later, a second apart.
pub async fn schedule_later(store: &dyn Store, count: u64) {
    let later = ManualClock::default().now() + TimeDelta::days(1);
    let subjects: Vec<u64> = (0..count).map(|number| DUE + number).collect();
    for chunk in subjects.chunks(1_000) {
        let set = chunk.iter().fold(ChangeSet::default(), |set, subject| {
            let spread = i64::try_from(*subject).expect("a small number");
            set.put_job(job(*subject, later + TimeDelta::seconds(spread)))
        });
        store.commit(set).await.expect("scheduled");
    }
}

/// The median time of a claim of 16 due jobs among those that are scheduled for later.
pub async fn claim_cost(store: &dyn Store) -> Duration {
    let now = ManualClock::default().now();
    let mut times = Vec::with_capacity(CLAIMS);
    for _ in 0..CLAIMS {
        let due = (0..DUE).fold(ChangeSet::default(), |set, subject| {
            set.put_job(job(subject, now))
        });
        store.commit(due).await.expect("scheduled");
        let lease_for = Duration::from_secs(5);
        let since = Instant::now();
        let leases = store.claim_due(&[TOPIC], now, lease_for, 64).await;
        times.push(since.elapsed());
        let leases = leases.expect("claimed");
        assert_eq!(leases.len() as u64, DUE, "only what is due");
        let done = leases.iter().fold(ChangeSet::default(), |set, lease| {
            set.settle(lease, Settlement::Done)
        });
        store.commit(done).await.expect("settled");
    }
    times.sort_unstable();
    times[times.len() / 2]
}

/// How many rotations a second one worker gets done, in place, on a target that answers at once.
pub async fn rotations_per_second(store: Arc<dyn Store>, count: usize, room: usize) -> f64 {
    let options = VaultOptions {
        rotations_per_target: NonZeroUsize::new(room).expect("room for one"),
        ..VaultOptions::default()
    };
    let world = World::with(store, Style::InPlace, options).await;
    for number in 0..count {
        let id = world
            .secret(&format!("secret-{number}"), Style::InPlace)
            .await;
        let asked = world.vault.rotate_secret(&world.me, id, None).await;
        asked.expect("asked");
    }
    let since = Instant::now();
    let mut promoted = 0;
    while promoted < count {
        let renewed = world.vault.renew(room).await.expect("a round");
        assert!(
            renewed.total() > 0,
            "{promoted} of {count} and nothing is due"
        );
        promoted += renewed.promoted;
    }
    #[allow(clippy::cast_precision_loss, reason = "a count far below 2^52")]
    let rate = count as f64 / since.elapsed().as_secs_f64();
    rate
}
