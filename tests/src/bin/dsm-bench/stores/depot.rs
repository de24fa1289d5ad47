//! Filled stores, each made once; they stay where a folder is named.

use std::fmt::{self, Display, Formatter};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use dsm_core::crypto::{KeyFile, KeyProvider};
use dsm_core::entropy::OsEntropy;
use dsm_core::secret::Identity;
use dsm_core::store::{MemoryStore, Store, StoreError};
use dsm_core::transfer::{self, TransferError};
use dsm_store_postgres::{PostgresOptions, PostgresStore};
use dsm_store_redis::{RedisOptions, RedisStore};
use dsm_store_sqlite::{OpenOptions, SqliteStore};
use dsm_test_servers::postgres::Postgres;
use dsm_test_servers::redis::{Redis, with_parameter};
use dsm_tests::fill::{fill_under, identities};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Fault;

/// The memory store is for tests and trials, and filled anew for each run.
const MOST_IN_MEMORY: usize = 100_000;

/// The kinds of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Backend {
    Memory,
    Sqlite,
    Postgres,
    Redis,
}

impl Backend {
    /// Whether so many secrets are kept in it.
    pub(crate) fn takes(self, count: usize) -> bool {
        self != Self::Memory || count <= MOST_IN_MEMORY
    }
}

impl Display for Backend {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Sqlite => "SQLite",
            Self::Postgres => "Postgres",
            Self::Redis => "Redis",
        })
    }
}

/// A vault of so many secrets, and the client that reads them.
#[derive(Debug, Clone)]
pub(crate) struct Filled {
    pub(crate) count: usize,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    pub(crate) identities: Arc<Vec<Identity>>,
}

/// Where the stores are. A vault is made once, in memory, and goes from there into a file, from which
/// every store is filled by large commits.
#[derive(Debug)]
pub(crate) struct Depot {
    keys: KeyFile,
    postgres: Option<Postgres>,
    redis: Option<Redis>,
    folder: PathBuf,
    _temporary: Option<TempDir>,
}

impl Depot {
    /// In the folder, or else in one that goes with the depot, with the servers of these.
    pub(crate) fn open(
        kept: Option<&Path>,
        backends: &[Backend],
        connections: usize,
    ) -> Result<Self, Fault> {
        let temporary = match kept {
            Some(_) => None,
            None => Some(tempfile::tempdir()?),
        };
        let folder = match (kept, &temporary) {
            (Some(kept), _) => {
                std::fs::create_dir_all(kept)?;
                std::fs::canonicalize(kept)?
            }
            (None, Some(temporary)) => temporary.path().to_owned(),
            (None, None) => return Err("a folder".into()),
        };
        let keys = KeyFile::new(folder.join("root.key"));
        if !keys.exists() {
            keys.create(&OsEntropy)?;
        }
        let settings = [
            &*format!("max_connections={connections}"),
            "shared_preload_libraries=pg_stat_statements",
        ];
        let is_kept = temporary.is_none();
        let postgres = backends.contains(&Backend::Postgres).then(|| {
            if is_kept {
                Postgres::start_in(&folder.join("postgres"), &settings)
            } else {
                Postgres::start_with(&settings)
            }
        });
        let redis = backends.contains(&Backend::Redis).then(|| {
            if is_kept {
                Redis::start_in(&folder.join("redis"), &[])
            } else {
                Redis::start_with(&[])
            }
        });
        let (postgres, redis) = (postgres.transpose()?, redis.transpose()?);
        Ok(Self {
            keys,
            postgres,
            redis,
            folder,
            _temporary: temporary,
        })
    }

    /// The root keys of every vault.
    pub(crate) fn keys(&self) -> Arc<dyn KeyProvider> {
        Arc::new(self.keys.clone())
    }

