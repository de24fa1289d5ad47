//! One turn of load.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dsm_tests::client::Connection;

/// What a turn gave.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    /// Answers with status 200.
    pub(crate) answers: u64,
    /// Per second.
    pub(crate) rate: f64,
    /// Half of the requests took at most this.
    pub(crate) p50: Duration,
    /// 99 of 100 took at most this.
    pub(crate) p99: Duration,
    /// How much of the processors the hypervisor gave to others, of 1.
    pub(crate) steal: f64,
    /// How much of the processors nobody used, of 1.
    pub(crate) idle: f64,
}

/// Sends one request after the other on so many connections for so long.
pub(crate) async fn turn(
    addr: SocketAddr,
    next: impl Fn() -> Arc<[u8]> + Clone + Send + Sync + 'static,
    connections: usize,
    length: Duration,
) -> io::Result<Turn> {
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        open.push(Connection::open(addr).await?);
    }
    let over = Arc::new(AtomicBool::new(false));
    let before = Processor::read()?;
    let started = Instant::now();
    let tasks: Vec<_> = open
        .into_iter()
        .map(|mut connection| {
            let (next, over) = (next.clone(), Arc::clone(&over));
            tokio::spawn(async move {
                let mut took = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let request = next();
                    let sent = Instant::now();
                    let status = connection.send_for_status(&request).await?;
                    if status != 200 {
                        return Err(io::Error::other(format!("an answer of {status}")));
                    }
                    took.push(sent.elapsed());
                }
                Ok(took)
            })
        })
        .collect();
    tokio::time::sleep(length).await;
    over.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await??);
    }
    let elapsed = started.elapsed();
    let after = Processor::read()?;
    let (steal, idle) = (
        before.share(&after, |it| it.stolen),
        before.share(&after, |it| it.idle),
    );
    all.sort_unstable();
    let at = |share: f64| {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index into a list of some hundred thousand"
        )]
        let index = ((all.len() as f64 * share) as usize).min(all.len() - 1);
        all[index]
    };
    Ok(Turn {
        answers: all.len() as u64,
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
        rate: all.len() as f64 / elapsed.as_secs_f64(),
        p50: at(0.5),
        p99: at(0.99),
        steal,
        idle,
    })
}

/// The processors' time as the kernel counts it.
struct Processor {
    total: u64,
    stolen: u64,
    idle: u64,
}

impl Processor {
    fn read() -> io::Result<Self> {
        let text = std::fs::read_to_string("/proc/stat")?;
        let line = text.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            .filter_map(|n| n.parse().ok())
            .collect();
        Ok(Self {
            total: ticks.iter().take(8).sum(),
            stolen: ticks.get(7).copied().unwrap_or(0),
            // Waiting for a disk is being idle.
            idle: ticks.iter().skip(3).take(2).sum(),
        })
    }

    #[allow(clippy::cast_precision_loss, reason = "ticks of some seconds")]
    fn share(&self, later: &Self, of: impl Fn(&Self) -> u64) -> f64 {
        let total = later.total.saturating_sub(self.total).max(1);
        of(later).saturating_sub(of(self)) as f64 / total as f64
    }
}
