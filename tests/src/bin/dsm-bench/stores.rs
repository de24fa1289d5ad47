//! What each store costs: reads that are remembered, reads that are not, and writes, through the
//! vault in this process; and Postgres beside its own benchmark program.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dsm_core::access::Principal;
use dsm_core::secret::Identity;
use dsm_core::store::{Kind, MemoryStore, Page, Query, Store, Term};
use dsm_core::transfer;
use dsm_core::vault::{AuditPlace, Vault};
use dsm_store_postgres::{PostgresOptions, PostgresStore};
use dsm_store_redis::{RedisOptions, RedisStore};
use dsm_store_sqlite::{OpenOptions, SqliteStore};
use dsm_test_servers::postgres::{Database, Postgres, program};
use dsm_test_servers::redis::Redis;
use dsm_tests::fill::{Filled, fill, origin, secret};

use crate::report::median;

type Fault = Box<dyn std::error::Error>;

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// How many secrets a vault holds, one run each; the ratio is that of the last to the first.
    pub(crate) secrets: Vec<usize>,
    /// How many callers at the same time.
    pub(crate) clients: usize,
    /// How long a measurement takes.
    pub(crate) turn: Duration,
    /// How many turns the comparison with pgbench has.
    pub(crate) turns: usize,
}

pub(crate) async fn run(plan: Plan) -> Result<(), Fault> {
    let mut out = io::stdout();
    let postgres = Postgres::start_with(&[
        &format!("max_connections={}", plan.clients + 40),
        "shared_preload_libraries=pg_stat_statements",
    ])?;
    let redis = Redis::start()?;
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
    let mut latencies: Vec<(&str, Vec<Duration>)> = Vec::new();
    for &count in &plan.secrets {
        let filled = fill(count, 1).await.map_err(|error| -> Fault { error })?;
        for backend in ["memory", "sqlite", "postgres", "redis"] {
            let folder = tempfile::tempdir()?;
            let database = (backend == "postgres")
                .then(|| postgres.database())
                .transpose()?;
            let store: Arc<dyn Store> = match backend {
                "memory" => Arc::new(MemoryStore::new()),
                "sqlite" => {
                    let options = OpenOptions::new(folder.path().join("vault.db"));
                    Arc::new(SqliteStore::open(options).await?)
                }
                "postgres" => {
                    let url = database.as_ref().ok_or("a database")?.url();
                    let options: PostgresOptions = url.parse()?;
                    Arc::new(PostgresStore::open(options.max_connections(20)).await?)
                }
                _ => Arc::new(RedisStore::open(RedisOptions::parse(&redis.fresh_url())?).await?),
            };
            let mut snapshot = filled.store.snapshot().await?;
            let origin = transfer::origin_of(&*filled.store).await?;
            transfer::copy(&mut *snapshot, origin, &*store, |_| ()).await?;
            if let Some(database) = &database {
                database.sql("ANALYZE; CREATE EXTENSION pg_stat_statements")?;
            }
            let queries = Queries(database.as_ref());
            let row = measure(&plan, &filled, store, folder.path(), &queries).await?;
            writeln!(
                out,
                "| {backend} | {count} | {:.0}/s | {:.0}/s | {:.3} ms | {} | {:.0}/s |",
                row.remembered,
                row.not_remembered,
                row.p50.as_secs_f64() * 1e3,
                row.queries
                    .map_or("–".to_owned(), |queries| format!("{queries:.2}")),
                row.writes,
            )?;
            match latencies.iter_mut().find(|(name, _)| *name == backend) {
                Some((_, all)) => all.push(row.p50),
                None => latencies.push((backend, vec![row.p50])),
            }
        }
    }
    for (backend, all) in latencies {
        if let [first, .., last] = all[..] {
            let ratio = last.as_secs_f64() / first.as_secs_f64();
            writeln!(
                out,
                "p50 of a read that is not remembered, {backend}: {ratio:.2} times"
            )?;
        }
    }
    beside_pgbench(&plan, &postgres, &mut out).await
}

struct Row {
    remembered: f64,
    not_remembered: f64,
    p50: Duration,
    queries: Option<f64>,
    writes: f64,
}

