//! What each store costs: reads that are remembered, reads that are not, and writes, through the
//! vault in this process and over HTTP; and Postgres beside its own benchmark program.

mod depot;
mod over_http;
mod pgbench;
mod reading;
mod waits;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dsm_core::store::Store;

pub(crate) use self::depot::Backend;
use self::depot::{Depot, Filled};
use self::reading::Reading;
use self::waits::{Spread, Waits};

type Fault = Box<dyn std::error::Error>;

/// How many turns one caller has with each number of secrets. A turn is about as long as the trail
/// gathers what it copies into the store.
const TURNS: usize = 40;

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Which stores.
    pub(crate) backends: Vec<Backend>,
    /// How many secrets a vault holds; the ratio is that of the last to the first.
    pub(crate) secrets: Vec<usize>,
    /// How many callers at the same time.
    pub(crate) clients: usize,
    /// How long a measurement takes.
    pub(crate) turn: Duration,
    /// How many turns comparisons have.
    pub(crate) turns: usize,
    /// Where filled stores stay.
    pub(crate) kept: Option<PathBuf>,
    /// Whether to fill only.
    pub(crate) fill: bool,
}

pub(crate) async fn run(plan: Plan) -> Result<(), Fault> {
    let mut out = io::stdout();
    let depot = Depot::open(plan.kept.as_deref(), &plan.backends, plan.clients + 60)?;
    let mut filled = Vec::new();
    for &count in &plan.secrets {
        filled.push(depot.vault(count).await?);
        for &backend in &plan.backends {
            if backend != Backend::Memory {
                let store = depot.store(backend, count, plan.clients).await?;
                store.close().await;
            }
        }
    }
    if !plan.fill {
        measure(&plan, &depot, &filled, &mut out).await?;
    }
    Ok(depot.close()?)
}

async fn measure(
    plan: &Plan,
    depot: &Depot,
    filled: &[Filled],
    out: &mut impl io::Write,
) -> Result<(), Fault> {
    writeln!(
        out,
        "reads and writes through the vault in this process, each with its decision, durable audit \
         and decryption; {} callers, {:?} each",
        plan.clients, plan.turn
    )?;
    writeln!(
        out,
        "| store | secrets | read, remembered | read, not remembered | p50 of one caller | queries \
         per read | write |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    let mut ratios = Vec::new();
    for &backend in &plan.backends {
        let waits = rows(plan, depot, backend, filled, out).await?;
        if let [first, .., last] = &waits[..] {
            ratios.push((backend, Spread::of_ratios(last, first)));
        }
    }
    writeln!(out)?;
    for (backend, ratio) in ratios {
        writeln!(
            out,
            "p50 of a read that is not remembered, {backend}, most secrets to fewest: {ratio:.2} times"
        )?;
    }
    let Some(most) = filled.iter().max_by_key(|filled| filled.count) else {
        return Ok(());
    };
    writeln!(
        out,
        "\nthe same over HTTP with {} secrets, {} connections, {:?} each",
        most.count, plan.clients, plan.turn
    )?;
    writeln!(
        out,
        "| store | remembered | p50 | p99 | not remembered | p50 | p99 |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    for &backend in &plan.backends {
        over_http::row(plan, depot, backend, most, out).await?;
    }
    if plan.backends.contains(&Backend::Postgres) {
        writeln!(out)?;
        pgbench::beside(plan, depot, most.count, out).await?;
    }
    Ok(())
}

/// A row for each number of secrets; gives what one caller waits. The sizes take short turns, so that
/// whatever the machine does to one it does to the other, each in a vault that is opened for it.
async fn rows(
    plan: &Plan,
    depot: &Depot,
    backend: Backend,
    filled: &[Filled],
    out: &mut impl io::Write,
) -> Result<Vec<Waits>, Fault> {
    let folder = tempfile::tempdir()?;
    let mut open = Vec::new();
    for filled in filled.iter().filter(|filled| backend.takes(filled.count)) {
        let store = depot.store(backend, filled.count, plan.clients).await?;
        open.push((filled, store, Waits::default(), None));
    }
    let begin = |store: &Arc<dyn Store>, filled| {
        Reading::begin(Arc::clone(store), depot.keys(), filled, folder.path())
    };
    for _ in 0..TURNS {
        for (filled, store, waits, asked) in &mut open {
            let reading = begin(store, *filled).await?;
            let before = queries(depot, backend, filled.count)?;
            waits.add(&reading.one_by_one().await?);
            let after = queries(depot, backend, filled.count)?;
            *asked = after
                .zip(before)
                .map(|(after, before)| after - before + asked.unwrap_or(0));
            reading.leave().await;
        }
    }
    let mut all = Vec::new();
    for (filled, store, waits, asked) in open {
        let per_read = asked.map(|asked: u64| {
            #[allow(clippy::cast_precision_loss, reason = "some thousands")]
            let per_read = asked as f64 / waits.count() as f64;
            per_read
        });
        let reading = begin(&store, filled).await?;
        let not_remembered = reading.not_remembered(plan.clients, plan.turn).await?;
        let remembered = reading.remembered(plan.clients, plan.turn).await?;
        let writes = reading.writes(plan.clients, plan.turn).await?;
        reading.end().await;
        writeln!(
            out,
            "| {backend} | {} | {remembered:.0}/s | {not_remembered:.0}/s | {:.3} ms | {} | \
             {writes:.0}/s |",
            filled.count,
            waits.spread(),
            per_read.map_or("–".to_owned(), |queries| format!("{queries:.2}")),
        )?;
        all.push(waits);
    }
    Ok(all)
}

/// How many statements that read records a database was asked since it was made.
fn queries(depot: &Depot, backend: Backend, count: usize) -> Result<Option<u64>, Fault> {
    if backend != Backend::Postgres {
        return Ok(None);
    }
    let counted = depot.sql(
        count,
        "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements \
         WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         AND query LIKE 'SELECT%dsm.record%'",
    )?;
    Ok(Some(counted.trim().parse()?))
}
