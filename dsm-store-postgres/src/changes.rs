use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dsm_core::store::{Changed, Changes, Kind, Notifier, RecordKey, StoreError};

/// The payload of `NOTIFY` is shorter than 8000 bytes.
const PAYLOAD: usize = 7900;

/// What stands for keys that do not fit.
const UNNAMED: &str = "*";

/// Tells subscribers what commits have changed, those of this store and those of others.
///
/// An own commit is told before it is answered, or when its notification is heard, whichever is
/// earlier, and once. So it is told even when its answer is lost.
#[derive(Debug)]
pub(crate) struct Subscribers {
    /// Names this store in notifications.
    store: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `None` once the store is closed.
    notifier: Option<Notifier>,
    /// Own commits that were not told yet.
    untold: HashMap<u64, Untold>,
    last: u64,
}

#[derive(Debug)]
struct Untold {
    keys: Vec<RecordKey>,
    /// Whether its answer was lost: only a notification tells whether it took effect.
    unanswered: bool,
}

/// An own commit that may have to be told.
#[derive(Debug)]
pub(crate) struct Notice {
    number: u64,
    pub(crate) payload: String,
}

impl Subscribers {
    pub(crate) fn new() -> Result<Self, StoreError> {
        let mut store = [0; 8];
        getrandom::fill(&mut store)
            .map_err(|error| StoreError::unavailable("the system has no random bytes", error))?;
        Ok(Self {
            store: u64::from_ne_bytes(store),
            state: Mutex::new(State {
                notifier: Some(Notifier::default()),
                untold: HashMap::new(),
                last: 0,
            }),
        })
    }

    pub(crate) fn subscribe(&self) -> Changes {
        match &self.lock().notifier {
            Some(notifier) => notifier.subscribe(),
            // A stream whose sender is gone ends at once.
            None => Notifier::default().subscribe(),
        }
    }

    /// Announces a commit that is about to be sent; `None` when it changes no record.
    pub(crate) fn announce(&self, keys: Vec<RecordKey>) -> Option<Notice> {
        if keys.is_empty() {
            return None;
        }
        let mut state = self.lock();
        state.last += 1;
        let number = state.last;
        let payload = payload(self.store, number, &keys);
        let unanswered = false;
        state.untold.insert(number, Untold { keys, unanswered });
        Some(Notice { number, payload })
    }

    /// The commit took effect.
    pub(crate) fn done(&self, notice: &Notice) {
        let mut state = self.lock();
        if let Some(untold) = state.untold.remove(&notice.number) {
            state.tell(&untold.keys);
        }
    }

    /// The commit was refused.
    pub(crate) fn refused(&self, notice: &Notice) {
        self.lock().untold.remove(&notice.number);
    }

    /// Nobody knows whether the commit took or takes effect.
    pub(crate) fn unanswered(&self, notice: &Notice) {
        if let Some(untold) = self.lock().untold.get_mut(&notice.number) {
            untold.unanswered = true;
        }
    }

    /// A notification was heard.
    pub(crate) fn heard(&self, payload: &str) {
        let mut state = self.lock();
        match parse(payload) {
            Some((store, number, _)) if store == self.store => {
                if let Some(untold) = state.untold.remove(&number) {
                    state.tell(&untold.keys);
                }
            }
            Some((_, _, Some(keys))) => state.tell(&keys),
            _ => state.tell_unknown(),
        }
    }

    /// Notifications are missed from now on.
    pub(crate) fn deaf(&self) {
        self.lock().tell_unknown();
    }

    /// Notifications are heard again; some were missed.
    pub(crate) fn hears_again(&self) {
        let mut state = self.lock();
        state.untold.retain(|_, untold| !untold.unanswered);
        state.tell_unknown();
    }

    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.notifier = None;
        state.untold.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No method leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tell(&self, keys: &[RecordKey]) {
        if let Some(notifier) = &self.notifier {
            for key in keys {
                notifier.notify(Changed::Record(*key));
            }
        }
    }

    fn tell_unknown(&self) {
        if let Some(notifier) = &self.notifier {
            notifier.notify(Changed::Unknown);
        }
    }
}

/// The store, the number of its commit, and the keys: `5f 1 7.12 7.13`.
fn payload(store: u64, number: u64, keys: &[RecordKey]) -> String {
    let mut payload = format!("{store:x} {number:x}");
    let start = payload.len();
    for key in keys {
        // Writing to a string does not fail.
        let _ = write!(payload, " {}.{}", key.kind.0, key.id);
        if payload.len() > PAYLOAD {
            payload.truncate(start);
            payload.push(' ');
            payload.push_str(UNNAMED);
            break;
        }
    }
    payload
}

/// The inverse of [`payload`], without keys where they were not named.
fn parse(payload: &str) -> Option<(u64, u64, Option<Vec<RecordKey>>)> {
    let mut words = payload.split(' ');
    let store = u64::from_str_radix(words.next()?, 16).ok()?;
    let number = u64::from_str_radix(words.next()?, 16).ok()?;
    let keys = words.map(|word| {
        let (kind, id) = word.split_once('.')?;
        let id: u64 = id.parse().ok()?;
        Some(RecordKey::new(Kind(kind.parse().ok()?), id))
    });
    Some((store, number, keys.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(count: u64) -> Vec<RecordKey> {
        let ids = i64::MAX as u64 - count..i64::MAX as u64;
        ids.map(|id| RecordKey::new(Kind(u16::MAX), id)).collect()
    }

    #[test]
    fn a_payload_names_keys_while_they_fit() {
        for count in [1, 2, 100, 1000] {
            let keys = keys(count);
            let payload = payload(u64::MAX, u64::MAX, &keys);
            assert!(payload.len() < 8000);
            let named = (count <= 100).then_some(keys);
            assert_eq!(parse(&payload), Some((u64::MAX, u64::MAX, named)));
        }
        assert_eq!(parse("anything"), None);
    }

    #[tokio::test]
    async fn an_own_commit_is_told_once_by_answer_or_notification() {
        let subscribers = Subscribers::new().unwrap();
        let mut changes = subscribers.subscribe();
        let commit = |id: u64| {
            let keys = vec![RecordKey::new(Kind(1), id)];
            subscribers.announce(keys).unwrap()
        };
        let told = |id: u64| Some(Changed::Record(RecordKey::new(Kind(1), id)));

        let answered_first = commit(1);
        subscribers.done(&answered_first);
        subscribers.heard(&answered_first.payload);
        let heard_first = commit(2);
        subscribers.heard(&heard_first.payload);
        subscribers.done(&heard_first);
        let refused = commit(3);
        subscribers.refused(&refused);
        let unanswered = commit(4);
        subscribers.unanswered(&unanswered);
        subscribers.heard(&unanswered.payload);
        for id in [1, 2, 4] {
            assert_eq!(changes.next().await, told(id));
        }

        let in_flight = commit(5);
        let lost = commit(6);
        subscribers.unanswered(&lost);
        subscribers.hears_again();
        subscribers.done(&in_flight);
        subscribers.heard("1 1 *");
        assert_eq!(changes.next().await, Some(Changed::Unknown));
        assert_eq!(changes.next().await, told(5));
        assert_eq!(changes.next().await, Some(Changed::Unknown));
        assert!(subscribers.lock().untold.is_empty());
        subscribers.close();
        assert_eq!(changes.next().await, None);
    }
}
