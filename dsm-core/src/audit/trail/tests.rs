use super::*;
use crate::audit::fixture::{Down, Sink, event};
use crate::audit::{Batch, ObjectKind, Operation};

const SERVER: ServerId = ServerId([7; 16]);

fn sink() -> Arc<Sink> {
    Arc::new(Sink::default())
}

async fn start(awaited: &Arc<Sink>) -> Trail {
    let options = TrailOptions::new(SERVER, Arc::clone(awaited) as Arc<dyn AuditSink>);
    Trail::start(options).await.unwrap()
}

async fn start_followed(awaited: &Arc<Sink>, follower: &Arc<Sink>) -> Result<Trail, AuditError> {
    let mut options = TrailOptions::new(SERVER, Arc::clone(awaited) as Arc<dyn AuditSink>)
        .follower(Arc::clone(follower) as Arc<dyn AuditSink>);
    options.gather = Duration::ZERO;
    Trail::start(options).await
}

/// Records secrets from..=to one after the other.
async fn record(trail: &Trail, from: u64, to: u64) {
    for id in from..=to {
        let receipt = trail.record(&event(id)).await.unwrap();
        assert!(receipt.covers(Operation::ReadSecret, ObjectKind::Secret, id));
    }
}

fn ids(batch: &Batch) -> Vec<u64> {
    batch
        .entries()
        .map(|entry| entry.decode().unwrap().object.unwrap().id.unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_callers_get_their_own_receipts_without_gaps() {
    let awaited = sink();
    let trail = Arc::new(start(&awaited).await);
    let tasks: Vec<_> = (0..64_u64)
        .map(|task| {
            let trail = Arc::clone(&trail);
            tokio::spawn(async move {
                let mut got = Vec::new();
                for turn in 0..50 {
                    let id = task * 1000 + turn * 2;
                    if turn % 2 == 0 {
                        got.push((id, trail.record(&event(id)).await.unwrap()));
                    } else {
                        let events = vec![event(id), event(id + 1)];
                        let receipts = trail.append(events).await.unwrap();
                        assert_eq!(receipts[0].sequence() + 1, receipts[1].sequence());
                        got.extend((id..).zip(receipts));
                    }
                }
                got
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    assert_eq!(all.len(), 64 * 75);
    let recorded = ids(&awaited.chain(SERVER));
    for (id, receipt) in &all {
        assert!(receipt.covers(Operation::ReadSecret, ObjectKind::Secret, *id));
        assert_eq!(
            recorded[usize::try_from(receipt.sequence()).unwrap() - 1],
            *id
        );
    }
    let mut sequences: Vec<_> = all.iter().map(|(_, r)| r.sequence()).collect();
    sequences.sort_unstable();
    assert!(sequences.into_iter().eq(1..=64 * 75));
    assert_eq!(trail.head().sequence, 64 * 75);
}

#[tokio::test]
async fn a_receipt_covers_what_its_event_says_and_nothing_else() {
    let trail = start(&sink()).await;
    let mut denied = event(7);
    denied.outcome = crate::audit::Outcome::Failed {
        reason: String::new(),
    };
    let receipts = trail.append(vec![event(7), denied]).await.unwrap();
    assert!(receipts[0].covers(Operation::ReadSecret, ObjectKind::Secret, 7_u64));
    assert!(!receipts[0].covers(Operation::ReadSecret, ObjectKind::Secret, 8_u64));
    assert!(!receipts[0].covers(Operation::ReadSecret, ObjectKind::Client, 7_u64));
    assert!(!receipts[0].covers(Operation::RevealSecret, ObjectKind::Secret, 7_u64));
    assert!(!receipts[1].covers(Operation::ReadSecret, ObjectKind::Secret, 7_u64));
    assert_eq!(trail.append(Vec::new()).await.unwrap(), []);
}

#[tokio::test]
async fn without_a_record_there_is_no_receipt_and_no_gap_afterwards() {
    let awaited = sink();
    let trail = start(&awaited).await;
    record(&trail, 1, 2).await;
    for _ in 0..20 {
        awaited.set(Down::Refuses);
        let error = trail.record(&event(9)).await.unwrap_err();
        assert!(matches!(error, AuditError::Store(_)), "{error}");
        assert!(trail.append(vec![event(9), event(9)]).await.is_err());
        awaited.set(Down::No);
        record(&trail, 3, 3).await;
    }
    let chain = awaited.chain(SERVER);
    assert_eq!(chain.last(), 22);
    assert!(!ids(&chain).contains(&9));
    assert_eq!(trail.head(), *chain.head());
}

#[tokio::test]
async fn a_lost_answer_gives_no_receipt_and_no_number_twice() {
    let awaited = sink();
    let trail = start(&awaited).await;
    record(&trail, 1, 1).await;
    awaited.set(Down::Forgets);
    trail.record(&event(2)).await.unwrap_err();
    awaited.set(Down::Refuses);
    trail.record(&event(3)).await.unwrap_err();
    assert_eq!(trail.head().sequence, 2, "what was kept is found");
    awaited.set(Down::No);
    assert_eq!(trail.record(&event(4)).await.unwrap().sequence(), 3);
    assert_eq!(ids(&awaited.chain(SERVER)), [1, 2, 4]);
}

#[tokio::test]
async fn a_sink_that_lost_entries_gets_no_more() {
    let awaited = sink();
    let trail = start(&awaited).await;
    record(&trail, 1, 2).await;
    awaited.set(Down::Refuses);
    trail.record(&event(3)).await.unwrap_err();
    awaited.0.lock().unwrap().batches.pop();
    awaited.set(Down::No);
    let error = trail.record(&event(3)).await.unwrap_err();
    assert!(matches!(error, AuditError::Diverged { .. }), "{error}");
}

#[tokio::test]
async fn nobody_waits_for_a_writer_that_is_gone() {
    let awaited = sink();
    let trail = start(&awaited).await;
    awaited.set(Down::Panics);
    let error = trail.record(&event(1)).await.unwrap_err();
    assert!(matches!(error, AuditError::Closed), "{error}");
    assert!(trail.record(&event(1)).await.is_err());
    trail.close().await;
}

#[tokio::test]
async fn a_closed_trail_takes_nothing() {
    let (awaited, follower) = (sink(), sink());
    let trail = start_followed(&awaited, &follower).await.unwrap();
    record(&trail, 1, 3).await;
    trail.close().await;
    assert_eq!(follower.chain(SERVER).last(), 3);
    assert_eq!(trail.lag(), 0);
    assert!(matches!(
        trail.record(&event(1)).await,
        Err(AuditError::Closed)
    ));
    trail.close().await;
}

#[tokio::test]
async fn a_follower_resumes_after_a_restart_without_gaps_or_doubles() {
    let (awaited, follower) = (sink(), sink());
    for turn in 0..4 {
        let down = if turn % 2 == 0 {
            Down::No
        } else {
            Down::Refuses
        };
        follower.set(down);
        let trail = start_followed(&awaited, &follower).await.unwrap();
        record(&trail, turn * 10 + 1, turn * 10 + 10).await;
        assert!(trail.lag() <= trail.head().sequence);
        trail.close().await;
    }
    assert_eq!(follower.chain(SERVER).last(), 30);
    follower.set(Down::No);
    start_followed(&awaited, &follower)
        .await
        .unwrap()
        .close()
        .await;
    assert_eq!(follower.chain(SERVER), awaited.chain(SERVER));
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_fails_blocks_nobody_and_catches_up() {
    let (awaited, follower) = (sink(), sink());
    let trail = start_followed(&awaited, &follower).await.unwrap();
    for down in [Down::Refuses, Down::Forgets] {
        follower.set(down);
        let before = trail.head().sequence;
        record(&trail, 1, 50).await;
        assert!(
            trail.lag() >= 49 || down == Down::Forgets,
            "{}",
            trail.lag()
        );
        assert_eq!(trail.head().sequence, before + 50);
        follower.set(Down::No);
        while trail.lag() > 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(follower.chain(SERVER), awaited.chain(SERVER));
    }
}

#[tokio::test]
async fn what_does_not_fit_in_memory_is_read_again() {
    let (awaited, follower) = (sink(), sink());
    let mut options = TrailOptions::new(SERVER, Arc::clone(&awaited) as Arc<dyn AuditSink>)
        .follower(Arc::clone(&follower) as Arc<dyn AuditSink>);
    options.queue_bytes = 1000;
    options.follower_batch = 7;
    options.gather = Duration::ZERO;
    let trail = Trail::start(options).await.unwrap();
    trail.append((1..=5).map(event).collect()).await.unwrap();
    let reads = awaited.0.lock().unwrap().reads;
    record(&trail, 6, 40).await;
    trail.close().await;
    assert!(awaited.0.lock().unwrap().reads > reads);
    assert_eq!(follower.chain(SERVER), awaited.chain(SERVER));
    assert!(follower.batches().iter().all(|batch| batch.count() <= 7));
}

#[tokio::test]
async fn small_batches_are_merged_for_the_follower() {
    let (awaited, follower) = (sink(), sink());
    let mut options = TrailOptions::new(SERVER, Arc::clone(&awaited) as Arc<dyn AuditSink>)
        .follower(Arc::clone(&follower) as Arc<dyn AuditSink>);
    options.gather = Duration::from_hours(1);
    let trail = Trail::start(options).await.unwrap();
    record(&trail, 1, 600).await;
    trail.close().await;
    assert_eq!(awaited.batches().len(), 600);
    assert_eq!(follower.chain(SERVER), awaited.chain(SERVER));
    assert!(
        follower.batches().len() <= 3,
        "{}",
        follower.batches().len()
    );
}

#[tokio::test]
async fn entries_that_only_the_follower_has_are_brought_back() {
    let (awaited, follower) = (sink(), sink());
    let trail = start_followed(&awaited, &follower).await.unwrap();
    record(&trail, 1, 5).await;
    trail.close().await;
    awaited.0.lock().unwrap().batches.truncate(2);
    let trail = start_followed(&awaited, &follower).await.unwrap();
    assert_eq!(trail.head().sequence, 5);
    record(&trail, 6, 6).await;
    trail.close().await;
    assert_eq!(ids(&awaited.chain(SERVER)), [1, 2, 3, 4, 5, 6]);
    assert_eq!(follower.chain(SERVER), awaited.chain(SERVER));
}

#[tokio::test]
async fn two_different_chains_do_not_start() {
    let (awaited, follower) = (sink(), sink());
    let trail = start_followed(&awaited, &follower).await.unwrap();
    record(&trail, 1, 5).await;
    trail.close().await;
    for (keep, more) in [(2, 0), (2, 3), (2, 9)] {
        let other = sink();
        other
            .0
            .lock()
            .unwrap()
            .batches
            .extend_from_slice(&awaited.batches()[..keep]);
        let trail = start(&other).await;
        record(&trail, 100, 100 + more).await;
        trail.close().await;
        let error = start_followed(&other, &follower).await.unwrap_err();
        assert!(matches!(error, AuditError::Diverged { .. }), "{error}");
    }
}