async fn measure(
    plan: &Plan,
    filled: &Filled,
    store: Arc<dyn Store>,
    folder: &Path,
    queries: &Queries<'_>,
) -> Result<Row, Fault> {
    let builder = Vault::builder_dyn(store, Arc::clone(&filled.keys));
    let builder = builder.audit(AuditPlace::Folder(folder.join("audit")));
    let vault = Arc::new(builder.open().await?);
    let token = vault
        .authenticate(&filled.client_id, &filled.client_secret, origin())
        .await?;
    let principal = vault.principal(token.token.expose(), origin()).await?;
    let identities = &filled.identities;
    // The first read remembers the engine, as all but the first do.
    vault.read_secret(&principal, &identities[0]).await?;

    // One caller, each secret once, from all over the store.
    let sample = identities.len().min(4_000);
    let step = identities.len() / sample;
    let before = queries.count()?;
    let mut took = Vec::with_capacity(sample);
    for place in 0..sample / 2 {
        let started = Instant::now();
        vault
            .read_secret(&principal, &identities[1 + place * step])
            .await?;
        took.push(started.elapsed());
    }
    let asked = queries.count()?;
    let per_read = before.zip(asked).map(|(before, asked)| {
        #[allow(clippy::cast_precision_loss, reason = "some thousands")]
        let per_read = (asked - before) as f64 / took.len() as f64;
        per_read
    });
    took.sort_unstable();
    let p50 = took[took.len() / 2];

    // Many callers; what was read above is passed over.
    let next = Arc::new(AtomicUsize::new(identities.len() - 1));
    let not_remembered = rate(plan, &vault, &principal, {
        let (identities, next) = (Arc::clone(identities), Arc::clone(&next));
        move || {
            let place = next.fetch_sub(1, Ordering::Relaxed);
            (place > identities.len() / 2).then(|| identities[place].clone())
        }
    })
    .await?;
    let few: Arc<Vec<Identity>> = Arc::new(identities[1..].iter().take(900).cloned().collect());
    let turn = Arc::new(AtomicUsize::new(0));
    let again = {
        let (few, turn) = (Arc::clone(&few), Arc::clone(&turn));
        move || Some(few[turn.fetch_add(1, Ordering::Relaxed) % few.len()].clone())
    };
    for identity in few.iter() {
        vault.read_secret(&principal, identity).await?;
    }
    let remembered = rate(plan, &vault, &principal, again).await?;
    let writes = write(plan, &vault, &principal).await?;
    vault.close().await;
    Ok(Row {
        remembered,
        not_remembered,
        p50,
        queries: per_read,
        writes,
    })
}

/// Reads per second of all callers, until there is nothing to read or the time is over.
async fn rate(
    plan: &Plan,
    vault: &Arc<Vault>,
    principal: &Principal,
    next: impl Fn() -> Option<Identity> + Clone + Send + Sync + 'static,
) -> Result<f64, Fault> {
    let end = Instant::now() + plan.turn;
    let started = Instant::now();
    let tasks: Vec<_> = (0..plan.clients)
        .map(|_| {
            let (vault, principal, next) = (Arc::clone(vault), principal.clone(), next.clone());
            tokio::spawn(async move {
                let mut count = 0_u32;
                while Instant::now() < end
                    && let Some(identity) = next()
                {
                    vault.read_secret(&principal, &identity).await?;
                    count += 1;
                }
                Ok::<_, dsm_core::vault::Error>(count)
            })
        })
        .collect();
    let mut count = 0.0;
    for task in tasks {
        count += f64::from(task.await??);
    }
    Ok(count / started.elapsed().as_secs_f64())
}

async fn write(plan: &Plan, vault: &Arc<Vault>, principal: &Principal) -> Result<f64, Fault> {
    let end = Instant::now() + plan.turn;
    let started = Instant::now();
    let tasks: Vec<_> = (0..plan.clients)
        .map(|task| {
            let (vault, principal) = (Arc::clone(vault), principal.clone());
            tokio::spawn(async move {
                let mut count = 0_u32;
                while Instant::now() < end {
                    let identity: Identity = format!("written/{task}/{count}").parse()?;
                    vault.write_secret(&principal, &identity, secret(0)).await?;
                    count += 1;
                }
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(count)
            })
        })
        .collect();
    let mut count = 0.0;
    for task in tasks {
        count += f64::from(task.await?.map_err(|error| error.to_string())?);
    }
    Ok(count / started.elapsed().as_secs_f64())
}

