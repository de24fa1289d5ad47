//! The queue: due times, leases and their generations.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::{at, commit, find, record, refused};
use crate::store::{
    ChangeSet, Job, JobKey, Lease, Settlement, Store, StoreError, StoreExt as _, Topic,
};
use crate::time::Timestamp;

const TOPIC: Topic = Topic(2);
const MINUTE: Duration = Duration::from_mins(1);

fn job(subject: u64, due_at: i64) -> Job {
    Job {
        key: JobKey {
            topic: TOPIC,
            subject,
        },
        due_at: at(due_at),
        body: format!("job {subject}").into_bytes(),
    }
}

async fn put(store: &dyn Store, job: Job) {
    commit(store, ChangeSet::default().put_job(job)).await;
}

async fn claim(store: &dyn Store, now: i64, limit: usize) -> Vec<Lease> {
    let leases = store.claim_due(&[TOPIC], at(now), MINUTE, limit).await;
    leases.expect("the store answers")
}

async fn claim_one(store: &dyn Store, now: i64) -> Lease {
    let mut leases = claim(store, now, 1).await;
    leases.pop().expect("a job is due")
}

fn subjects(leases: &[Lease]) -> Vec<u64> {
    leases.iter().map(|lease| lease.job.key.subject).collect()
}

/// A job is claimed at its due time, not before.
pub async fn jobs_are_claimed_when_due(store: Arc<dyn Store>) {
    put(&*store, job(1, 10)).await;
    assert_eq!(claim(&*store, 9, 9).await, []);
    let leases = claim(&*store, 10, 9).await;
    assert_eq!(leases.len(), 1);
    assert_eq!(leases[0].job, job(1, 10));
    assert_eq!(leases[0].leased_until, at(70));
}

/// Due jobs come by due time.
pub async fn the_longest_due_is_claimed_first(store: Arc<dyn Store>) {
    for (subject, due_at) in [(1, 3), (2, 1), (3, -4_000_000_000), (4, 2), (5, 99)] {
        put(&*store, job(subject, due_at)).await;
    }
    assert_eq!(subjects(&claim(&*store, 10, 9).await), [3, 2, 4, 1]);
}

/// Jobs of other topics are left alone; several topics are one queue.
pub async fn only_the_asked_topics_are_claimed(store: Arc<dyn Store>) {
    for (topic, due_at) in [(0, 3), (1, 2), (u16::MAX, 1)] {
        let key = JobKey {
            topic: Topic(topic),
            subject: 1,
        };
        put(
            &*store,
            Job {
                key,
                ..job(1, due_at)
            },
        )
        .await;
    }
    assert_eq!(claim(&*store, 10, 9).await, []);
    let none = store.claim_due(&[], at(10), MINUTE, 9).await;
    assert_eq!(none.expect("an answer"), []);
    let topics = [Topic(0), Topic(u16::MAX), Topic(0)];
    let leases = store.claim_due(&topics, at(10), MINUTE, 9).await;
    let leases = leases.expect("an answer");
    let claimed: Vec<_> = leases.iter().map(|lease| lease.job.key.topic).collect();
    assert_eq!(claimed, [Topic(u16::MAX), Topic(0)]);
}

/// A claim leaves what is over its limit to others.
pub async fn a_claim_takes_at_most_its_limit(store: Arc<dyn Store>) {
    for subject in 1..=5 {
        put(&*store, job(subject, subject.cast_signed())).await;
    }
    assert_eq!(claim(&*store, 10, 0).await, []);
    assert_eq!(subjects(&claim(&*store, 10, 2).await), [1, 2]);
    assert_eq!(subjects(&claim(&*store, 10, 2).await), [3, 4]);
    assert_eq!(subjects(&claim(&*store, 10, 2).await), [5]);
}

/// A leased job is not claimed until the lease has run out.
pub async fn a_lease_excludes_others(store: Arc<dyn Store>) {
    put(&*store, job(1, 0)).await;
    claim_one(&*store, 10).await;
    assert_eq!(claim(&*store, 10, 9).await, []);
    assert_eq!(claim(&*store, 69, 9).await, []);
    assert_eq!(claim(&*store, 70, 9).await.len(), 1);
}

/// Whoever takes over holds a higher generation.
pub async fn an_expired_lease_is_taken_over_with_a_higher_generation(store: Arc<dyn Store>) {
    put(&*store, job(1, 0)).await;
    let mut generation = 0;
    for now in [0, 100, 200, 300] {
        let lease = claim_one(&*store, now).await;
        assert!(lease.generation > generation);
        generation = lease.generation;
    }
}

