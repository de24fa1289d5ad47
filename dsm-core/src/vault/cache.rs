//! Opened policy, kept for a moment. Values are never opened here.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use chrono::TimeDelta;

use crate::store::{Changed, IndexTerm, Kind, RecordKey, Term};
use crate::time::{Timestamp, to_micros};

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
    /// Until when, in microseconds, every change has been told.
    told_until: AtomicI64,
    max_staleness: TimeDelta,
}

#[derive(Debug)]
struct Entry {
    read_at: Timestamp,
    terms: Box<[IndexTerm]>,
    object: Object,
}

impl Cache {
    pub(crate) fn new(max_staleness: Duration) -> Self {
        Self {
            objects: quick_cache::sync::Cache::new(100_000),
            keys: quick_cache::sync::Cache::new(100_000),
            epochs: [const { AtomicU64::new(0) }; KINDS],
            told_until: AtomicI64::new(i64::MIN),
            max_staleness: TimeDelta::from_std(max_staleness).unwrap_or(TimeDelta::MAX),
        }
    }

    pub(crate) fn epoch(&self, kind: Kind) -> u64 {
        self.epochs[slot(kind)].load(Ordering::Acquire)
    }

    /// The object with this key, and when it was read.
    pub(crate) fn find(&self, key: RecordKey, now: Timestamp) -> Option<(Object, Timestamp)> {
        let entry = self.fresh(key, now)?;
        Some((Arc::clone(&entry.object), entry.read_at))
    }

    /// The object with this unique term, and when it was read.
    pub(crate) fn find_by(
        &self,
        kind: Kind,
        term: Term,
        now: Timestamp,
    ) -> Option<(Object, Timestamp)> {
        let key = self.keys.get(&(kind, term))?;
        let entry = self.fresh(key, now)?;
        let named = entry.terms.contains(&IndexTerm { term, unique: true });
        named.then(|| (Arc::clone(&entry.object), entry.read_at))
    }

    /// Whether what was read at `read_at`, and not forgotten since, may still be used: it is what
    /// the store had less than `max_staleness` ago.
    pub(crate) fn is_fresh(&self, read_at: Timestamp, now: Timestamp) -> bool {
        let told_until = self.told_until.load(Ordering::Acquire);
        let age = to_micros(now).saturating_sub(to_micros(read_at).max(told_until));
        now >= read_at && TimeDelta::microseconds(age) < self.max_staleness
    }

    /// Every change until this instant has been told, and what it changed forgotten.
    pub(crate) fn told_until(&self, instant: Timestamp) {
        self.told_until
            .fetch_max(to_micros(instant), Ordering::AcqRel);
    }

    /// Keeps what was read at `read_at`, unless something was invalidated since `epoch`.
    pub(crate) fn put(
        &self,
        epoch: u64,
        key: RecordKey,
        terms: &[IndexTerm],
        object: Object,
        read_at: Timestamp,
    ) {
        if self.max_staleness <= TimeDelta::zero() || self.epoch(key.kind) != epoch {
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

    fn fresh(&self, key: RecordKey, now: Timestamp) -> Option<Arc<Entry>> {
        let entry = self.objects.get(&key)?;
        self.is_fresh(entry.read_at, now).then_some(entry)
    }
}
