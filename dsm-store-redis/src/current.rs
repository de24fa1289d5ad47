//! Which server is the one that is used.
//!
//! Connections are made one by one, and a failover may fall between two of them. What is read over
//! one connection and what another one tells of changes belong together only when both lead to the
//! same server, so that none is used any more once a newer one leads elsewhere.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The server that was met last.
#[derive(Debug, Default)]
pub(crate) struct Current {
    /// What Redis calls this run of it.
    run: Mutex<Option<String>>,
    term: Arc<AtomicU64>,
}

/// For how long connections to one server may be used.
#[derive(Debug, Clone)]
pub(crate) struct Term {
    number: u64,
    current: Arc<AtomicU64>,
}

impl Current {
    /// This server is used from now on; the terms of another one have ended.
    pub(crate) fn accept(&self, run: &str) -> Term {
        let mut current = self.lock();
        if current.as_deref() != Some(run) {
            *current = Some(run.to_owned());
            self.term.fetch_add(1, Ordering::AcqRel);
        }
        Term {
            number: self.term.load(Ordering::Acquire),
            current: self.term.clone(),
        }
    }

    /// This server is not fit for use: if it was used until now, its term has ended.
    pub(crate) fn refuse(&self, run: &str) {
        let mut current = self.lock();
        if current.as_deref() == Some(run) {
            *current = None;
            self.term.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        // The name and the number of the term change together and without a panic.
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Term {
    /// Whether it goes on.
    pub(crate) fn is_current(&self) -> bool {
        self.current.load(Ordering::Acquire) == self.number
    }
}

impl PartialEq for Term {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Term {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_ends_with_another_server_or_a_refusal() {
        let current = Current::default();
        let first = current.accept("a");
        assert_eq!(current.accept("a"), first);
        current.refuse("b");
        assert!(first.is_current());
        let second = current.accept("b");
        assert!(second.is_current() && !first.is_current());
        current.refuse("b");
        assert!(!second.is_current());
        assert_ne!(current.accept("b"), second);
    }
}
