//! Opened policy, kept for a moment. Values are never opened here.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use chrono::TimeDelta;

use crate::store::{Changed, IndexTerm, Kind, RecordKey, Term};
use crate::time::{Clock, Timestamp};

type Object = Arc<dyn Any + Send + Sync>;

const KINDS: usize = 32;

/// Kinds that share a slot only invalidate each other too often.
fn slot(kind: Kind) -> usize {
    usize::from(kind.0) % KINDS
}

/// Metadata by key and by unique term. What this process changes, or the change stream names, is
/// forgotten at once. What is found was in the store less than `max_staleness` ago: it was read then,
/// or the stream has told of every change until then.
#[derive(Debug)]
pub(crate) struct Cache {
    objects: quick_cache::sync::Cache<RecordKey, Arc<Entry>>,
    keys: quick_cache::sync::Cache<(Kind, Term), RecordKey>,
    // Counts invalidations by kind, so that an object read before one is not put in after it.
    epochs: [AtomicU64; KINDS],
    /// Until when every change has been told; none after a gap.
    told_until: RwLock<Option<ReadAt>>,
    max_staleness: Duration,
}

/// When something was read, by the clock of the vault and by one that never goes back: neither a
/// clock that is set back nor one that stands still makes what is old look new.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadAt {
    clock: Timestamp,
    steady: Instant,
}

impl ReadAt {
    pub(crate) fn now(clock: &dyn Clock) -> Self {
        Self {
            clock: clock.now(),
            steady: Instant::now(),
        }
    }

    /// The instant that was so long before this one.
    pub(crate) fn before(self, ago: Duration) -> Option<Self> {
        let span = TimeDelta::from_std(ago).ok()?;
        Some(Self {
            clock: self.clock.checked_sub_signed(span)?,
            steady: self.steady.checked_sub(ago)?,
        })
    }

    /// The earlier one by each clock.
    pub(crate) fn or_earlier(self, other: Self) -> Self {
        Self {
            clock: self.clock.min(other.clock),
            steady: self.steady.min(other.steady),
        }
    }

    /// Whether it was not read before another instant.
    pub(crate) fn is_since(self, other: Self) -> bool {
        self.steady >= other.steady
    }

    fn is_within(self, span: Duration, now: Self) -> bool {
        let age = (now.clock - self.clock).to_std();
        age.is_ok_and(|age| age < span) && now.steady.saturating_duration_since(self.steady) < span
    }
}

#[derive(Debug)]
struct Entry {
    read_at: ReadAt,
    terms: Box<[IndexTerm]>,
    object: Object,
}

impl Cache {
    pub(crate) fn new(max_staleness: Duration) -> Self {
        Self {
            objects: quick_cache::sync::Cache::new(100_000),
            keys: quick_cache::sync::Cache::new(100_000),
            epochs: [const { AtomicU64::new(0) }; KINDS],
            told_until: RwLock::new(None),
            max_staleness,
        }
    }

    pub(crate) fn epoch(&self, kind: Kind) -> u64 {
        self.epochs[slot(kind)].load(Ordering::Acquire)
    }

    /// The object with this key, and when it was read.
    pub(crate) fn find(&self, key: RecordKey, now: ReadAt) -> Option<(Object, ReadAt)> {
        let entry = self.fresh(key, now)?;
        Some((Arc::clone(&entry.object), entry.read_at))
    }

    /// The object with this unique term, and when it was read.
    pub(crate) fn find_by(&self, kind: Kind, term: Term, now: ReadAt) -> Option<(Object, ReadAt)> {
        let key = self.keys.get(&(kind, term))?;
        let entry = self.fresh(key, now)?;
        let named = entry.terms.contains(&IndexTerm { term, unique: true });
        named.then(|| (Arc::clone(&entry.object), entry.read_at))
    }

    /// Whether what was read at `read_at`, and not forgotten since, may still be used: it is what
    /// the store had less than `max_staleness` ago.
    pub(crate) fn is_fresh(&self, read_at: ReadAt, now: ReadAt) -> bool {
        read_at.is_within(self.max_staleness, now)
            || self
                .told()
                .is_some_and(|told| told.is_within(self.max_staleness, now))
    }

    /// Every change until this instant has been told, and what it changed forgotten.
    pub(crate) fn told_until(&self, instant: ReadAt) {
        *self
            .told_until
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(instant);
    }