/// After a takeover the old holder settles nothing, the new one does.
pub async fn an_old_lease_settles_nothing(store: Arc<dyn Store>) {
    put(&*store, job(1, 0)).await;
    let old = claim_one(&*store, 0).await;
    let new = claim_one(&*store, 100).await;
    for settlement in [
        Settlement::Done,
        Settlement::RetryAt(at(500)),
        Settlement::Held,
    ] {
        let result = store.settle(&old, settlement).await;
        refused!(result, LeaseLost(key) if key == job(1, 0).key);
    }
    assert_eq!(claim(&*store, 101, 9).await, []);
    store
        .settle(&new, Settlement::Done)
        .await
        .expect("it holds");
}

/// A lost lease is not prolonged; one that ran out without a taker is.
pub async fn an_old_lease_is_not_extended(store: Arc<dyn Store>) {
    put(&*store, job(1, 0)).await;
    let old = claim_one(&*store, 0).await;
    let old = store.extend(&old, at(50)).await.expect("nobody took it");
    let new = claim_one(&*store, 100).await;
    refused!(store.extend(&old, at(900)).await, LeaseLost(key) if key == job(1, 0).key);
    assert_eq!(claim(&*store, 160, 9).await.len(), 1);
    refused!(store.extend(&new, at(900)).await, LeaseLost(_));
}

/// An extended lease keeps its generation and ends later.
pub async fn an_extended_lease_excludes_others_for_longer(store: Arc<dyn Store>) {
    put(&*store, job(1, 0)).await;
    let lease = claim_one(&*store, 0).await;
    let extended = store.extend(&lease, at(500)).await.expect("it holds");
    assert_eq!(
        extended,
        Lease {
            leased_until: at(500),
            ..lease.clone()
        }
    );
    assert_eq!(claim(&*store, 499, 9).await, []);
    // The generation decides, not the end that the holder knows of.
    store
        .settle(&lease, Settlement::Done)
        .await
        .expect("it holds");
}

/// A job that is done is removed.
pub async fn a_done_job_is_gone(store: Arc<dyn Store>) {
    put(&*store, job(1, 0)).await;
    let lease = claim_one(&*store, 0).await;
    store
        .settle(&lease, Settlement::Done)
        .await
        .expect("it holds");
    assert_eq!(claim(&*store, 9_999, 9).await, []);
    let jobs = store.list_jobs(&[TOPIC], 9).await.expect("an answer");
    assert_eq!(jobs, []);
}

/// A job to be retried is free at once and due at the given instant.
pub async fn a_job_to_be_retried_is_due_again(store: Arc<dyn Store>) {
    put(&*store, job(1, 0)).await;
    let lease = claim_one(&*store, 0).await;
    let retry = Settlement::RetryAt(at(5));
    store.settle(&lease, retry).await.expect("it holds");
    assert_eq!(claim(&*store, 4, 9).await, []);
    let again = claim_one(&*store, 5).await;
    assert_eq!(again.job, job(1, 5));
    assert!(again.generation > lease.generation);
}

/// A lease ends by its settlement.
pub async fn a_lease_is_settled_once(store: Arc<dyn Store>) {
    put(&*store, job(1, 0)).await;
    let lease = claim_one(&*store, 0).await;
    let retry = Settlement::RetryAt(at(5));
    store.settle(&lease, retry).await.expect("it holds");
    refused!(store.settle(&lease, Settlement::Done).await, LeaseLost(_));
    refused!(store.extend(&lease, at(500)).await, LeaseLost(_));
    let lease = claim_one(&*store, 5).await;
    store
        .settle(&lease, Settlement::Done)
        .await
        .expect("it holds");
    refused!(store.settle(&lease, Settlement::Done).await, LeaseLost(_));
}

/// A set that depends on a lease leaves it as it is.
pub async fn a_held_lease_goes_on(store: Arc<dyn Store>) {
    put(&*store, job(1, 0)).await;
    let lease = claim_one(&*store, 0).await;
    for id in 1..=2 {
        let set = ChangeSet::default().create(record(id)).hold(&lease);
        store.commit(set).await.expect("it holds");
    }
    assert_eq!(claim(&*store, 59, 9).await, [], "nobody else has it");
    let new = claim_one(&*store, 60).await;
    assert_eq!(new.job, job(1, 0), "due when it was");
    let set = ChangeSet::default().create(record(3)).hold(&lease);
    refused!(store.commit(set).await, LeaseLost(key) if key == lease.job.key);
    assert_eq!(find(&*store, 3).await, None);
    store
        .settle(&new, Settlement::Done)
        .await
        .expect("it holds");
    refused!(store.settle(&new, Settlement::Held).await, LeaseLost(_));
}

