use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::TimeDelta;
use tempfile::TempDir;

use super::*;
use crate::audit::chain::Checkpoint;
use crate::audit::file::segment;
use crate::audit::fixture::{event, vault};
use crate::audit::line::push_checkpoint;
use crate::audit::{
    AuditSink as _, FileSink, FileSinkOptions, StoreSink, Trail, TrailOptions, search,
};
use crate::crypto::Sealer;
use crate::entropy::OsEntropy;
use crate::store::{
    ChangeSet, Changes, Job, Kind, Lease, LogPage, LogQuery, LogRecord, MemoryStore, OperationId,
    Order, Page, Query, Record, RecordKey, RecordPage, Snapshot, Store, StoreError, Term, Topic,
};
use crate::testing::ManualClock;
use crate::time::Clock as _;

/// A folder of three segments with a checkpoint every three entries, and its copy in a store.
struct Written {
    folder: TempDir,
    keyring: Arc<Keyring>,
    sealer: Arc<Sealer>,
    store: Arc<MemoryStore>,
    head: Head,
    clock: Arc<ManualClock>,
}

async fn written() -> Written {
    let folder = tempfile::tempdir().unwrap();
    let (sealer, keyring) = vault();
    let clock = Arc::new(ManualClock::default());
    let store = Arc::new(MemoryStore::new());
    let mut options = FileSinkOptions::new(
        folder.path(),
        Arc::clone(&keyring),
        Arc::clone(&clock) as _,
        Arc::new(OsEntropy),
    );
    options.segment_bytes = 2500;
    options.checkpoint_every = 3;
    let sink = FileSink::open(options).unwrap();
    let follower = StoreSink::new(
        Arc::clone(&store) as _,
        Arc::clone(&sealer),
        Arc::clone(&keyring),
    );
    let mut options = TrailOptions::new(sink.server(), Arc::new(sink)).follower(Arc::new(follower));
    options.follower_batch = 4;
    let trail = Trail::start(options).await.unwrap();
    for id in 1..=15 {
        let _receipt = trail.record(&event(id)).await.unwrap();
    }
    trail.close().await;
    let head = trail.head();
    Written {
        folder,
        keyring,
        sealer,
        store,
        head,
        clock,
    }
}

impl Written {
    fn segments(&self) -> Vec<PathBuf> {
        let list = segment::list(self.folder.path()).unwrap();
        list.into_iter().map(|(_, path)| path).collect()
    }

    fn verifier(&self) -> Verifier<'_> {
        Verifier::new(Some(&self.keyring))
    }

    fn check(&self) -> Report {
        verify_folder(self.verifier(), self.folder.path()).unwrap()
    }

    /// What is found while the segment is this.
    fn check_with(&self, path: &PathBuf, bytes: &[u8]) -> Report {
        let sound = fs::read(path).unwrap();
        fs::write(path, bytes).unwrap();
        let report = self.check();
        fs::write(path, sound).unwrap();
        report
    }
}

fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|b| *b == b'\n').collect()
}

#[tokio::test]
async fn a_sound_trail_is_sound_everywhere() {
    let written = written().await;
    let report = written.check();
    assert_eq!(report.faults, []);
    assert!(written.segments().len() >= 3);
    let chain = ChainReport {
        after: Head::start(written.head.server),
        head: written.head,
        entries: 15,
        signed: 15,
    };
    assert_eq!(report.chains, [chain]);

    let report = verify_store(written.verifier(), &*written.store, &written.sealer)
        .await
        .unwrap();
    assert_eq!(report.faults, []);
    assert_eq!(report.chains[0].head, written.head);

    let mut all = Vec::new();
    for path in written.segments() {
        all.extend(fs::read(path).unwrap());
    }
    let report = verify_lines(written.verifier().expect(written.head), &*all).unwrap();
    assert_eq!(report.faults, []);
    assert_eq!(report.chains, [chain]);
}

