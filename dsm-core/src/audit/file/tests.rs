use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use chrono::TimeDelta;
use tempfile::TempDir;

use super::*;
use crate::audit::fixture::event;
use crate::audit::{Report, Trail, TrailOptions, Verifier, Wrong, verify_folder};
use crate::entropy::OsEntropy;
use crate::testing::ManualClock;

pub(super) struct Bench {
    folder: TempDir,
    pub(super) clock: Arc<ManualClock>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) segment_bytes: u64,
    pub(super) checkpoint_every: u64,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: Arc::default(),
            keyring: Arc::new(Keyring::generate(&OsEntropy)),
            segment_bytes: 64 << 20,
            checkpoint_every: 512,
        }
    }

    /// Another folder of the same vault.
    pub(super) fn apart(&self) -> Self {
        Self {
            keyring: Arc::clone(&self.keyring),
            clock: Arc::clone(&self.clock),
            ..Self::new()
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("audit")
    }

    pub(super) fn options(&self) -> FileSinkOptions {
        FileSinkOptions {
            segment_bytes: self.segment_bytes,
            checkpoint_every: self.checkpoint_every,
            ..FileSinkOptions::new(
                self.path(),
                Arc::clone(&self.keyring),
                Arc::clone(&self.clock) as Arc<dyn Clock>,
                Arc::new(OsEntropy),
            )
        }
    }

    pub(super) async fn start(&self) -> Trail {
        self.start_on(Plain).await
    }

    pub(super) async fn start_on(&self, medium: impl Medium + 'static) -> Trail {
        let sink = FileSink::open_on(Arc::new(medium), self.options()).unwrap();
        let options = TrailOptions::new(sink.server(), Arc::new(sink));
        Trail::start(options).await.unwrap()
    }

    pub(super) fn verify(&self) -> Report {
        verify_folder(Verifier::new(Some(&self.keyring)), &self.path()).unwrap()
    }

    pub(super) fn segments(&self) -> Vec<PathBuf> {
        let list = segment::list(&self.path()).unwrap();
        list.into_iter().map(|(_, path)| path).collect()
    }
}

pub(super) async fn record(trail: &Trail, from: u64, to: u64) {
    for id in from..=to {
        assert_eq!(trail.record(&event(id)).await.unwrap().sequence(), id);
    }
}

pub(super) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_chain_goes_on_after_a_restart() {
    let bench = Bench::new();
    let mut servers = BTreeSet::new();
    for turn in 0..3 {
        let trail = bench.start().await;
        servers.insert(trail.server());
        record(&trail, turn * 3 + 1, turn * 3 + 3).await;
        trail.close().await;
    }
    assert_eq!(servers.len(), 1);
    let report = bench.verify();
    assert_eq!(report.faults, []);
    assert_eq!(report.chains[0].entries, 9);
    assert_eq!(report.chains[0].signed, 9);
    assert_eq!(bench.segments().len(), 1);
}

#[tokio::test]
async fn only_the_owner_can_read_and_one_process_writes() {
    let bench = Bench::new();
    let trail = bench.start().await;
    record(&trail, 1, 1).await;
    assert_eq!(mode(&bench.path()), 0o700);
    for entry in fs::read_dir(bench.path()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    let error = FileSink::open(bench.options()).unwrap_err();
    assert!(matches!(error, AuditError::Locked(_)), "{error}");
    trail.close().await;
    FileSink::open(bench.options()).unwrap();
}

#[tokio::test]
async fn segments_end_by_size_and_by_day() {
    let mut bench = Bench::new();
    bench.segment_bytes = 2000;
    let trail = bench.start().await;
    record(&trail, 1, 20).await;
    let by_size = bench.segments();
    assert!(by_size.len() > 2, "{by_size:?}");
    for path in &by_size {
        assert!(fs::metadata(path).unwrap().len() < 3000);
    }
    trail.close().await;

    bench.segment_bytes = 64 << 20;
    let trail = bench.start().await;
    record(&trail, 21, 22).await;
    assert_eq!(bench.segments(), by_size);
    bench.clock.advance(TimeDelta::days(1));
    record(&trail, 23, 24).await;
    bench.clock.advance(TimeDelta::days(1));
    trail.close().await;
    let trail = bench.start().await;
    record(&trail, 25, 25).await;
    let names: Vec<_> = bench.segments()[by_size.len()..]
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        names,
        [
            "00000000000000000023-2026-01-02.jsonl",
            "00000000000000000025-2026-01-03.jsonl"
        ]
    );
    trail.close().await;
    let report = bench.verify();
    assert_eq!(report.faults, []);
    assert_eq!(report.chains[0].signed, 25);
}

