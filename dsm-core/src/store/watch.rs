use std::time::Instant;

use tokio::sync::broadcast;

use super::RecordKey;

/// What a subscriber learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// This record was created, changed or removed.
    Record(RecordKey),
    /// Something changed that the stream cannot name: another process wrote, or the subscriber was
    /// too slow. Forget everything.
    Unknown,
    /// Everything that was committed until this instant has been told. A store says so now and then
    /// when it knows; whoever remembers what was read may go on to do so.
    UpToDate(Instant),
}

/// A stream of changes, in the order of their commits.
#[derive(Debug)]
pub struct Changes(broadcast::Receiver<Changed>);

impl Changes {
    /// The next change; `None` once the store is closed.
    pub async fn next(&mut self) -> Option<Changed> {
        match self.0.recv().await {
            Ok(changed) => Some(changed),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Changed::Unknown),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Changes {
    /// As [`next`](Self::next), passing over [`Changed::UpToDate`].
    pub async fn next_change(&mut self) -> Option<Changed> {
        loop {
            match self.next().await {
                Some(Changed::UpToDate(_)) => {}
                changed => return changed,
            }
        }
    }
}

/// The sending side, for implementors of [`Store`](super::Store).
#[derive(Debug)]
pub struct Notifier(broadcast::Sender<Changed>);

impl Default for Notifier {
    fn default() -> Self {
        Self(broadcast::Sender::new(1024))
    }
}

impl Notifier {
    /// Tells all subscribers.
    pub fn notify(&self, changed: Changed) {
        // Without a subscriber nobody needs to know.
        let _ = self.0.send(changed);
    }

    /// A new subscription.
    pub fn subscribe(&self) -> Changes {
        Changes(self.0.subscribe())
    }
}
