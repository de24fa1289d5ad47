use std::collections::BTreeMap;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use chrono::TimeDelta;

use super::*;
use crate::audit::file::disk::{BUSY, Plain};
use crate::audit::file::tests::{Bench, fails, mode, record};
use crate::audit::file::{FileSink, lock};
use crate::audit::fixture::event;

/// Records that bring a journal about.
const LOAD: u64 = BUSY as u64 + 10;

fn files(bench: &Bench) -> Vec<PathBuf> {
    let paths = FILES.map(|name| bench.path().join(name));
    paths.into_iter().filter(|path| path.exists()).collect()
}

/// A disk that knows what would be left after the power was cut.
#[derive(Clone, Default)]
struct Power(Arc<Durable>);

#[derive(Default)]
struct Durable {
    /// By the number of the file.
    files: Mutex<BTreeMap<u64, Vec<u8>>>,
    /// What a cut in the middle of a write that begins one of the journal's files would have left,
    /// and how much was acknowledged then.
    at_turns: Mutex<Vec<(u64, Image)>>,
    acknowledged: AtomicU64,
}

/// A folder after a cut.
type Image = BTreeMap<std::ffi::OsString, Vec<u8>>;

fn path_of(file: &File) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

impl Medium for Power {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        if offset == 0 && bytes.starts_with(HEADING[0].as_bytes()) {
            let path = path_of(file)?;
            let mut image = self.image(path.parent().expect("a folder"), false);
            let torn = image.get_mut(path.file_name().expect("a name"));
            let torn = torn.expect("it was made before");
            torn[..bytes.len() / 2].copy_from_slice(&bytes[..bytes.len() / 2]);
            let acknowledged = self.0.acknowledged.load(Ordering::SeqCst);
            lock(&self.0.at_turns).push((acknowledged, image));
        }
        Plain.write_at(file, bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        // Through the name, as a handle that appends does not read.
        let bytes = fs::read(path_of(file)?)?;
        let number = file.metadata()?.ino();
        if std::thread::current().name() == Some("audit sync") {
            // Longer than the other file lasts.
            std::thread::sleep(Duration::from_millis(150));
            // What was synced meanwhile stays.
            let mut files = lock(&self.0.files);
            let durable = files.entry(number).or_default();
            if durable.len() < bytes.len() {
                *durable = bytes;
            }
        } else {
            lock(&self.0.files).insert(number, bytes);
        }
        Ok(())
    }
}

impl Power {
    /// What a cut leaves. With `some`, the end of what was written is there as well, behind a hole.
    fn image(&self, folder: &Path, some: bool) -> Image {
        let durable = lock(&self.0.files);
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        let left = entries.map(|entry| {
            let number = entry.metadata().unwrap().ino();
            let mut bytes = durable.get(&number).cloned().unwrap_or_default();
            let whole = fs::read(entry.path()).unwrap();
            if some && whole.len() > bytes.len() + 500 {
                bytes.resize(whole.len() - 500, 0);
                bytes.extend_from_slice(&whole[whole.len() - 500..]);
            }
            (entry.file_name(), bytes)
        });
        left.collect()
    }

    fn cut(&self, bench: &Bench, some: bool) -> Bench {
        laid_out(bench, self.image(&bench.path(), some))
    }
}

fn laid_out(bench: &Bench, image: Image) -> Bench {
    let after = bench.apart();
    fs::create_dir(after.path()).unwrap();
    for (name, bytes) in image {
        fs::write(after.path().join(name), bytes).unwrap();
    }
    after
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
        power.0.acknowledged.store(last, Ordering::SeqCst);
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
    let turns = std::mem::take(&mut *lock(&power.0.at_turns));
    assert!(turns.len() > 10, "{}", turns.len());
    for (acknowledged, image) in turns {
        nothing_is_lost(&laid_out(&bench, image), acknowledged).await;
    }
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
    let held = File::open(bench.path().join("lock")).unwrap();
    while held.try_lock().is_err() {
        tokio::task::yield_now().await;
    }
    drop(held);
    let path = bench.segments().remove(0);
    let segment = OpenOptions::new().write(true).open(&path).unwrap();
    let len = segment.metadata().unwrap().len();
    segment.set_len(len - 1000).unwrap();
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
    let mut opened = 0;
    for place in (0..end).step_by(61) {
        let after = power.cut(&bench, false);
        let mut changed = sound.clone();
        changed[place] ^= 1;
        fs::write(after.path().join(FILES[0]), changed).unwrap();
        // What stands before the change is there; of the rest nothing is invented.
        if let Ok(sink) = FileSink::open(after.options()) {
            drop(sink);
            opened += 1;
            let report = after.verify();
            assert_eq!(report.faults, [], "changed at {place}");
            let lost = LOAD - report.chains[0].head.sequence;
            assert!((1..=held as u64).contains(&lost), "{lost} at {place}");
        }
    }
    assert!(opened > 10, "{opened}");
}