#[tokio::test]
async fn every_flipped_byte_is_found() {
    let written = written().await;
    let segments = written.segments();
    let sound = [&segments[0], &segments[1]].map(|path| fs::read(path).unwrap());
    let sound = sound.concat();
    for at in 0..sound.len() {
        let mut changed = sound.clone();
        changed[at] ^= 1 << (at % 8);
        let report = verify_lines(written.verifier(), &*changed).unwrap();
        assert!(!report.is_sound(), "byte {at}");
    }
    let path = &segments[2];
    let mut changed = fs::read(path).unwrap();
    changed[300] ^= 1;
    assert!(!written.check_with(path, &changed).is_sound());
}

#[tokio::test]
async fn the_changed_entry_is_named() {
    let written = written().await;
    let path = &written.segments()[0];
    let sound = fs::read_to_string(path).unwrap();
    let report = written.check_with(path, sound.replacen("secret-3", "secret-4", 1).as_bytes());
    let fault = Fault {
        file: Some("00000000000000000001-2026-01-01.jsonl".to_owned()),
        line: 4,
        ..Fault::new(written.head.server, 3, Wrong::Hash)
    };
    assert_eq!(report.faults, std::slice::from_ref(&fault));
    assert_eq!(
        fault.to_string(),
        format!(
            "00000000000000000001-2026-01-01.jsonl, line 4, server {}, entry 3: the hash does not \
             match: the entry was changed, or one before it",
            written.head.server
        )
    );
}

#[tokio::test]
async fn removed_doubled_and_moved_lines_are_found() {
    let written = written().await;
    for path in written.segments() {
        let sound = fs::read(&path).unwrap();
        let lines = lines(&sound);
        for at in 0..lines.len() {
            let checkpoint = lines[at].starts_with(b"{\"checkpoint");
            let removed = [&lines[..at], &lines[at + 1..]].concat().concat();
            let report = written.check_with(&path, &removed);
            // Without it nothing else is said than with it.
            assert_eq!(report.is_sound(), checkpoint, "removed line {at}");

            let doubled = [&lines[..=at], &lines[at..]].concat().concat();
            assert!(!written.check_with(&path, &doubled).is_sound(), "line {at}");

            if at + 1 < lines.len() {
                let mut moved = lines.clone();
                moved.swap(at, at + 1);
                let report = written.check_with(&path, &moved.concat());
                assert!(!report.is_sound(), "moved line {at}");
            }
        }
    }
}

#[tokio::test]
async fn a_removed_or_doubled_segment_is_found() {
    let written = written().await;
    let segments = written.segments();
    for (number, path) in segments.iter().enumerate() {
        let sound = fs::read(path).unwrap();
        fs::remove_file(path).unwrap();
        let report = verify_folder(
            written.verifier().expect(written.head),
            written.folder.path(),
        );
        let report = report.unwrap();
        let wrong = &report.faults[0].wrong;
        match number {
            0 => assert!(matches!(wrong, Wrong::Beginning(_)), "{wrong}"),
            n if n + 1 == segments.len() => assert_eq!(*wrong, Wrong::End(15)),
            _ => assert_eq!(*wrong, Wrong::Start),
        }
        fs::write(path, &sound).unwrap();
        let copy = path.to_str().unwrap().replace("2026-01-01", "2026-01-02");
        fs::write(&copy, &sound).unwrap();
        assert!(!written.check().is_sound());
        fs::remove_file(&copy).unwrap();
    }
    assert!(written.check().is_sound());
    fs::remove_file(&segments[0]).unwrap();
    let report = verify_folder(written.verifier().partial(), written.folder.path()).unwrap();
    assert_eq!(report.faults, []);
}

