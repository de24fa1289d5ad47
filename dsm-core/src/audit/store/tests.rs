use super::*;
use crate::audit::fixture::{chained, event, vault};
use crate::audit::{
    Event, FileSink, FileSinkOptions, Trail, TrailOptions, Verifier, verify_folder,
};
use crate::entropy::OsEntropy;
use crate::store::MemoryStore;
use crate::testing::ManualClock;

const SERVER: ServerId = ServerId([7; 16]);

struct Bench {
    store: Arc<MemoryStore>,
    sealer: Arc<Sealer>,
    keyring: Arc<Keyring>,
}

impl Bench {
    fn new() -> Self {
        let (sealer, keyring) = vault();
        let store = Arc::new(MemoryStore::new());
        Self {
            store,
            sealer,
            keyring,
        }
    }

    fn sink(&self) -> StoreSink {
        StoreSink::new(
            Arc::clone(&self.store) as _,
            Arc::clone(&self.sealer),
            Arc::clone(&self.keyring),
        )
    }
}

#[tokio::test]
async fn a_number_that_is_taken_is_not_acknowledged() {
    let bench = Bench::new();
    let start = Head::start(SERVER);
    let early = chained(start, &[event(1), event(2)]);
    // An attempt that was given up arrives late, and takes the number of the one after it.
    bench.sink().append(Arc::clone(&early)).await.unwrap();
    let sink = bench.sink();
    let error = sink.append(chained(start, &[event(3)])).await.unwrap_err();
    assert!(matches!(error, AuditError::Diverged { .. }), "{error}");
    assert_eq!(sink.head(SERVER).await.unwrap(), Some(*early.head()));

    sink.append(chained(*early.head(), &[event(3)]))
        .await
        .unwrap();
    let error = sink.append(chained(start, &[event(4)])).await.unwrap_err();
    assert!(matches!(error, AuditError::Diverged { .. }), "{error}");
}

#[tokio::test]
async fn entries_are_read_from_any_number() {
    let bench = Bench::new();
    let sink = bench.sink();
    let mut head = Head::start(SERVER);
    for id in 0..70 {
        let batch = chained(head, &[event(id), event(id), event(id)]);
        head = *batch.head();
        sink.append(batch).await.unwrap();
    }
    for limit in [1, 3, 10, 500] {
        let reader = bench.sink();
        let mut at = Head::start(SERVER);
        while let Some(batch) = reader.read(SERVER, at.sequence + 1, limit).await.unwrap() {
            assert_eq!(*batch.after(), at);
            at = *batch.head();
        }
        assert_eq!(at, head);
    }
    for from in (1..=210).rev() {
        let batch = sink.read(SERVER, from, 1).await.unwrap().unwrap();
        assert_eq!(batch.first(), from);
    }
    assert_eq!(sink.read(ServerId([8; 16]), 1, 1).await.unwrap(), None);
    assert_eq!(sink.head(ServerId([8; 16])).await.unwrap(), None);
}

#[tokio::test]
async fn the_store_can_be_waited_for_and_the_disk_follow() {
    let bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    for turn in 0..3 {
        let disk = FileSink::open(FileSinkOptions::new(
            folder.path(),
            Arc::clone(&bench.keyring),
            Arc::new(ManualClock::default()),
            Arc::new(OsEntropy),
        ))
        .unwrap();
        let options = TrailOptions::new(disk.server(), Arc::new(bench.sink()));
        let trail = Trail::start(options.follower(Arc::new(disk)))
            .await
            .unwrap();
        for id in 1..=5 {
            let receipt = trail.record(&event(id)).await.unwrap();
            assert_eq!(receipt.sequence(), turn * 5 + id);
        }
        trail.close().await;
        let verifier = Verifier::new(Some(&bench.keyring)).expect(trail.head());
        let report = verify_folder(verifier, folder.path()).unwrap();
        assert_eq!(report.faults, []);
    }
}

#[test]
fn a_batch_comes_back_from_its_sealed_form_and_from_no_part_of_it() {
    let batch = chained(Head::start(SERVER), &[event(1), event(2), event(2)]);
    let bytes = batch.to_bytes();
    assert!(bytes.len() < batch.lines().len());
    assert_eq!(Batch::from_bytes(&bytes), Ok(Batch::clone(&batch)));
    for end in 0..bytes.len() {
        assert!(Batch::from_bytes(&bytes[..end]).is_err(), "{end}");
    }
    let link = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mut other = bytes;
    other[link] ^= 1;
    assert_eq!(Batch::from_bytes(&other).unwrap_err().wrong, Wrong::Hash);
}

#[test]
fn a_batch_is_listed_from_its_earliest_to_its_latest_instant() {
    let (_, keyring) = vault();
    let at = |second| Event {
        at: format!("2026-01-01T00:00:0{second}.5Z").parse().unwrap(),
        ..event(1)
    };
    // The first entry is read, the others are known by then.
    for events in [
        [at(2), at(3), at(1)],
        [at(1), at(2), at(3)],
        [at(3), at(1), at(2)],
    ] {
        let listing = Listing::of(&keyring, &chained(Head::start(SERVER), &events));
        assert_eq!((listing.from, listing.until), (at(1).at, at(3).at));
    }
}
