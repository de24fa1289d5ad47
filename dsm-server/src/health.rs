//! Probes and metrics: whether the process lives, whether it can serve, and what it has done.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dsm_core::crypto::{KeyProvider, RootKeyId};
use dsm_core::vault::Vault;
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::http::call::{Reply, Surface};
use crate::http::operation::{Answer, Shape};
use crate::http::router::Route;
use crate::metrics::{self, Metrics};
use crate::openapi::{TEXT, of_server};

/// How long an answer is given again: a probe writes to the store, and anybody may ask.
const FRESH: Duration = Duration::from_secs(1);
/// How long the store may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// With less room than this beside the audit trail a server does not take requests, in bytes.
const ROOM: u64 = 1 << 20;

/// What the probes look at.
#[derive(Debug)]
pub struct Health {
    vault: Arc<Vault>,
    keys: Arc<dyn KeyProvider>,
    audit_dir: Option<PathBuf>,
    metrics: Arc<Metrics>,
    last: Mutex<Option<(Instant, Readiness)>>,
}

/// Which part is ready; to those who may ask without credentials it says no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
struct Readiness {
    ready: bool,
    store: &'static str,
    audit: &'static str,
    key: &'static str,
}

impl Health {
    /// The health of `vault`, whose root keys come from `keys` and whose trail is in `audit_dir`,
    /// if it is in a folder.
    pub fn new(
        vault: Arc<Vault>,
        keys: Arc<dyn KeyProvider>,
        audit_dir: Option<PathBuf>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            vault,
            keys,
            audit_dir,
            metrics,
            last: Mutex::default(),
        }
    }

    /// `/livez`, `/readyz` and `/metrics`.
    pub fn routes<S: Send + Sync + 'static>(self: &Arc<Self>) -> Vec<Route<S>> {
        let ready = Arc::clone(self);
        let metrics = Arc::clone(&self.metrics);
        let readiness = |text| Answer::of(text, "application/json", Shape::of::<Readiness>());
        vec![
            Route::new(
                Method::GET,
                "/livez",
                Surface::Health,
                "livez",
                of_server("Says that the process lives")
                    .answers(StatusCode::OK, Answer::of("It does", TEXT, Shape::text())),
                |_, _| async { Reply::bytes(StatusCode::OK, TEXT, "ok\n") },
            ),
            Route::new(
                Method::GET,
                "/readyz",
                Surface::Health,
                "readyz",
                of_server("Says whether the server can serve, and which part is not ready")
                    .answers(StatusCode::OK, readiness("It can"))
                    .answers(
                        StatusCode::SERVICE_UNAVAILABLE,
                        readiness("It cannot").or(TEXT, Shape::text()),
                    ),
                move |_, _| {
                    let health = Arc::clone(&ready);
                    async move { health.reply().await }
                },
            ),
            Route::new(
                Method::GET,
                "/metrics",
                Surface::Health,
                "metrics",
                of_server("Gives metrics in the text format of Prometheus").answers(
                    StatusCode::OK,
                    Answer::of("The metrics", metrics::MEDIA_TYPE, Shape::text()),
                ),
                move |_, _| {
                    let metrics = Arc::clone(&metrics);
                    async move { metrics.reply() }
                },
            ),
        ]
    }

    async fn reply(&self) -> Reply {
        let readiness = self.readiness().await;
        let status = if readiness.ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        Reply::json(status, &readiness)
    }

    /// Looks at every part, once for all who ask at the same time.
    async fn readiness(&self) -> Readiness {
        let mut last = self.last.lock().await;
        if let Some((at, readiness)) = *last
            && at.elapsed() < FRESH
        {
            return readiness;
        }
        let (store, (audit, key)) = tokio::join!(self.store(), self.files());
        let readiness = Readiness {
            ready: store.is_ok() && audit.is_ok() && key.is_ok(),
            store: word(&store),
            audit: word(&audit),
            key: word(&key),
        };
        if last.map(|(_, before)| before) != Some(readiness) {
            for (part, state) in [("store", store), ("audit", audit), ("key", key)] {
                if let Err(reason) = state {
                    tracing::warn!(part, reason, "not ready");
                }
            }
        }
        *last = Some((Instant::now(), readiness));
        readiness
    }

    async fn store(&self) -> Result<(), String> {
        match timeout(PATIENCE, self.vault.probe_store()).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err("the store does not answer".to_owned()),
        }
    }

    /// The audit folder and the key, on a thread that may wait for a disk.
    async fn files(&self) -> (Result<(), String>, Result<(), String>) {
        let (folder, keys) = (self.audit_dir.clone(), Arc::clone(&self.keys));
        let active = self.vault.root_key();
        let look = move || {
            let audit = folder.as_deref().map_or(Ok(()), can_record);
            (audit, has_key(&*keys, active))
        };
        let failed = || Err("it could not be looked at".to_owned());
        tokio::task::spawn_blocking(look)
            .await
            .unwrap_or_else(|_| (failed(), failed()))
    }
}