#[tokio::test]
async fn a_journal_that_ends_before_an_entry_that_is_signed_is_refused() {
    let mut bench = Bench::new();
    bench.checkpoint_every = 4;
    let power = Power::default();
    let trail = bench.start_on(power.clone()).await;
    record(&trail, 1, LOAD).await;
    let after = power.cut(&bench, false);
    let path = after.path().join(FILES[0]);
    let mut bytes = fs::read(&path).unwrap();
    let second = bytes.windows(6).position(|at| at == b"{\"seq\"").unwrap();
    bytes[second + 150] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let segment = fs::read(&after.segments()[0]).unwrap();
    let error = FileSink::open(after.options()).unwrap_err();
    let AuditError::Damaged { path: named, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(named, &path);
    assert_eq!(fs::read(&after.segments()[0]).unwrap(), segment);
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[tokio::test]
async fn a_file_that_is_no_segment_does_not_cost_the_journal() {
    let bench = Bench::new();
    let power = Power::default();
    let trail = bench.start_on(power.clone()).await;
    record(&trail, 1, LOAD).await;
    let after = power.cut(&bench, false);
    fs::write(
        after.path().join("00000000000000009999-2026-01-02.jsonl"),
        "",
    )
    .unwrap();
    let trail = after.start().await;
    assert_eq!(trail.head().sequence, LOAD);
    trail.close().await;
    nothing_is_lost(&after, LOAD).await;
}

#[tokio::test]
async fn a_change_of_the_segment_that_the_journal_holds_is_mended_and_one_beyond_is_found() {
    let bench = Bench::new();
    let medium = Faulty::default();
    let trail = bench.start_on(medium).await;
    record(&trail, 1, LOAD).await;
    trail.append((0..600).map(event).collect()).await.unwrap();
    let path = bench.segments().remove(0);
    let held = fs::read(&files(&bench)[0]).unwrap();
    let held = held.iter().position(|byte| *byte == 0).unwrap() as u64;
    let sound = fs::read(&path).unwrap();
    let image: Image = fs::read_dir(bench.path())
        .unwrap()
        .map(Result::unwrap)
        .map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap()))
        .collect();
    let offset = {
        let found = find(&bench.path(), None).unwrap().unwrap();
        assert!(found.offset() + (found.lines.len() as u64) < sound.len() as u64);
        assert!((found.lines.len() as u64) < held);
        usize::try_from(found.offset()).unwrap()
    };
    for (place, mended) in [(offset + 200, true), (sound.len() - 3000, false)] {
        let after = laid_out(&bench, image.clone());
        let path = after.segments().remove(0);
        let mut changed = sound.clone();
        changed[place] ^= 1;
        fs::write(&path, changed).unwrap();
        if mended {
            nothing_is_lost(&after, LOAD + 600).await;
        } else {
            let error = FileSink::open(after.options()).unwrap_err();
            assert!(matches!(error, AuditError::Damaged { .. }), "{error}");
        }
    }
}

/// Fails what it is told to of what a journal does, after having done half of it.
#[derive(Clone, Default)]
struct Faulty(Arc<Faults>);

#[derive(Default)]
struct Faults {
    write_at: AtomicUsize,
    /// As `write_at`, without having done anything.
    refuse_at: AtomicUsize,
    sync: AtomicUsize,
    sync_behind: AtomicUsize,
}

impl Medium for Faulty {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        if fails(&self.0.refuse_at) {
            return Err(io::Error::other("told so"));
        }
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
async fn a_fault_after_a_batch_that_was_longer_than_the_journal_is_left_behind() {
    for fault in [0, 1] {
        let bench = Bench::new();
        let medium = Faulty::default();
        let trail = bench.start_on(medium.clone()).await;
        record(&trail, 1, LOAD).await;
        let many = || (0..600).map(event).collect();
        trail.append(many()).await.unwrap();
        if fault == 0 {
            medium.0.refuse_at.store(1, Ordering::SeqCst);
            trail.record(&event(0)).await.unwrap_err();
        } else {
            medium.0.sync.store(1, Ordering::SeqCst);
            trail.append(many()).await.unwrap_err();
        }
        let last = LOAD + 600;
        record(&trail, last + 1, last + 2).await;
        assert_eq!(bench.segments().len(), 2);
        trail.close().await;
        nothing_is_lost(&bench, last + 2).await;
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