/// A job scheduled anew belongs to no worker.
pub async fn a_put_loses_the_lease(store: Arc<dyn Store>) {
    put(&*store, job(1, 0)).await;
    let lease = claim_one(&*store, 0).await;
    let new = Job {
        body: b"new".to_vec(),
        ..job(1, 7)
    };
    put(&*store, new.clone()).await;
    refused!(store.settle(&lease, Settlement::Done).await, LeaseLost(_));
    refused!(store.extend(&lease, at(500)).await, LeaseLost(_));
    assert_eq!(claim(&*store, 6, 9).await, []);
    assert_eq!(claim_one(&*store, 7).await.job, new);
}

/// A removed job belongs to no worker.
pub async fn a_remove_loses_the_lease(store: Arc<dyn Store>) {
    put(&*store, job(1, 0)).await;
    let lease = claim_one(&*store, 0).await;
    commit(&*store, ChangeSet::default().remove_job(lease.job.key)).await;
    refused!(store.settle(&lease, Settlement::Done).await, LeaseLost(_));
    refused!(store.extend(&lease, at(500)).await, LeaseLost(_));
    assert_eq!(claim(&*store, 500, 9).await, []);
}

/// A job that was removed or replaced does not give out an old generation again.
pub async fn a_generation_is_never_repeated(store: Arc<dyn Store>) {
    let mut generation = 0;
    for round in 0..4 {
        put(&*store, job(1, 0)).await;
        if round % 2 == 0 {
            put(&*store, job(1, 0)).await;
        }
        let lease = claim_one(&*store, 0).await;
        assert!(lease.generation > generation);
        generation = lease.generation;
        if round % 2 == 0 {
            commit(&*store, ChangeSet::default().remove_job(lease.job.key)).await;
        }
    }
}

/// A settlement within a set that fails did not happen.
pub async fn a_failing_set_leaves_the_lease(store: Arc<dyn Store>) {
    commit(
        &*store,
        ChangeSet::default().create(record(1)).put_job(job(1, 0)),
    )
    .await;
    let lease = claim_one(&*store, 0).await;
    for settlement in [Settlement::Done, Settlement::RetryAt(at(0))] {
        let set = ChangeSet::default()
            .settle(&lease, settlement)
            .create(record(1));
        refused!(store.commit(set).await, AlreadyExists(_));
    }
    assert_eq!(claim(&*store, 59, 9).await, []);
    store
        .settle(&lease, Settlement::Done)
        .await
        .expect("it holds");
}

/// A lost lease refuses the records and jobs of its set as well.
pub async fn a_lost_lease_refuses_the_set(store: Arc<dyn Store>) {
    put(&*store, job(1, 0)).await;
    let lost = claim_one(&*store, 0).await;
    claim_one(&*store, 100).await;
    let set = ChangeSet::default()
        .create(record(1))
        .put_job(job(2, 0))
        .settle(&lost, Settlement::Done);
    refused!(store.commit(set).await, LeaseLost(key) if key == job(1, 0).key);
    assert_eq!(find(&*store, 1).await, None);
    let jobs = store.list_jobs(&[TOPIC], 9).await.expect("an answer");
    assert_eq!(jobs, [job(1, 0)]);
}

/// Jobs and records of a set take effect together.
pub async fn jobs_are_committed_with_records(store: Arc<dyn Store>) {
    put(&*store, job(3, 3)).await;
    let refused = ChangeSet::default()
        .create(record(1))
        .put_job(job(1, 1))
        .remove_job(job(3, 3).key)
        .delete(record(2).key, 1);
    refused!(store.commit(refused).await, RevisionMismatch(_));
    let jobs = store.list_jobs(&[TOPIC], 9).await.expect("an answer");
    assert_eq!(jobs, [job(3, 3)]);
    let lease = claim_one(&*store, 3).await;
    let set = ChangeSet::default()
        .create(record(1))
        .put_job(job(1, 1))
        .put_job(job(2, 2))
        .settle(&lease, Settlement::RetryAt(at(0)));
    commit(&*store, set).await;
    assert_eq!(find(&*store, 1).await, Some(record(1)));
    let jobs = store.list_jobs(&[TOPIC], 9).await.expect("an answer");
    assert_eq!(jobs, [job(3, 0), job(1, 1), job(2, 2)]);
}