    fn told(&self) -> Option<ReadAt> {
        *self
            .told_until
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what was read at `read_at`, unless something was invalidated since `epoch`.
    pub(crate) fn put(
        &self,
        epoch: u64,
        key: RecordKey,
        terms: &[IndexTerm],
        object: Object,
        read_at: ReadAt,
    ) {
        if self.max_staleness.is_zero() || self.epoch(key.kind) != epoch {
            return;
        }
        for index in terms.iter().filter(|index| index.unique) {
            self.keys.insert((key.kind, index.term), key);
        }
        self.objects.insert(
            key,
            Arc::new(Entry {
                read_at,
                terms: terms.into(),
                object,
            }),
        );
        // An invalidation between the check and the insertion found nothing to remove.
        if self.epoch(key.kind) != epoch {
            self.objects.remove(&key);
        }
    }

    pub(crate) fn forget(&self, changed: Changed) {
        match changed {
            // Counted before and after: what is put together from old objects in between has
            // neither count.
            Changed::Record(key) => {
                let epoch = &self.epochs[slot(key.kind)];
                epoch.fetch_add(1, Ordering::AcqRel);
                self.objects.remove(&key);
                epoch.fetch_add(1, Ordering::AcqRel);
            }
            Changed::UpToDate(_) => {}
            Changed::Unknown => {
                *self
                    .told_until
                    .write()
                    .unwrap_or_else(PoisonError::into_inner) = None;
                let count = || {
                    for epoch in &self.epochs {
                        epoch.fetch_add(1, Ordering::AcqRel);
                    }
                };
                count();
                self.objects.clear();
                count();
            }
        }
    }

    fn fresh(&self, key: RecordKey, now: ReadAt) -> Option<Arc<Entry>> {
        let entry = self.objects.get(&key)?;
        self.is_fresh(entry.read_at, now).then_some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ManualClock;

    const SECOND: Duration = Duration::from_secs(1);
    const KEY: RecordKey = RecordKey {
        kind: Kind(7),
        id: 1,
    };

    /// A cache with one object in it, read now.
    fn remembering(max_staleness: Duration, clock: &ManualClock) -> Cache {
        let cache = Cache::new(max_staleness);
        let now = ReadAt::now(clock);
        cache.put(cache.epoch(KEY.kind), KEY, &[], Arc::new(()), now);
        cache
    }

    fn is_found(cache: &Cache, clock: &ManualClock) -> bool {
        cache.find(KEY, ReadAt::now(clock)).is_some()
    }

    #[test]
    fn what_is_remembered_runs_out() {
        let clock = ManualClock::default();
        let cache = remembering(SECOND, &clock);
        assert!(is_found(&cache, &clock));
        clock.advance(TimeDelta::seconds(1));
        assert!(!is_found(&cache, &clock));
        assert!(!is_found(&remembering(Duration::ZERO, &clock), &clock));
    }

    #[test]
    fn it_lives_on_while_the_stream_tells_that_nothing_was_missed() {
        let clock = ManualClock::default();
        let cache = remembering(SECOND, &clock);
        for _ in 0..5 {
            clock.advance(TimeDelta::milliseconds(900));
            cache.told_until(ReadAt::now(&clock));
            assert!(is_found(&cache, &clock));
        }
        // The stream falls silent.
        clock.advance(TimeDelta::seconds(1));
        assert!(!is_found(&cache, &clock));
    }

    #[test]
    fn what_the_stream_told_counts_no_more_after_a_gap() {
        let clock = ManualClock::default();
        let cache = remembering(SECOND, &clock);
        cache.told_until(ReadAt::now(&clock));
        cache.forget(Changed::Unknown);
        assert!(!is_found(&cache, &clock));
        let read_at = ReadAt::now(&clock);
        clock.advance(TimeDelta::seconds(1));
        assert!(!cache.is_fresh(read_at, ReadAt::now(&clock)));
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nothing_fresh() {
        let clock = ManualClock::default();
        let cache = remembering(SECOND, &clock);
        cache.told_until(ReadAt::now(&clock));
        clock.advance(TimeDelta::hours(-1));
        assert!(!is_found(&cache, &clock));
        cache.told_until(ReadAt::now(&clock));
        assert!(
            is_found(&cache, &clock),
            "the stream speaks by the new time"
        );
    }
}