#[tokio::test]
async fn a_new_day_without_entries_leaves_one_empty_segment_at_most() {
    let bench = Bench::new();
    let mut servers = BTreeSet::new();
    for _ in 0..3 {
        let trail = bench.start().await;
        servers.insert(trail.server());
        trail.close().await;
        bench.clock.advance(TimeDelta::days(1));
    }
    let trail = bench.start().await;
    record(&trail, 1, 1).await;
    servers.insert(trail.server());
    assert_eq!((servers.len(), bench.segments().len()), (1, 1));
}

#[tokio::test]
async fn a_crash_at_any_byte_of_the_last_append_loses_nothing_acknowledged() {
    let mut bench = Bench::new();
    bench.checkpoint_every = 2;
    let trail = bench.start().await;
    record(&trail, 1, 3).await;
    let path = bench.segments().remove(0);
    let before = fs::metadata(&path).unwrap().len();
    // Entry 4 comes with a checkpoint of entry 3, entry 5 without one.
    trail.append(vec![event(4), event(5)]).await.unwrap();
    drop(trail);
    let whole = fs::read(&path).unwrap();
    let name = path.file_name().unwrap();

    for end in before..=whole.len() as u64 {
        let cut = usize::try_from(end).unwrap();
        let hole = (cut % 7 == 0).then_some(700);
        for fill in std::iter::once(0).chain(hole) {
            let copy = bench.apart();
            fs::create_dir(copy.path()).unwrap();
            let mut bytes = whole[..cut].to_vec();
            bytes.resize(cut + fill, 0);
            fs::write(copy.path().join(name), bytes).unwrap();

            let trail = copy.start().await;
            let kept = trail.head().sequence;
            let lines = whole[..cut].split_inclusive(|b| *b == b'\n');
            let entries = lines.filter(|l| l.starts_with(b"{\"seq") && l.ends_with(b"\n"));
            assert_eq!(kept, entries.count() as u64, "cut at {cut}");
            assert!(kept >= 3);
            record(&trail, kept + 1, kept + 2).await;
            trail.close().await;
            let report = copy.verify();
            assert_eq!(report.faults, [], "cut at {cut}");
            assert_eq!(report.chains[0].entries, kept + 2);
        }
    }
}

#[tokio::test]
async fn a_segment_without_a_first_line_is_replaced() {
    let bench = Bench::new();
    let trail = bench.start().await;
    record(&trail, 1, 2).await;
    let server = trail.server();
    trail.close().await;
    let name = "00000000000000000003-2026-01-01.jsonl";
    for left in ["", "{\"server\":\"07"] {
        fs::write(bench.path().join(name), left).unwrap();
        let trail = bench.start().await;
        assert_eq!((trail.server(), trail.head().sequence), (server, 2));
        trail.close().await;
        assert_eq!(bench.segments().len(), 1);
    }
}

