//! Which entry of the trail stands for a request.

use std::borrow::Cow;
use std::cell::RefCell;

use super::{Actor, Event, Part};

tokio::task_local! {
    static FIRST: RefCell<Option<FirstEntry>>;
}

/// The entry that stands for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstEntry {
    /// Its number in the chain.
    pub sequence: u64,
    /// What was recorded.
    pub event: Event,
}

/// Runs what answers one request, and tells which entry stands for it: the first that it records,
/// if it records any. Entries after it are marked as parts of the same request, so that the trail
/// is a log of requests as well and no request costs a record more.
///
/// What is spawned meanwhile is no part of it, nor what the vault does of its own accord.
pub async fn observe<F: Future>(work: F) -> (F::Output, Option<FirstEntry>) {
    let scope = async {
        let output = work.await;
        (output, FIRST.with(RefCell::take))
    };
    FIRST.scope(RefCell::new(None), scope).await
}

/// The event as it is to be written.
pub(super) fn marked(event: &Event) -> Cow<'_, Event> {
    if event.part.is_none() && event.actor != Actor::Vault && has_first() {
        return Cow::Owned(Event {
            part: Some(Part::Also),
            ..event.clone()
        });
    }
    Cow::Borrowed(event)
}

/// As [`marked`], for events that are written together.
pub(super) fn mark_all(events: &mut [Event]) {
    if FIRST.try_with(|_| ()).is_err() {
        return;
    }
    let mut known = has_first();
    for event in events {
        if event.part.is_none() && event.actor != Actor::Vault {
            if known {
                event.part = Some(Part::Also);
            }
            known = true;
        }
    }
}

/// Remembers the first of these events, which are durable from number `sequence` on.
pub(super) fn note<'e>(sequence: u64, events: impl IntoIterator<Item = &'e Event>) {
    // Outside of a request there is nothing to remember.
    let _ = FIRST.try_with(|first| {
        let mut first = first.borrow_mut();
        if first.is_some() {
            return;
        }
        let mut numbered = (sequence..).zip(events);
        let own = numbered.find(|(_, event)| event.actor != Actor::Vault);
        *first = own.map(|(sequence, event)| FirstEntry {
            sequence,
            event: event.clone(),
        });
    });
}

fn has_first() -> bool {
    FIRST
        .try_with(|first| first.borrow().is_some())
        .unwrap_or_default()
}
