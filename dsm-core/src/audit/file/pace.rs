use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, RuntimeFlavor};

/// For how long a thread of the runtime may stand still.
const QUICK: Duration = Duration::from_millis(2);
/// How many batches in a row have to be that quick before it is believed of the next one.
const IN_A_ROW: u32 = 16;

/// How quick the disk has been of late.
#[derive(Debug, Default)]
pub(super) struct Pace(AtomicU32);

impl Pace {
    /// Whether a batch is to be written at once by who has it.
    pub(super) fn is_quick(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= IN_A_ROW
    }

    /// Writes a batch and takes the time.
    pub(super) fn time<T>(&self, write: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let written = write();
        let quick = started.elapsed() < QUICK;
        let row = self.0.load(Ordering::Relaxed).saturating_add(1);
        self.0.store(if quick { row } else { 0 }, Ordering::Relaxed);
        written
    }
}

/// Whether this is a thread of a runtime in which another one does what this one leaves undone
/// meanwhile.
pub(super) fn others_go_on() -> bool {
    Handle::try_current().is_ok_and(|runtime| {
        runtime.runtime_flavor() == RuntimeFlavor::MultiThread
            && runtime.metrics().num_workers() > 1
    })
}