/// Counts what a database was asked.
struct Queries<'a>(Option<&'a Database>);

impl Queries<'_> {
    /// Statements that read records, since the database was made.
    fn count(&self) -> Result<Option<u64>, Fault> {
        let Some(database) = self.0 else {
            return Ok(None);
        };
        let counted = database.sql(
            "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements \
             WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) \
             AND query LIKE 'SELECT%dsm.record%'",
        )?;
        Ok(Some(counted.trim().parse()?))
    }
}

/// Lookups in a store, and the queries of `pgbench -S -M prepared`, in turns: as many clients, the
/// same server, the same run.
async fn beside_pgbench(
    plan: &Plan,
    postgres: &Postgres,
    out: &mut impl io::Write,
) -> Result<(), Fault> {
    let pgbench = program("pgbench")?;
    let theirs = postgres.database()?;
    let done = Command::new(&pgbench)
        .args(["--quiet", "-i", "-s", "10"])
        .arg(theirs.url())
        .output()?;
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).into_owned().into());
    }
    let ours = postgres.database()?;
    let secrets = plan.secrets.iter().copied().max().unwrap_or(1_000);
    let filled = fill(secrets.min(100_000), 1).await;
    let filled = filled.map_err(|error| -> Fault { error })?;
    let clients = u32::try_from(plan.clients)?;
    let options: PostgresOptions = ours.url().parse()?;
    let store = Arc::new(PostgresStore::open(options.max_connections(clients)).await?);
    let origin = transfer::origin_of(&*filled.store).await?;
    transfer::copy(
        &mut *filled.store.snapshot().await?,
        origin,
        &*store,
        |_| (),
    )
    .await?;
    ours.sql("ANALYZE")?;
    let wanted = Arc::new(unique_terms(&*store).await?);
    let (mut rates, mut compared) = (Vec::new(), Vec::new());
    for _ in 0..plan.turns {
        let bench = Command::new(&pgbench)
            .args(["-n", "-S", "-M", "prepared", "-j", "2"])
            .args(["-c", &clients.to_string()])
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
    writeln!(
        out,
        "Store::find_by on Postgres, {clients} clients: {:.0}/s, {:.0} % of pgbench -S -M prepared \
         (medians of {} turns)",
        median(rates),
        100.0 * median(compared),
        plan.turns
    )?;
    store.close().await;
    Ok(())
}

/// Secrets by their unique terms.
async fn unique_terms(store: &dyn Store) -> Result<Vec<(Kind, Term)>, Fault> {
    let secrets = Query::new(Kind(12));
    let mut page = Page::first(1_000);
    let mut wanted = Vec::new();
    loop {
        let found = store.list(&secrets, page).await?;
        for record in &found.records {
            let unique = record.terms.iter().filter(|term| term.unique);
            wanted.extend(unique.map(|term| (record.key.kind, term.term)));
        }
        match found.next {
            Some(next) => page.after = Some(next),
            None => return Ok(wanted),
        }
    }
}

async fn lookups(
    plan: &Plan,
    store: &Arc<PostgresStore>,
    wanted: &Arc<Vec<(Kind, Term)>>,
) -> Result<f64, Fault> {
    let end = Instant::now() + plan.turn;
    let started = Instant::now();
    let count = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..plan.clients)
        .map(|task| {
            let (store, wanted, count) =
                (Arc::clone(store), Arc::clone(wanted), Arc::clone(&count));
            tokio::spawn(async move {
                // Spread over all secrets without a random source.
                let mut place = task.wrapping_mul(7_919);
                while Instant::now() < end {
                    place = place.wrapping_add(104_729);
                    let (kind, term) = wanted[place % wanted.len()];
                    if store.find_by(kind, &term).await?.is_none() {
                        return Err(dsm_core::store::StoreError::backend("a secret is gone"));
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
