//! What rotations cost each store: claiming what is due among few and many scheduled secrets, and how
//! many rotations a second one worker gets done on a target that answers at once.
#![allow(clippy::print_stdout, reason = "what it measures is for a reader")]

use std::sync::Arc;
use std::time::Duration;

use dsm_core::store::{MemoryStore, Store};
use dsm_core::testing::rotation::{claim_cost, rotations_per_second, schedule_later};
use dsm_store_postgres::{PostgresOptions, PostgresStore};
use dsm_store_redis::{RedisOptions, RedisStore};
use dsm_store_sqlite::SqliteStore;
use dsm_test_servers::postgres::Postgres;
use dsm_test_servers::redis::{Redis, with_parameter};
use tempfile::TempDir;

type Fault = Box<dyn std::error::Error>;

/// How many secrets are scheduled.
const FEW: u64 = 1_000;
const MANY: u64 = 100_000;
/// How many secrets are rotated, and how many at the same time.
const ROTATED: usize = 2_000;
const AT_ONCE: usize = 64;

/// How many turns each comparison has.
const TURNS: usize = 5;

#[tokio::main]
async fn main() -> Result<(), Fault> {
    println!(
        "a claim of 16 secrets that are due, medians of {TURNS} turns of 200; {ROTATED} rotations in \
         place, {AT_ONCE} at a time, by one worker"
    );
    println!("| store | claim, {FEW} scheduled | claim, {MANY} scheduled | ratio | rotations |");
    println!("|---|---|---|---|---|");
    for (name, place) in Place::all()? {
        let (few, many) = (place.store("few").await?, place.store("many").await?);
        schedule_later(&*few, FEW).await;
        schedule_later(&*many, MANY).await;
        let (mut of_few, mut of_many) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            of_few.push(claim_cost(&*few).await);
            of_many.push(claim_cost(&*many).await);
        }
        let [few_us, many_us] = [of_few, of_many].map(|times| median(micros(&times)));
        let mut rates = Vec::new();
        for turn in 0..TURNS {
            let store = place.store(&format!("rotated{turn}")).await?;
            rates.push(rotations_per_second(store, ROTATED, AT_ONCE).await);
        }
        println!(
            "| {name} | {few_us:.0} us | {many_us:.0} us | {:.2} | {:.0}/s |",
            many_us / few_us,
            median(rates)
        );
    }
    Ok(())
}

fn micros(times: &[Duration]) -> Vec<f64> {
    times.iter().map(|time| time.as_secs_f64() * 1e6).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Where empty stores of a kind are made.
enum Place {
    Memory,
    Sqlite(TempDir),
    Postgres(Postgres),
    Redis(Redis),
}

impl Place {
    fn all() -> Result<[(&'static str, Self); 4], Fault> {
        Ok([
            ("memory", Self::Memory),
            ("SQLite", Self::Sqlite(tempfile::tempdir()?)),
            ("Postgres", Self::Postgres(Postgres::start()?)),
            ("Redis", Self::Redis(Redis::start()?)),
        ])
    }

    async fn store(&self, name: &str) -> Result<Arc<dyn Store>, Fault> {
        Ok(match self {
            Self::Memory => Arc::new(MemoryStore::new()),
            Self::Sqlite(folder) => {
                Arc::new(SqliteStore::open(folder.path().join(format!("{name}.db"))).await?)
            }
            Self::Postgres(server) => {
                server.sql(&format!("CREATE DATABASE {name}"))?;
                let url = server.url();
                let (server, _) = url.rsplit_once('/').ok_or("a URL with a database")?;
                let options: PostgresOptions = format!("{server}/{name}").parse()?;
                Arc::new(PostgresStore::open(options).await?)
            }
            Self::Redis(server) => {
                let url = with_parameter(&server.url(), "prefix", name);
                Arc::new(RedisStore::open(RedisOptions::parse(&url)?).await?)
            }
        })
    }
}
