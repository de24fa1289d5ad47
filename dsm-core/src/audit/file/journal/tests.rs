use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use chrono::TimeDelta;

use super::*;
use crate::audit::file::FileSink;
use crate::audit::file::disk::{BUSY, Plain};
use crate::audit::file::tests::{Bench, mode, record};
use crate::audit::fixture::event;

/// Records that bring a journal about.
const LOAD: u64 = BUSY as u64 + 10;

fn files(bench: &Bench) -> Vec<PathBuf> {
    let paths = FILES.map(|name| bench.path().join(name));
    paths.into_iter().filter(|path| path.exists()).collect()
}

/// A disk that knows what would be left after the power was cut.
#[derive(Clone, Default)]
struct Power(Arc<Mutex<BTreeMap<u64, Vec<u8>>>>);

impl Medium for Power {
    fn sync(&self, file: &File) -> io::Result<()> {
        let number = file.metadata()?.ino();
        // Through the name, as a handle that appends does not read.
        let name = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file));
        let bytes = fs::read(fs::read_link(name)?)?;
        self.synced().insert(number, bytes);
        Ok(())
    }
}

impl Power {
    fn synced(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder after a cut. With `some`, the end of what was written is there as well, behind a
    /// hole.
    fn cut(&self, bench: &Bench, some: bool) -> Bench {
        let after = bench.apart();
        fs::create_dir(after.path()).unwrap();
        for entry in fs::read_dir(bench.path()).unwrap() {
            let entry = entry.unwrap();
            let number = entry.metadata().unwrap().ino();
            let mut bytes = self.synced().get(&number).cloned().unwrap_or_default();
            let whole = fs::read(entry.path()).unwrap();
            if some && whole.len() > bytes.len() + 500 {
                bytes.resize(whole.len() - 500, 0);
                bytes.extend_from_slice(&whole[whole.len() - 500..]);
            }
            fs::write(after.path().join(entry.file_name()), bytes).unwrap();
        }
        after
    }
}

/// Everything acknowledged is found, before the next start and after it, and the chain goes on.
async fn nothing_is_lost(bench: &Bench, acknowledged: u64) {
    let report = bench.verify();
    assert_eq!(report.faults, [], "after {acknowledged}");
    assert_eq!(report.chains[0].head.sequence, acknowledged);
    let trail = bench.start().await;
    assert_eq!(trail.head().sequence, acknowledged);
    assert_eq!(files(bench), [] as [PathBuf; 0]);
    record(&trail, acknowledged + 1, acknowledged + 3).await;
    trail.close().await;
    let report = bench.verify();
    assert_eq!(report.faults, [], "after {acknowledged}");
    assert_eq!(report.chains[0].entries, acknowledged + 3);
}

#[tokio::test]
async fn a_cut_of_the_power_at_any_time_loses_nothing_acknowledged() {
    let mut bench = Bench::new();
    bench.segment_bytes = 300_000;
    bench.checkpoint_every = 50;
    let power = Power::default();
    let trail = bench.start_on(power.clone()).await;
    let mut last = 0;
    let mut journaled = 0;
    while last < 2_500 {
        record(&trail, last + 1, last + 1).await;
        last += 1;
        if last == 2_000 {
            bench.clock.advance(TimeDelta::days(1));
        }
        // Soon after the journal begins, and at moments that fall everywhere between its turns.
        if (LOAD - 12..LOAD).contains(&last) || last % 97 == 0 {
            journaled += usize::from(files(&bench).len() == 2);
            for some in [false, true] {
                nothing_is_lost(&power.cut(&bench, some), last).await;
            }
        }
    }
    assert!(journaled > 20, "{journaled}");
    assert!(bench.segments().len() > 3);
}

#[tokio::test]
async fn a_journal_is_for_a_load_and_ends_with_the_sink() {
    let bench = Bench::new();
    let trail = bench.start().await;
    for second in 0..10 {
        record(&trail, second * 40 + 1, second * 40 + 40).await;
        bench.clock.advance(TimeDelta::seconds(1));
    }
    assert_eq!(files(&bench), [] as [PathBuf; 0]);
    record(&trail, 401, 400 + LOAD).await;
    let made = files(&bench);
    assert_eq!(made.len(), 2);
    for path in made {
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::metadata(path).unwrap().len(), SIZE);
    }
    trail.close().await;
    assert_eq!(files(&bench), [] as [PathBuf; 0]);
    nothing_is_lost(&bench, 400 + LOAD).await;
}

