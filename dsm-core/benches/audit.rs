//! What a durable record costs: callers that each wait for a receipt before they ask for the next.
//!
//! `cargo bench -p dsm-core --bench audit [-- <folder>]`: the folder, the target folder by default,
//! decides which disk is measured.
#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "prints what it measured"
)]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use dsm_core::audit::{
    Actor, AuditError, AuditSink, Batch, Event, FileSink, FileSinkOptions, Head, ObjectKind,
    ObjectRef, Operation, Outcome, StoreSink, Trail, TrailOptions,
};
use dsm_core::crypto::{Keyring, Sealer, StaticKeys};
use dsm_core::entropy::OsEntropy;
use dsm_core::id::{ApplicationId, AuthorizationId, ClientId};
use dsm_core::store::{MemoryStore, ServerId};
use dsm_core::time::{Clock as _, SystemClock};

const TIME: Duration = Duration::from_secs(4);

/// Counts what it passes on.
#[derive(Debug)]
struct Counted(Arc<dyn AuditSink>, Arc<AtomicU64>);

#[async_trait]
impl AuditSink for Counted {
    async fn append(&self, batch: Arc<Batch>) -> Result<(), AuditError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.append(batch).await
    }

    async fn head(&self, server: ServerId) -> Result<Option<Head>, AuditError> {
        self.0.head(server).await
    }

    async fn read(
        &self,
        server: ServerId,
        from: u64,
        limit: usize,
    ) -> Result<Option<Arc<Batch>>, AuditError> {
        self.0.read(server, from, limit).await
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

/// Costs nothing: what is left is the hand-over and the wake-up.
#[derive(Debug)]
struct Nowhere;

#[async_trait]
impl AuditSink for Nowhere {
    async fn append(&self, _batch: Arc<Batch>) -> Result<(), AuditError> {
        Ok(())
    }

    async fn head(&self, _server: ServerId) -> Result<Option<Head>, AuditError> {
        Ok(None)
    }

    async fn read(
        &self,
        _server: ServerId,
        _from: u64,
        _limit: usize,
    ) -> Result<Option<Arc<Batch>>, AuditError> {
        Ok(None)
    }

    async fn close(&self) {}
}

fn event(id: u64) -> Event {
    Event {
        at: SystemClock.now(),
        actor: Actor::Authorization {
            application: ApplicationId(12),
            authorization: AuthorizationId(345),
            client: ClientId(678),
        },
        ip: Some([10, 1, 2, 3].into()),
        operation: Operation::ReadSecret,
        object: Some(
            ObjectRef::new(ObjectKind::Secret, id, "production-billing-database").version(3),
        ),
        outcome: Outcome::Allowed,
        changes: Vec::new(),
        part: None,
    }
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let folder = arguments
        .iter()
        .find(|argument| !argument.starts_with("--"));
    let folder = folder.map_or_else(|| env!("CARGO_TARGET_TMPDIR").to_owned(), Clone::clone);
    println!("{folder}, {TIME:?} each");
    println!(
        "{:<22} {:>8} {:>12} {:>12} {:>12}",
        "sink", "callers", "entries/s", "CPU µs each", "batch"
    );
    for callers in [1, 32, 128] {
        measure("nowhere", callers, None, |options| options);
    }
    for callers in [1, 32, 128] {
        measure("disk", callers, Some(Path::new(&folder)), |options| options);
    }
    for callers in [32, 128] {
        measure(
            "disk, then store",
            callers,
            Some(Path::new(&folder)),
            |options| {
                let keys = StaticKeys::generate(&OsEntropy);
                let sealer = Sealer::new([1; 16], Arc::new(keys), Arc::new(OsEntropy));
                let follower = StoreSink::new(
                    Arc::new(MemoryStore::new()),
                    Arc::new(sealer.expect("keys in memory load")),
                    Arc::new(Keyring::generate(&OsEntropy)),
                );
                options.follower(Arc::new(follower))
            },
        );
    }
}

fn measure(
    name: &str,
    callers: u64,
    folder: Option<&Path>,
    with: impl FnOnce(TrailOptions) -> TrailOptions,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts");
    let folder = folder.map(|folder| tempfile::tempdir_in(folder).expect("a folder"));
    let mut options = match &folder {
        Some(folder) => {
            let sink = FileSink::open(FileSinkOptions::new(
                folder.path(),
                Arc::new(Keyring::generate(&OsEntropy)),
                Arc::new(SystemClock),
                Arc::new(OsEntropy),
            ))
            .expect("a new folder opens");
            TrailOptions::new(sink.server(), Arc::new(sink))
        }
        None => TrailOptions::new(ServerId([1; 16]), Arc::new(Nowhere)),
    };
    let batches = Arc::new(AtomicU64::new(0));
    options.awaited = Arc::new(Counted(options.awaited, Arc::clone(&batches)));
    runtime.block_on(async {
        let trail = Arc::new(Trail::start(with(options)).await.expect("a new trail"));
        let stop = Arc::new(AtomicBool::new(false));
        let count = Arc::new(AtomicU64::new(0));
        let (started, before) = (Instant::now(), cpu());
        let tasks: Vec<_> = (0..callers)
            .map(|caller| {
                let (trail, stop, count) =
                    (Arc::clone(&trail), Arc::clone(&stop), Arc::clone(&count));
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        let receipt = trail.record(&event(caller)).await;
                        drop(receipt.expect("the trail is written"));
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        tokio::time::sleep(TIME).await;
        stop.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await.expect("no caller panics");
        }
        let count = count.load(Ordering::Relaxed) as f64;
        println!(
            "{name:<22} {callers:>8} {:>12.0} {:>12.2} {:>12.1}",
            count / started.elapsed().as_secs_f64(),
            cpu().saturating_sub(before).as_secs_f64() * 1e6 / count,
            count / batches.load(Ordering::Relaxed) as f64,
        );
        trail.close().await;
    });
}

/// The processor time of all threads that are there.
fn cpu() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux");
    let nanos = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}