#[tokio::test]
async fn what_was_changed_is_not_continued() {
    let mut bench = Bench::new();
    bench.checkpoint_every = 2;
    let trail = bench.start().await;
    record(&trail, 1, 6).await;
    trail.close().await;
    let path = bench.segments().remove(0);
    let sound = fs::read(&path).unwrap();
    let lines: Vec<_> = sound.split_inclusive(|b| *b == b'\n').collect();
    for line in 0..lines.len() {
        let removed = [&lines[..line], &lines[line + 1..]].concat().concat();
        let doubled = [&lines[..=line], &lines[line..]].concat().concat();
        // The end cut off at a line looks like a crash, and a checkpoint says nothing new.
        let harmless = sound.starts_with(&removed) || lines[line].starts_with(b"{\"check");
        for (changed, harmless) in [(removed, harmless), (doubled, false)] {
            fs::write(&path, &changed).unwrap();
            let opened = FileSink::open(bench.options());
            assert_eq!(opened.is_ok(), harmless, "line {line}");
        }
    }
    let mut hole = sound.clone();
    hole[lines[0].len() + 100..lines[0].len() + 200].fill(0);
    fs::write(&path, &hole).unwrap();
    let error = FileSink::open(bench.options()).unwrap_err();
    assert!(matches!(error, AuditError::Damaged { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), hole, "nothing was touched");
}

/// Fails the calls it is told to, after having done part of them.
#[derive(Clone, Default)]
struct Faulty(Arc<Plan>);

#[derive(Default)]
struct Plan {
    write: AtomicUsize,
    sync: AtomicUsize,
    truncate: AtomicUsize,
}

pub(super) fn fails(counter: &AtomicUsize) -> bool {
    counter
        .try_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            left.checked_sub(1)
        })
        .is_ok()
}