#[tokio::test]
async fn a_process_that_is_killed_leaves_a_journal_that_the_next_one_reads() {
    let bench = Bench::new();
    let trail = bench.start().await;
    record(&trail, 1, LOAD).await;
    // Dropped without being closed.
    drop(trail);
    while matches!(FileSink::open(bench.options()), Err(AuditError::Locked(_))) {
        tokio::task::yield_now().await;
    }
    nothing_is_lost(&bench, LOAD).await;
}

#[tokio::test]
async fn a_batch_that_is_longer_than_the_journal_is_synced_by_itself() {
    let bench = Bench::new();
    let power = Power::default();
    let trail = bench.start_on(power.clone()).await;
    record(&trail, 1, LOAD).await;
    let many = || (0..600).map(event).collect();
    for turn in 0..3 {
        // Either of the two files is in use when the long one comes.
        let last = trail.head().sequence;
        record(&trail, last + 1, last + 250).await;
        trail.append(many()).await.unwrap();
        let last = trail.head().sequence;
        nothing_is_lost(&power.cut(&bench, false), last).await;
        record(&trail, last + 1, last + 2).await;
        nothing_is_lost(&power.cut(&bench, turn == 1), last + 2).await;
    }
}

#[tokio::test]
async fn a_segment_that_is_not_the_one_of_the_journal_is_left_as_it_is() {
    let bench = Bench::new();
    let power = Power::default();
    let trail = bench.start_on(power.clone()).await;
    record(&trail, 1, LOAD).await;
    let after = power.cut(&bench, false);
    let path = after.segments().remove(0);
    let sound = fs::read(&path).unwrap();
    for place in [300, sound.len() - 10] {
        let mut changed = sound.clone();
        changed[place] ^= 1;
        fs::write(&path, &changed).unwrap();
        let error = FileSink::open(after.options()).unwrap_err();
        assert!(matches!(error, AuditError::Damaged { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), changed);
        assert!(!after.verify().faults.is_empty());
    }
    fs::write(&path, &sound[..sound.len() / 2]).unwrap();
    let error = FileSink::open(after.options()).unwrap_err();
    assert!(matches!(error, AuditError::Damaged { .. }), "{error}");
    fs::write(&path, sound).unwrap();
    nothing_is_lost(&after, LOAD).await;
}

#[tokio::test]
async fn a_changed_journal_adds_nothing() {
    let bench = Bench::new();
    let power = Power::default();
    let trail = bench.start_on(power.clone()).await;
    record(&trail, 1, LOAD).await;
    let sound = fs::read(&files(&bench)[0]).unwrap();
    let held = usize::try_from(LOAD - u64::from(BUSY)).unwrap();
    let end = sound.iter().position(|byte| *byte == 0).unwrap();
    for place in (0..end).step_by(61) {
        let after = power.cut(&bench, false);
        let mut changed = sound.clone();
        changed[place] ^= 1;
        fs::write(after.path().join(FILES[0]), changed).unwrap();
        // What stands before the change is there; of the rest nothing is invented.
        if let Ok(sink) = FileSink::open(after.options()) {
            drop(sink);
            let report = after.verify();
            assert_eq!(report.faults, [], "changed at {place}");
            let lost = LOAD - report.chains[0].head.sequence;
            assert!((1..=held as u64).contains(&lost), "{lost} at {place}");
        }
    }
}

/// Fails what it is told to of what a journal does, after having done half of it.
#[derive(Clone, Default)]
struct Faulty(Arc<Faults>);

#[derive(Default)]
struct Faults {
    write_at: AtomicUsize,
    sync: AtomicUsize,
    sync_behind: AtomicUsize,
}

fn fails(counter: &AtomicUsize) -> bool {
    let less = |left: usize| left.checked_sub(1);
    counter
        .try_update(Ordering::SeqCst, Ordering::SeqCst, less)
        .is_ok()
}

impl Medium for Faulty {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        if fails(&self.0.write_at) {
            Plain.write_at(file, &bytes[..bytes.len() / 2], offset)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Plain.write_at(file, bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let behind = std::thread::current().name() == Some("audit sync");
        let counter = if behind {
            &self.0.sync_behind
        } else {
            &self.0.sync
        };
        if fails(counter) {
            return Err(io::Error::other("told so"));
        }
        Plain.sync(file)
    }
}

#[tokio::test]
async fn without_room_for_a_journal_the_trail_goes_on_without() {
    let bench = Bench::new();
    let medium = Faulty::default();
    let trail = bench.start_on(medium.clone()).await;
    medium.0.write_at.store(1, Ordering::SeqCst);
    record(&trail, 1, 2 * LOAD).await;
    assert_eq!(files(&bench), [] as [PathBuf; 0]);
    trail.close().await;
    nothing_is_lost(&bench, 2 * LOAD).await;
}

#[tokio::test]
async fn a_journal_that_fails_gives_no_receipt_and_a_new_segment_takes_over() {
    for fault in [0, 1] {
        let bench = Bench::new();
        let medium = Faulty::default();
        let trail = bench.start_on(medium.clone()).await;
        let mut last = 0;
        for turn in 1..=5 {
            // Each is a load of its own, as the clock stands still.
            record(&trail, last + 1, last + LOAD).await;
            last += LOAD;
            assert_eq!(files(&bench).len(), 2, "turn {turn}");
            let counter = [&medium.0.write_at, &medium.0.sync][fault];
            counter.store(1, Ordering::SeqCst);
            trail.record(&event(0)).await.unwrap_err();
            record(&trail, last + 1, last + 1).await;
            last += 1;
            assert_eq!(bench.segments().len(), turn + 1);
        }
        trail.close().await;
        nothing_is_lost(&bench, last).await;
    }
}

#[tokio::test]
async fn what_a_segment_lost_behind_the_journal_is_written_anew() {
    let bench = Bench::new();
    let medium = Faulty::default();
    let trail = bench.start_on(medium.clone()).await;
    record(&trail, 1, LOAD).await;
    medium.0.sync_behind.store(1, Ordering::SeqCst);
    let mut last = LOAD;
    while trail.record(&event(0)).await.is_ok() {
        last += 1;
        assert!(last < 10 * LOAD, "the journal never turned");
    }
    // What the system threw away after it had failed to write it.
    let path = bench.segments().remove(0);
    let bytes = fs::read(&path).unwrap();
    let mut torn = bytes.clone();
    let start = bytes.len() - 1000;
    torn[start..].fill(0);
    fs::write(&path, torn).unwrap();
    record(&trail, last + 1, last + 5).await;
    assert_eq!(bench.segments().len(), 2);
    trail.close().await;
    nothing_is_lost(&bench, last + 5).await;
}

#[test]
fn a_heading_has_one_spelling() {
    let name = "00000000000000000001-2026-01-01.jsonl";
    let heading = |offset: &str| format!("{{\"segment\":\"{name}\",\"offset\":{offset}}}\n");
    let parsed = parse_heading(heading("17").as_bytes());
    assert_eq!(parsed, Some((name.to_owned(), 17)));
    for wrong in ["", "-1", "1.0", " 1", "18446744073709551616"] {
        assert_eq!(parse_heading(heading(wrong).as_bytes()), None, "{wrong}");
    }
}
