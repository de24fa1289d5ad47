//! What each store costs: reads that are remembered, reads that are not, and writes, through the
//! vault in this process and over HTTP; and Postgres beside its own benchmark program.

mod depot;
mod over_http;
mod pgbench;
mod reading;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use self::depot::Backend;
use self::depot::{Depot, Filled};
use self::reading::Reading;

type Fault = Box<dyn std::error::Error>;

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
        let rows = rows(plan, depot, backend, filled, out).await?;
        if let [first, .., last] = &rows[..] {
            ratios.push((backend, last.as_secs_f64() / first.as_secs_f64()));
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

/// A row for each number of secrets; gives the medians of what one caller waits. The sizes take
/// turns, so that whatever the machine does to one it does to the other.
async fn rows(
    plan: &Plan,
    depot: &Depot,
    backend: Backend,
    filled: &[Filled],
    out: &mut impl io::Write,
) -> Result<Vec<Duration>, Fault> {
    let folder = tempfile::tempdir()?;
    let mut open = Vec::new();
    for filled in filled.iter().filter(|filled| backend.takes(filled.count)) {
        let store = depot.store(backend, filled.count, plan.clients).await?;
        let reading = Reading::begin(store, depot.keys(), filled, folder.path()).await?;
        open.push((filled.count, reading));
    }
    let mut before = Vec::new();
    for (count, _) in &open {
        before.push(queries(depot, backend, *count)?);
    }
    let mut took = vec![Vec::new(); open.len()];
    for turn in 0..plan.turns {
        for ((_, reading), took) in open.iter().zip(&mut took) {
            took.extend(reading.one_by_one(turn, plan.turns).await?);
        }
    }
    let mut medians = Vec::new();
    for (((count, reading), mut took), before) in open.into_iter().zip(took).zip(before) {
        let after = queries(depot, backend, count)?;
        let per_read = before.zip(after).map(|(before, after)| {
            #[allow(clippy::cast_precision_loss, reason = "some thousands")]
            let per_read = (after - before) as f64 / took.len() as f64;
            per_read
        });
        took.sort_unstable();
        let p50 = took[took.len() / 2];
        let not_remembered = reading.not_remembered(plan.clients, plan.turn).await?;
        let remembered = reading.remembered(plan.clients, plan.turn).await?;
        let writes = reading.writes(plan.clients, plan.turn).await?;
        reading.end().await;
        writeln!(
            out,
            "| {backend} | {count} | {remembered:.0}/s | {not_remembered:.0}/s | {:.3} ms | {} | \
             {writes:.0}/s |",
            p50.as_secs_f64() * 1e3,
            per_read.map_or("–".to_owned(), |queries| format!("{queries:.2}")),
        )?;
        medians.push(p50);
    }
    Ok(medians)
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