/// Removing what is not there is no error.
pub async fn removing_an_absent_job_is_accepted(store: Arc<dyn Store>) {
    let set = ChangeSet::default()
        .remove_job(job(1, 0).key)
        .create(record(1));
    commit(&*store, set).await;
    assert_eq!(find(&*store, 1).await, Some(record(1)));
}

/// A set changes or settles a job once.
pub async fn a_job_twice_in_a_set_is_refused(store: Arc<dyn Store>) {
    put(&*store, job(1, 0)).await;
    let lease = claim_one(&*store, 0).await;
    for set in [
        ChangeSet::default().put_job(job(2, 0)).put_job(job(2, 1)),
        ChangeSet::default()
            .put_job(job(2, 0))
            .remove_job(job(2, 0).key),
        ChangeSet::default()
            .put_job(job(1, 0))
            .settle(&lease, Settlement::Done),
        ChangeSet::default().put_job(job(u64::MAX, 0)),
    ] {
        refused!(store.commit(set).await, Backend { .. });
    }
    let jobs = store.list_jobs(&[TOPIC], 9).await.expect("an answer");
    assert_eq!(jobs, [job(1, 0)]);
}

/// A report lists jobs by due time, leased or not.
pub async fn jobs_are_listed_by_due_time(store: Arc<dyn Store>) {
    for (subject, due_at) in [(1, 30), (2, 10), (3, 20)] {
        put(&*store, job(subject, due_at)).await;
    }
    let key = JobKey {
        topic: Topic(9),
        subject: 1,
    };
    put(&*store, Job { key, ..job(1, 15) }).await;
    claim_one(&*store, 10).await;
    let jobs = store.list_jobs(&[TOPIC], 9).await.expect("an answer");
    assert_eq!(jobs, [job(2, 10), job(3, 20), job(1, 30)]);
    let jobs = store.list_jobs(&[TOPIC, Topic(9)], 2).await;
    assert_eq!(
        jobs.expect("an answer"),
        [job(2, 10), Job { key, ..job(1, 15) }]
    );
    let jobs = store.list_jobs(&[], 9).await.expect("an answer");
    assert_eq!(jobs, []);
}

/// Body, instants and subject come back as they were given.
pub async fn a_job_keeps_its_body_and_extreme_subject(store: Arc<dyn Store>) {
    let micros = crate::time::from_micros(-1_234_567).expect("in range");
    for subject in [0, i64::MAX as u64] {
        let given = Job {
            due_at: micros,
            body: (0..=u8::MAX).collect(),
            ..job(subject, 0)
        };
        put(&*store, given.clone()).await;
        let lease = claim_one(&*store, 0).await;
        assert_eq!(lease.job, given);
        store
            .settle(&lease, Settlement::Done)
            .await
            .expect("it holds");
    }
}

/// A lease that would outlast time lasts to its end.
pub async fn a_lease_may_last_for_ever(store: Arc<dyn Store>) {
    put(&*store, job(1, 0)).await;
    let leases = store.claim_due(&[TOPIC], at(0), Duration::MAX, 1).await;
    let leases = leases.expect("an answer");
    assert_eq!(
        leases[0].leased_until,
        Lease::end(Timestamp::MAX_UTC, MINUTE)
    );
    assert_eq!(claim(&*store, 1 << 36, 9).await, []);
    store
        .settle(&leases[0], Settlement::Done)
        .await
        .expect("it holds");
}

/// Workers that claim at the same time share the jobs out, each to one.
pub async fn racing_claimers_lease_each_job_once(store: Arc<dyn Store>) {
    const JOBS: u64 = 200;
    let set = (1..=JOBS).fold(ChangeSet::default(), |set, subject| {
        set.put_job(job(subject, 0))
    });
    commit(&*store, set).await;
    let claimers = (0..2).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut held = Vec::new();
            loop {
                let leases = claim(&*store, 1, 7).await;
                if leases.is_empty() {
                    break held;
                }
                held.extend(leases);
            }
        })
    });
    let mut all = BTreeSet::new();
    for joined in join_all(claimers).await {
        for lease in joined.expect("no panic") {
            assert!(all.insert(lease.job.key.subject), "leased twice");
            let result: Result<(), StoreError> = store.settle(&lease, Settlement::Done).await;
            result.expect("it holds");
        }
    }
    assert_eq!(all, (1..=JOBS).collect());
}