#[tokio::test]
async fn a_cut_end_is_found_with_the_head_in_the_store() {
    let written = written().await;
    let known = StoreSink::new(
        Arc::clone(&written.store) as _,
        Arc::clone(&written.sealer),
        Arc::clone(&written.keyring),
    )
    .head(written.head.server)
    .await
    .unwrap();
    assert_eq!(known, Some(written.head));
    let path = written.segments().pop().unwrap();
    let sound = fs::read(&path).unwrap();
    let lines = lines(&sound);
    // The last is a checkpoint, the one before the last entry.
    for end in 1..lines.len() - 1 {
        fs::write(&path, lines[..end].concat()).unwrap();
        assert!(written.check().is_sound());
        let verifier = written.verifier().expect(written.head);
        let report = verify_folder(verifier, written.folder.path()).unwrap();
        assert_eq!(report.faults.len(), 1);
        assert_eq!(report.faults[0].wrong, Wrong::End(15));
        assert_eq!(report.faults[0].sequence, report.chains[0].head.sequence);
    }
    fs::write(&path, &sound[..sound.len() - 1]).unwrap();
    assert_eq!(written.check().faults[0].wrong, Wrong::Torn);
    let empty = tempfile::tempdir().unwrap();
    let report = verify_folder(written.verifier().expect(written.head), empty.path()).unwrap();
    assert_eq!(report.faults[0].wrong, Wrong::End(15));
}

/// A chain of the same length that is sound in itself, by somebody who can write the files.
fn rewritten(written: &Written, signed_by: Option<&Keyring>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut head = Head::start(written.head.server);
    crate::audit::line::push_start(&mut out, &head);
    for id in 101..=115 {
        let event = serde_json::to_vec(&event(id)).unwrap();
        head.sequence += 1;
        head.link = head.link.next(&event);
        crate::audit::line::push_entry(&mut out, head.sequence, &head.link, &event);
    }
    if let Some(keyring) = signed_by {
        let checkpoint = Checkpoint::sign(keyring, &head, written.clock.now());
        push_checkpoint(&mut out, &checkpoint);
    }
    out
}

#[tokio::test]
async fn a_forged_chain_is_found_by_its_checkpoints_or_by_the_store() {
    let written = written().await;
    let forged = rewritten(&written, Some(&Keyring::generate(&OsEntropy)));
    let report = verify_lines(written.verifier(), &*forged).unwrap();
    assert_eq!(report.faults[0].wrong, Wrong::Signature);

    let unsigned = rewritten(&written, None);
    let report = verify_lines(written.verifier(), &*unsigned).unwrap();
    assert_eq!((report.is_sound(), report.chains[0].signed), (true, 0));
    let report = verify_lines(written.verifier().expect(written.head), &*unsigned).unwrap();
    assert_eq!(report.faults[0].wrong, Wrong::Replaced);

    // A true checkpoint in another place, with another time, or of another server.
    let path = &written.segments()[0];
    let sound = fs::read_to_string(path).unwrap();
    let later = written.clock.now() + TimeDelta::days(1);
    let day = later.format("%Y-%m-%d").to_string();
    let (head, tail) = sound.rsplit_once("\"at\":\"2026-01-01").unwrap();
    let changed = format!("{head}\"at\":\"{day}{tail}");
    let report = written.check_with(path, changed.as_bytes());
    assert_eq!(report.faults[0].wrong, Wrong::Signature);
}

/// A store that shows another log than it was given.
#[derive(Debug)]
struct Lying(Vec<(u64, LogRecord)>);

#[async_trait]
impl Store for Lying {
    async fn read_log(&self, _query: &LogQuery) -> Result<LogPage, StoreError> {
        Ok(LogPage {
            records: self.0.clone(),
            next: None,
        })
    }

    async fn find(&self, _key: RecordKey) -> Result<Option<Record>, StoreError> {
        unreachable!("the trail reads the log only")
    }

    async fn find_by(&self, _kind: Kind, _term: &Term) -> Result<Option<Record>, StoreError> {
        unreachable!("the trail reads the log only")
    }