    /// The file that they are in.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.folder.join("root.key")
    }

    /// A vault of so many secrets, made if it is not there.
    pub(crate) async fn vault(&self, count: usize) -> Result<Filled, Fault> {
        let folder = self.folder_of(count);
        std::fs::create_dir_all(&folder)?;
        let client = folder.join("client.json");
        if !client.exists() {
            let started = Instant::now();
            let filled = fill_under(self.keys(), count, 1).await;
            let filled = filled.map_err(|error| -> Fault { error })?;
            // What an earlier run did not finish.
            let _ = std::fs::remove_file(self.source(count));
            let origin = transfer::origin_of(&*filled.store).await?;
            let mut snapshot = filled.store.snapshot().await?;
            // So that what was copied is not in memory any more.
            filled.store.close().await;
            let store = SqliteStore::open(self.source(count)).await?;
            let copied = transfer::copy(&mut *snapshot, origin, &store, |_| ()).await;
            store.close().await;
            copied?;
            let told = json!({
                "client_id": filled.client_id,
                "client_secret": filled.client_secret,
            });
            std::fs::write(&client, told.to_string())?;
            say(&format!("{count} secrets made"), started)?;
        }
        let told: Value = serde_json::from_slice(&std::fs::read(&client)?)?;
        let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
        Ok(Filled {
            count,
            client_id: text("client_id"),
            client_secret: text("client_secret"),
            identities: Arc::new(identities(count)),
        })
    }

    /// The URL of the store with this vault. None where it is within a process.
    pub(crate) fn url(&self, backend: Backend, count: usize) -> Option<String> {
        match backend {
            Backend::Memory => None,
            Backend::Sqlite => {
                let path = self.folder_of(count).join("vault.db");
                Some(format!("sqlite:{}", path.display()))
            }
            Backend::Postgres => {
                let url = self.postgres.as_ref()?.url();
                let (server, _) = url.rsplit_once('/')?;
                Some(format!("{server}/{}", database(count)))
            }
            Backend::Redis => {
                let prefix = format!("secrets-{count}");
                Some(with_parameter(
                    &self.redis.as_ref()?.url(),
                    "prefix",
                    &prefix,
                ))
            }
        }
    }

    /// The store with this vault, filled if it is not.
    pub(crate) async fn store(
        &self,
        backend: Backend,
        count: usize,
        connections: usize,
    ) -> Result<Arc<dyn Store>, Fault> {
        let started = Instant::now();
        let url = self.url(backend, count).unwrap_or_default();
        let store: Arc<dyn Store> = match backend {
            Backend::Memory => Arc::new(MemoryStore::new()),
            Backend::Sqlite => {
                let path = self.folder_of(count).join("vault.db");
                if !path.exists() {
                    let part = path.with_extension("part");
                    std::fs::copy(self.source(count), &part)?;
                    std::fs::rename(&part, &path)?;
                    say(&format!("SQLite with {count} secrets filled"), started)?;
                }
                return Ok(Arc::new(SqliteStore::open(OpenOptions::new(path)).await?));
            }
            Backend::Postgres => {
                let name = database(count);
                let found = format!("SELECT 1 FROM pg_database WHERE datname = '{name}'");
                let server = self.postgres()?;
                if server.sql(&found)?.is_empty() {
                    server.sql(&format!("CREATE DATABASE {name}"))?;
                }
                let options: PostgresOptions = url.parse()?;
                let connections = u32::try_from(connections)?;
                Arc::new(PostgresStore::open(options.max_connections(connections)).await?)
            }
            Backend::Redis => Arc::new(RedisStore::open(RedisOptions::parse(&url)?).await?),
        };
        if transfer::origin_of(&*store).await.is_err() {
            let source = SqliteStore::open(self.source(count)).await?;
            let copied = fill(&source, &*store).await;
            source.close().await;
            copied?;
            self.settle(backend, count)?;
            say(&format!("{backend} with {count} secrets filled"), started)?;
        }
        Ok(store)
    }

    /// Has what filling left to do done now, and not while something is measured.
    fn settle(&self, backend: Backend, count: usize) -> Result<(), Fault> {
        match backend {
            Backend::Memory | Backend::Sqlite => {}
            Backend::Postgres => {
                self.sql(count, "CREATE EXTENSION pg_stat_statements")?;
                self.sql(count, "VACUUM ANALYZE")?;
                self.sql(count, "CHECKPOINT")?;
            }
            Backend::Redis => {
                let redis = self.redis.as_ref().ok_or("a Redis")?;
                let is_rewriting = || {
                    let told = redis.cli(&["info", "persistence"])?;
                    let under_way = told.contains("aof_rewrite_in_progress:1");
                    Ok::<_, io::Error>(under_way || told.contains("aof_rewrite_scheduled:1"))
                };
                if !is_rewriting()? {
                    redis.cli(&["bgrewriteaof"])?;
                }
                while is_rewriting()? {
                    std::thread::sleep(std::time::Duration::from_millis(100));
                }
            }
        }
        Ok(())
    }

    /// Runs a statement in the database of a vault.
    pub(crate) fn sql(&self, count: usize, statement: &str) -> Result<String, Fault> {
        Ok(self.postgres()?.sql_in(&database(count), statement)?)
    }

    /// The server of Postgres.
    pub(crate) fn postgres(&self) -> Result<&Postgres, Fault> {
        self.postgres.as_ref().ok_or_else(|| "a Postgres".into())
    }

    /// Ends the servers so that they start soon again.
    pub(crate) fn close(mut self) -> io::Result<()> {
        match &mut self.postgres {
            Some(postgres) => postgres.stop(),
            None => Ok(()),
        }
    }

    fn folder_of(&self, count: usize) -> PathBuf {
        self.folder.join(count.to_string())
    }

    fn source(&self, count: usize) -> PathBuf {
        self.folder_of(count).join("source.db")
    }
}

fn database(count: usize) -> String {
    format!("secrets_{count}")
}

/// How often filling goes on after a database took too long, as one does while it writes much.
const ATTEMPTS: usize = 10;

async fn fill(from: &dyn Store, to: &dyn Store) -> Result<(), TransferError> {
    let origin = transfer::origin_of(from).await?;
    for _ in 1..ATTEMPTS {
        match transfer::copy(&mut *from.snapshot().await?, origin, to, |_| ()).await {
            Err(TransferError::Store(StoreError::Unavailable { .. })) => {}
            done => return done.map(drop),
        }
    }
    transfer::copy(&mut *from.snapshot().await?, origin, to, |_| ()).await?;
    Ok(())
}

fn say(what: &str, started: Instant) -> io::Result<()> {
    let seconds = started.elapsed().as_secs_f64();
    writeln!(io::stderr(), "{what} in {seconds:.1} s")
}