fn word(state: &Result<(), String>) -> &'static str {
    if state.is_ok() { "ok" } else { "failing" }
}

/// Whether the folder of the audit trail can be written to and has room.
pub(crate) fn can_record(folder: &Path) -> Result<(), String> {
    use rustix::fs::{Access, access, statvfs};

    let place = folder.display();
    access(folder, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| format!("{place} cannot be written: {error}"))?;
    let disk = statvfs(folder).map_err(|error| format!("the disk of {place}: {error}"))?;
    if disk.f_bavail.saturating_mul(disk.f_frsize) < ROOM {
        return Err(format!("the disk of {place} is full: make room there"));
    }
    Ok(())
}

/// Whether the key that seals now would be found again by a server that starts.
fn has_key(keys: &dyn KeyProvider, active: RootKeyId) -> Result<(), String> {
    let loaded = keys.load().map_err(|error| error.to_string())?;
    match loaded.find(active) {
        Some(_) => Ok(()),
        None => Err(format!(
            "the root key {active}, under which this server seals, is no longer there"
        )),
    }
}

#[cfg(test)]
mod tests {
    use dsm_core::crypto::{KeyFile, StaticKeys};
    use dsm_core::entropy::OsEntropy;
    use dsm_core::store::{MemoryStore, Store as _};

    use super::*;

    async fn vault(store: Arc<MemoryStore>, keys: Arc<dyn KeyProvider>) -> Arc<Vault> {
        let vault = Vault::builder_dyn(store, keys).initialise().await;
        Arc::new(vault.expect("an empty store"))
    }

    #[tokio::test]
    async fn every_part_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = KeyFile::new(folder.path().join("root.key"));
        file.create(&OsEntropy).expect("a key");
        let (store, keys) = (Arc::new(MemoryStore::default()), Arc::new(file));
        let vault = vault(Arc::clone(&store), Arc::clone(&keys) as _).await;
        let health = || {
            let audit = Some(folder.path().join("audit"));
            Health::new(
                Arc::clone(&vault),
                Arc::clone(&keys) as _,
                audit,
                Arc::default(),
            )
        };
        let state = async || {
            let state = health().readiness().await;
            (state.ready, state.store, state.audit, state.key)
        };
        assert_eq!(state().await, (false, "ok", "failing", "ok"));
        std::fs::create_dir(folder.path().join("audit")).expect("a folder");
        assert_eq!(state().await, (true, "ok", "ok", "ok"));
        std::fs::remove_file(keys.path()).expect("the key");
        assert_eq!(state().await, (false, "ok", "ok", "failing"));
        store.close().await;
        assert_eq!(state().await, (false, "failing", "ok", "failing"));
    }

    #[tokio::test]
    async fn another_key_is_not_the_key() {
        let keys = Arc::new(StaticKeys::generate(&OsEntropy));
        let vault = vault(Arc::default(), keys).await;
        let other = StaticKeys::generate(&OsEntropy);
        assert!(has_key(&other, vault.root_key()).is_err());
    }

    #[tokio::test]
    async fn an_answer_is_given_again_for_a_while() {
        let keys: Arc<dyn KeyProvider> = Arc::new(StaticKeys::generate(&OsEntropy));
        let store = Arc::new(MemoryStore::default());
        let vault = vault(Arc::clone(&store), Arc::clone(&keys)).await;
        let health = Health::new(vault, keys, None, Arc::default());
        let first = health.readiness().await;
        assert!(first.ready);
        store.close().await;
        assert_eq!(health.readiness().await, first);
    }
}