impl Medium for Faulty {
    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<()> {
        if fails(&self.0.write) {
            Plain.write(file, &bytes[..bytes.len() / 2])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Plain.write(file, bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        if fails(&self.0.sync) {
            return Err(io::Error::other("told so"));
        }
        Plain.sync(file)
    }

    fn truncate(&self, file: &File, len: u64) -> io::Result<()> {
        if fails(&self.0.truncate) {
            return Err(io::Error::other("told so"));
        }
        Plain.truncate(file, len)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_gives_no_receipt_and_is_left_behind_when_there_is_room() {
    let bench = Bench::new();
    let medium = Faulty::default();
    let trail = bench.start_on(medium.clone()).await;
    for turn in 1..=20_u16 {
        record(&trail, turn.into(), turn.into()).await;
        medium.0.write.store(2, Ordering::SeqCst);
        let truncate = usize::from(turn % 4);
        medium.0.truncate.store(truncate, Ordering::SeqCst);
        while medium.0.write.load(Ordering::SeqCst) > 0 {
            let error = trail.record(&event(0)).await.unwrap_err();
            let said = error.to_string();
            assert!(
                said.contains("full") || said.contains("check the disk"),
                "{said}"
            );
        }
        medium.0.truncate.store(0, Ordering::SeqCst);
    }
    record(&trail, 21, 21).await;
    trail.close().await;
    let report = bench.verify();
    assert_eq!(
        (report.faults.as_slice(), report.chains[0].entries),
        (&[][..], 21)
    );
    assert_eq!(bench.segments().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failed_sync_a_new_segment_takes_over() {
    let bench = Bench::new();
    let medium = Faulty::default();
    let trail = bench.start_on(medium.clone()).await;
    // The first failure leaves a segment without entries, whose name is used again.
    for turn in 1..=10 {
        medium.0.sync.store(2, Ordering::SeqCst);
        trail.record(&event(0)).await.unwrap_err();
        trail.record(&event(0)).await.unwrap_err();
        record(&trail, turn, turn).await;
    }
    assert_eq!(bench.segments().len(), 10);
    trail.close().await;
    let report = bench.verify();
    assert_eq!(
        (report.faults.as_slice(), report.chains[0].entries),
        (&[][..], 10)
    );
    let trail = bench.start().await;
    record(&trail, 11, 11).await;
}

#[tokio::test]
async fn after_a_failed_sync_lost_data_is_noticed() {
    let bench = Bench::new();
    let medium = Faulty::default();
    let trail = bench.start_on(medium.clone()).await;
    record(&trail, 1, 2).await;
    medium.0.sync.store(1, Ordering::SeqCst);
    trail.record(&event(0)).await.unwrap_err();
    let path = bench.segments().remove(0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[300] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = trail.record(&event(3)).await.unwrap_err();
    assert!(matches!(error, AuditError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn entries_are_read_from_any_number_across_segments() {
    let mut bench = Bench::new();
    bench.segment_bytes = 2000;
    bench.checkpoint_every = 3;
    let sink = Arc::new(FileSink::open(bench.options()).unwrap());
    let server = sink.server();
    let trail = Trail::start(TrailOptions::new(server, Arc::clone(&sink) as _))
        .await
        .unwrap();
    record(&trail, 1, 30).await;
    for limit in [1, 2, 7, 100] {
        let mut from = 1;
        let mut head = Head::start(server);
        while let Some(batch) = sink.read(server, from, limit).await.unwrap() {
            assert_eq!(*batch.after(), head);
            assert!(batch.count() <= limit as u64);
            head = *batch.head();
            from = batch.last() + 1;
        }
        assert_eq!(head, trail.head());
    }
    for from in (1..=30).rev() {
        let batch = sink.read(server, from, 1).await.unwrap().unwrap();
        assert_eq!((batch.first(), batch.last()), (from, from));
    }
    assert_eq!(sink.read(server, 31, 1).await.unwrap(), None);
    assert_eq!(sink.read(ServerId([0; 16]), 1, 1).await.unwrap(), None);
}

#[tokio::test]
async fn a_checkpoint_of_another_vault_is_not_continued() {
    let bench = Bench::new();
    let trail = bench.start().await;
    record(&trail, 1, 2).await;
    trail.close().await;
    let other = Bench {
        keyring: Arc::new(Keyring::generate(&OsEntropy)),
        ..bench
    };
    let error = FileSink::open(other.options()).unwrap_err();
    let AuditError::Damaged { fault, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(fault.wrong, Wrong::Signature);
}

/// Notes on which thread it is asked to sync, and takes its time when it is told to.
#[derive(Clone, Default)]
struct Watched(Arc<Notes>);

#[derive(Default)]
struct Notes {
    slow: AtomicBool,
    threads: Mutex<Vec<Option<String>>>,
}

impl Medium for Watched {
    fn sync(&self, _: &File) -> io::Result<()> {
        let thread = std::thread::current().name().map(str::to_owned);
        // What it does is no batch.
        if thread.as_deref() == Some("audit sync") {
            return Ok(());
        }
        lock(&self.0.threads).push(thread);
        if self.0.slow.load(Ordering::SeqCst) {
            std::thread::sleep(std::time::Duration::from_millis(3));
        }
        Ok(())
    }
}

impl Watched {
    /// Whether the last batch was written by the thread that is there for it.
    fn handed_over(&self) -> bool {
        let threads = lock(&self.0.threads);
        threads
            .last()
            .is_some_and(|name| name.as_deref() == Some("audit"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quick_disk_is_written_to_in_place_and_a_slow_one_holds_up_nobody() {
    let bench = Bench::new();
    let medium = Watched::default();
    let trail = bench.start_on(medium.clone()).await;
    let mut last = 0;
    let mut next = async || {
        last += 1;
        record(&trail, last, last).await;
        medium.handed_over()
    };
    assert!(next().await, "nothing is known of the disk yet");
    // A busy machine may take a while to look quick.
    let mut in_place = false;
    for _ in 0..10_000 {
        if !next().await {
            in_place = true;
            break;
        }
    }
    assert!(in_place);

    medium.0.slow.store(true, Ordering::SeqCst);
    next().await;
    for _ in 0..10 {
        assert!(next().await);
    }
    trail.close().await;
    let report = bench.verify();
    assert_eq!(report.faults, []);
    assert_eq!(report.chains[0].entries, last);
}

#[tokio::test]
async fn the_only_thread_of_a_runtime_never_waits_for_the_disk() {
    let bench = Bench::new();
    let medium = Watched::default();
    let trail = bench.start_on(medium.clone()).await;
    for id in 1..=100 {
        record(&trail, id, id).await;
        assert!(medium.handed_over());
    }
}
