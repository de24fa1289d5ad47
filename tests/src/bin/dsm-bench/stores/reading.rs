//! Reads and writes through a vault in this process.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dsm_core::access::Principal;
use dsm_core::crypto::KeyProvider;
use dsm_core::entropy::{Entropy, OsEntropy};
use dsm_core::secret::Identity;
use dsm_core::store::Store;
use dsm_core::vault::{AuditPlace, Vault};
use dsm_tests::fill::{origin, secret};
use tempfile::TempDir;

use super::Fault;
use super::depot::Filled;

/// How many secrets one caller reads in a turn, of the 1,000 that a vault has at least.
const READS: usize = 900;

/// How often it is looked whether the trail is copied.
const LOOK: Duration = Duration::from_millis(5);

/// An open vault that remembers no secret yet, and the client that reads in it.
#[derive(Debug)]
pub(crate) struct Reading {
    vault: Arc<Vault>,
    principal: Principal,
    identities: Arc<Vec<Identity>>,
    _audit: TempDir,
}

impl Reading {
    /// Opens the vault in the store, with its trail on the same disk as the stores.
    pub(crate) async fn begin(
        store: Arc<dyn Store>,
        keys: Arc<dyn KeyProvider>,
        filled: &Filled,
        folder: &Path,
    ) -> Result<Self, Fault> {
        let audit = tempfile::tempdir_in(folder)?;
        let builder = Vault::builder_dyn(store, keys);
        let builder = builder.audit(AuditPlace::Folder(audit.path().join("audit")));
        let vault = Arc::new(builder.open().await?);
        let token = vault
            .authenticate(&filled.client_id, &filled.client_secret, origin())
            .await?;
        let principal = vault.principal(token.token.expose(), origin()).await?;
        // The first read remembers the engine, as all but the first do.
        vault.read_secret(&principal, &filled.identities[0]).await?;
        Ok(Self {
            vault,
            principal,
            identities: Arc::clone(&filled.identities),
            _audit: audit,
        })
    }

    /// How long each of one caller's reads took, of secrets chosen at random that were not read
    /// before in this vault.
    pub(crate) async fn one_by_one(&self) -> Result<Vec<Duration>, Fault> {
        let entropy: &dyn Entropy = &OsEntropy;
        let mut places = HashSet::new();
        while places.len() < READS {
            let drawn = u32::from_le_bytes(entropy.array()) as usize;
            places.insert(1 + drawn % (self.identities.len() - 1));
        }
        let mut took = Vec::with_capacity(READS);
        for place in places {
            let identity = &self.identities[place];
            let started = Instant::now();
            self.vault.read_secret(&self.principal, identity).await?;
            took.push(started.elapsed());
        }
        Ok(took)
    }

    /// Leaves the store open for the next vault, once the copy of the trail is in it.
    pub(crate) async fn leave(self) {
        while self.vault.audit_lag() > 0 {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Reads per second of many callers, of secrets that were not read before, until there are no
    /// more or the time is over.
    pub(crate) async fn not_remembered(
        &self,
        callers: usize,
        length: Duration,
    ) -> Result<f64, Fault> {
        let next = Arc::new(AtomicUsize::new(self.identities.len() - 1));
        let identities = Arc::clone(&self.identities);
        self.rate(callers, length, move || {
            let place = next.fetch_sub(1, Ordering::Relaxed);
            (1..identities.len())
                .contains(&place)
                .then(|| identities[place].clone())
        })
        .await
    }

    /// Reads per second of many callers, of a few secrets over and over.
    pub(crate) async fn remembered(&self, callers: usize, length: Duration) -> Result<f64, Fault> {
        let few: Vec<Identity> = self.identities[1..].iter().take(900).cloned().collect();
        for identity in &few {
            self.vault.read_secret(&self.principal, identity).await?;
        }
        let turn = AtomicUsize::new(0);
        let again = Arc::new((few, turn));
        self.rate(callers, length, move || {
            let (few, turn) = &*again;
            Some(few[turn.fetch_add(1, Ordering::Relaxed) % few.len()].clone())
        })
        .await
    }

    async fn rate(
        &self,
        callers: usize,
        length: Duration,
        next: impl Fn() -> Option<Identity> + Clone + Send + Sync + 'static,
    ) -> Result<f64, Fault> {
        let started = Instant::now();
        let tasks: Vec<_> = (0..callers)
            .map(|_| {
                let (vault, principal) = (Arc::clone(&self.vault), self.principal.clone());
                let next = next.clone();
                tokio::spawn(async move {
                    let mut count = 0_u32;
                    while started.elapsed() < length
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

    /// Secrets written per second by many callers.
    pub(crate) async fn writes(&self, callers: usize, length: Duration) -> Result<f64, Fault> {
        // Those of an earlier run are there already.
        let run = std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_secs();
        let started = Instant::now();
        let tasks: Vec<_> = (0..callers)
            .map(|task| {
                let (vault, principal) = (Arc::clone(&self.vault), self.principal.clone());
                tokio::spawn(async move {
                    let mut count = 0_u32;
                    while started.elapsed() < length {
                        let identity: Identity = format!("written/{run}-{task}/{count}").parse()?;
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

    /// Closes the vault and its store.
    pub(crate) async fn end(self) {
        self.vault.close().await;
    }
}
