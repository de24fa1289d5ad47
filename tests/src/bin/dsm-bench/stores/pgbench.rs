//! Lookups in a store on Postgres beside the benchmark program of Postgres.

use std::io;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use dsm_core::store::{Kind, Page, Query, Store, StoreError, Term};
use dsm_test_servers::postgres::program;

use super::depot::{Backend, Depot};
use super::{Fault, Plan};
use crate::report::median;

/// The kind of secrets.
const SECRET: Kind = Kind(12);

/// How many different secrets are looked for at most, and how many neighbours among them.
const WANTED: usize = 100_000;
const PAGE: usize = 100;

/// Lookups in a store, and the queries of `pgbench -S -M prepared`, in turns: as many clients, the
/// same server, the same run.
pub(crate) async fn beside(
    plan: &Plan,
    depot: &Depot,
    count: usize,
    out: &mut impl io::Write,
) -> Result<(), Fault> {
    let pgbench = program("pgbench")?;
    let theirs = depot.postgres()?.database()?;
    let done = Command::new(&pgbench)
        .args(["--quiet", "-i", "-s", "10"])
        .arg(theirs.url())
        .output()?;
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).into_owned().into());
    }
    let store = depot.store(Backend::Postgres, count, plan.clients).await?;
    let wanted = Arc::new(unique_terms(&*store, count).await?);
    let (mut rates, mut compared) = (Vec::new(), Vec::new());
    for _ in 0..plan.turns {
        let bench = Command::new(&pgbench)
            .args(["-n", "-S", "-M", "prepared", "-j", "2"])
            .args(["-c", &plan.clients.to_string()])
            .args(["-T", &plan.turn.as_secs().max(1).to_string()])
            .arg(theirs.url())
            .output()?;
        let told = String::from_utf8_lossy(&bench.stdout).into_owned();
        let line = told.lines().find_map(|line| line.strip_prefix("tps = "));
        let tps = line.and_then(|line| line.split(' ').next());
        let tps: f64 = tps.ok_or(told.clone())?.parse()?;
        let found = lookups(plan, &store, &wanted).await?;
        rates.push(found);
        compared.push(found / tps);
    }
    store.close().await;
    depot
        .postgres()?
        .sql(&format!("DROP DATABASE {}", theirs.name()))?;
    writeln!(
        out,
        "Store::find_by on Postgres with {count} secrets, {} clients: {:.0}/s, {:.0} % of \
         pgbench -S -M prepared (medians of {} turns)",
        plan.clients,
        median(rates),
        100.0 * median(compared),
        plan.turns
    )?;
    Ok(())
}

/// Secrets by their unique terms, from all over the store.
async fn unique_terms(store: &dyn Store, count: usize) -> Result<Vec<(Kind, Term)>, Fault> {
    let secrets = Query::new(SECRET).oldest_first();
    let stride = PAGE * count.div_ceil(WANTED);
    let mut wanted = Vec::new();
    for before in (0..count).step_by(stride) {
        let page = Page {
            after: Some(before as u64),
            limit: PAGE,
        };
        for record in store.list(&secrets, page).await?.records {
            let unique = record.terms.iter().filter(|term| term.unique);
            wanted.extend(unique.map(|term| (record.key.kind, term.term)));
        }
    }
    Ok(wanted)
}

async fn lookups(
    plan: &Plan,
    store: &Arc<dyn Store>,
    wanted: &Arc<Vec<(Kind, Term)>>,
) -> Result<f64, Fault> {
    let started = Instant::now();
    let count = Arc::new(AtomicU64::new(0));
    let length = plan.turn;
    let tasks: Vec<_> = (0..plan.clients)
        .map(|task| {
            let (store, wanted, count) =
                (Arc::clone(store), Arc::clone(wanted), Arc::clone(&count));
            tokio::spawn(async move {
                // Spread over all of them without a random source.
                let mut place = task.wrapping_mul(7_919);
                while started.elapsed() < length {
                    place = place.wrapping_add(104_729);
                    let (kind, term) = wanted[place % wanted.len()];
                    if store.find_by(kind, &term).await?.is_none() {
                        return Err(StoreError::backend("a secret is gone"));
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    let count = count.load(Ordering::Relaxed) as f64;
    Ok(count / started.elapsed().as_secs_f64())
}