    async fn list(&self, _query: &Query, _page: Page) -> Result<RecordPage, StoreError> {
        unreachable!("the trail reads the log only")
    }

    async fn commit(&self, _set: ChangeSet) -> Result<(), StoreError> {
        unreachable!("the trail reads the log only")
    }

    async fn resolve(&self, _operation: OperationId) -> Result<bool, StoreError> {
        unreachable!("the trail reads the log only")
    }

    async fn advance_ids(&self, _kind: Kind, _past: u64) -> Result<(), StoreError> {
        unreachable!("the trail reads the log only")
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        unreachable!("the trail reads the log only")
    }

    async fn next_id(&self, _kind: Kind) -> Result<u64, StoreError> {
        unreachable!("the trail reads the log only")
    }

    async fn append_log(&self, _records: Vec<LogRecord>) -> Result<(), StoreError> {
        unreachable!("the trail reads the log only")
    }

    async fn claim_due(
        &self,
        _topics: &[Topic],
        _now: crate::time::Timestamp,
        _lease_for: std::time::Duration,
        _limit: usize,
    ) -> Result<Vec<Lease>, StoreError> {
        unreachable!("the trail reads the log only")
    }

    async fn extend(
        &self,
        _lease: &Lease,
        _until: crate::time::Timestamp,
    ) -> Result<Lease, StoreError> {
        unreachable!("the trail reads the log only")
    }

    async fn list_jobs(&self, _topics: &[Topic], _limit: usize) -> Result<Vec<Job>, StoreError> {
        unreachable!("the trail reads the log only")
    }

    fn changes(&self) -> Changes {
        unreachable!("the trail reads the log only")
    }

    async fn probe(&self) -> Result<(), StoreError> {
        unreachable!("the trail reads the log only")
    }

    async fn close(&self) {
        unreachable!("the trail reads the log only")
    }
}

#[tokio::test]
async fn a_store_that_lies_is_found_out() {
    type Change = fn(&mut Vec<(u64, LogRecord)>);
    let written = written().await;
    let mut query = LogQuery::newest(100);
    query.order = Order::OldestFirst;
    let records = written.store.read_log(&query).await.unwrap().records;
    assert!(records.len() >= 3, "{}", records.len());
    let cases: &[(Change, Wrong)] = &[
        (|r| drop(r.remove(1)), Wrong::Start),
        (|r| drop(r.remove(0)), Wrong::Beginning(5)),
        (|r| drop(r.pop()), Wrong::End(15)),
        (|r| r.swap(1, 2), Wrong::Start),
        (|r| r.insert(1, r[1].clone()), Wrong::Start),
        (|r| r[1].1.body = r[0].1.body.clone(), Wrong::Sealed),
        (|r| r[1].1.body[100] ^= 1, Wrong::Sealed),
        (|r| r[1].1.server.0[0] ^= 1, Wrong::Sealed),
        (|r| r[1].1.sequence += 1, Wrong::Sealed),
        (|r| r[1].1.last_sequence += 1, Wrong::Listing),
        (|r| r[1].1.until += TimeDelta::seconds(1), Wrong::Listing),
        (|r| r[1].1.terms.truncate(1), Wrong::Listing),
    ];
    for (number, (change, wrong)) in cases.iter().enumerate() {
        let mut records = records.clone();
        change(&mut records);
        let store = Lying(records);
        let verifier = written.verifier().expect(written.head);
        let report = verify_store(verifier, &store, &written.sealer)
            .await
            .unwrap();
        assert_eq!(report.faults[0].wrong, *wrong, "case {number}");
        let found = search(
            &store,
            &written.sealer,
            &written.keyring,
            &crate::audit::AuditQuery::newest(100),
        )
        .await;
        let unbelieved = matches!(wrong, Wrong::Sealed) || number == 9;
        assert_eq!(found.is_err(), unbelieved, "case {number}");
    }
}
