//! From a configuration to a store, its keys and the vault in it.

use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dsm_core::crypto::{EnvironmentKeys, KeyFile, KeyProvider};
use dsm_core::store::{SchemaChanges, Store, StoreError};
use dsm_core::vault::{AuditPlace, Caller, Vault, VaultBuilder, VaultOptions};

use super::Failure;
use crate::config::{BeforeAnswer, Config, RootKeySource, StoreUrl};
use crate::http::tls::Tls;
use crate::sts::StsEndpoint;

/// How long until a store that cannot be reached is tried again.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What secures connections, when the configuration has files for it.
pub(super) fn tls(config: &Config) -> Result<Option<Arc<Tls>>, Failure> {
    let loaded = config.tls.clone().map(Tls::load).transpose();
    let loaded = loaded.map_err(|error| Failure::config_error(&error))?;
    Ok(loaded.map(Arc::new))
}

/// For what a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To make what is missing in it, and to serve.
    Create,
    /// To serve what is there.
    Serve,
    /// To work beside a server, if there is one.
    Beside,
}

impl Purpose {
    /// Beside a server nothing is done behind its back, and only what makes a vault makes its place.
    #[allow(dead_code, reason = "without any store there is nothing to open")]
    fn schema(self) -> SchemaChanges {
        match self {
            Self::Create => SchemaChanges::Make,
            Self::Serve => SchemaChanges::Update,
            Self::Beside => SchemaChanges::Nothing,
        }
    }
}

/// Opens the store of `url`. One that cannot be reached yet is waited for, unless what is done is
/// done beside a server.
///
/// # Errors
///
/// A store that is absent, unless it is to be made; one that this program was built without; and
/// those of the store.
pub(super) async fn open_store(
    config: &Config,
    url: &StoreUrl,
    purpose: Purpose,
) -> Result<Arc<dyn Store>, Failure> {
    let wait = match purpose {
        Purpose::Create | Purpose::Serve => config.store_wait,
        Purpose::Beside => Duration::ZERO,
    };
    let until = Instant::now() + wait;
    loop {
        match attempt(config, url, purpose).await? {
            Ok(store) => return Ok(store),
            Err(StoreError::Unavailable { reason, source }) if Instant::now() < until => {
                let cause = source.map(|source| source.to_string());
                tracing::warn!(store = %url, reason, cause, "the store is tried again");
                tokio::time::sleep(TRY_AGAIN_AFTER).await;
            }
            Err(StoreError::OlderSchema { found: 0, .. }) => return Err(absent(url)),
            // Such as a database that may lose what it has acknowledged.
            Err(error @ StoreError::Backend { .. }) => return Err(Failure::config_error(&error)),
            Err(error) => return Err(error.into()),
        }
    }
}

type Opened = Result<Arc<dyn Store>, StoreError>;

async fn attempt(config: &Config, url: &StoreUrl, purpose: Purpose) -> Result<Opened, Failure> {
    match url.scheme() {
        "sqlite" => open_sqlite(&sqlite_path(url)?, purpose).await,
        "postgres" | "postgresql" => open_postgres(config, url, purpose).await,
        "memory" => Err(Failure::config(
            "memory: keeps nothing between two commands; only `dsm-server quickstart` takes it",
        )),
        _ => open_redis(config, url, purpose).await,
    }
}

fn absent(place: impl fmt::Display) -> Failure {
    Failure::config(format!(
        "there is no vault at {place}: run `dsm-server init`, or `dsm-server quickstart` to try it"
    ))
}

#[allow(dead_code, reason = "with every store there is nothing missing")]
fn missing(feature: &str) -> Failure {
    Failure::config(format!(
        "this program was built without the store of such a URL; it takes the feature \
         `{feature}`: cargo build --release -p dsm-server --features {feature}"
    ))
}

#[cfg(feature = "postgres")]
async fn open_postgres(
    config: &Config,
    url: &StoreUrl,
    purpose: Purpose,
) -> Result<Opened, Failure> {
    use dsm_store_postgres::{PostgresOptions, PostgresStore};

    let options: PostgresOptions = url
        .expose()
        .parse()
        .map_err(|error: StoreError| Failure::config_error(&error))?;
    let options = options
        .accept_data_loss(config.accept_data_loss)
        .schema(purpose.schema());
    let opened = PostgresStore::open(options).await;
    Ok(opened.map(|store| Arc::new(store) as _))
}

#[cfg(not(feature = "postgres"))]
#[allow(clippy::unused_async, reason = "as the other one")]
async fn open_postgres(_: &Config, _: &StoreUrl, _: Purpose) -> Result<Opened, Failure> {
    Err(missing("postgres"))
}

#[cfg(feature = "redis")]
async fn open_redis(config: &Config, url: &StoreUrl, purpose: Purpose) -> Result<Opened, Failure> {
    use dsm_store_redis::{RedisOptions, RedisStore};

    let options =
        RedisOptions::parse(url.expose()).map_err(|error| Failure::config_error(&error))?;
    let options = options
        .accept_data_loss(config.accept_data_loss)
        .schema(purpose.schema());
    let opened = RedisStore::open(options).await;
    Ok(opened.map(|store| Arc::new(store) as _))
}

#[cfg(not(feature = "redis"))]
#[allow(clippy::unused_async, reason = "as the other one")]
async fn open_redis(_: &Config, _: &StoreUrl, _: Purpose) -> Result<Opened, Failure> {
    Err(missing("redis"))
}

#[cfg(feature = "sqlite")]
async fn open_sqlite(path: &Path, purpose: Purpose) -> Result<Opened, Failure> {
    use dsm_store_sqlite::{OpenOptions, SqliteStore};

    if purpose != Purpose::Create && path.symlink_metadata().is_err() {
        return Err(absent(path.display()));
    }
    let options = OpenOptions::new(path)
        .schema(purpose.schema())
        .serve(purpose != Purpose::Beside)
        .create(purpose == Purpose::Create);
    let opened = SqliteStore::open(options).await;
    Ok(opened.map(|store| Arc::new(store) as _))
}

#[cfg(not(feature = "sqlite"))]
#[allow(clippy::unused_async, reason = "as the other one")]
async fn open_sqlite(_: &Path, _: Purpose) -> Result<Opened, Failure> {
    Err(missing("sqlite"))
}

/// The file that `url` names.
fn sqlite_path(url: &StoreUrl) -> Result<PathBuf, Failure> {
    let text = url.expose();
    let path = text.strip_prefix("sqlite:").unwrap_or(text);
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() {
        return Err(Failure::config("store must name a file: sqlite:PATH"));
    }
    Ok(path.into())
}

/// Whether it is certain, without opening it, that the store is not there yet.
pub(super) fn is_absent(url: &StoreUrl) -> Result<bool, Failure> {
    match url.scheme() {
        "sqlite" => Ok(sqlite_path(url)?.symlink_metadata().is_err()),
        _ => Ok(false),
    }
}

/// The root keys.
pub(super) fn keys(config: &Config) -> Arc<dyn KeyProvider> {
    match &config.root_key {
        RootKeySource::File(path) => Arc::new(KeyFile::new(path)),
        RootKeySource::Env(name) => Arc::new(EnvironmentKeys::new(name)),
    }
}

/// A builder of the vault in `store`, as configured.
pub(super) fn builder(
    config: &Config,
    store: Arc<dyn Store>,
    keys: Arc<dyn KeyProvider>,
) -> VaultBuilder {
    let options = VaultOptions {
        max_staleness: config.max_staleness,
        token_lifetime: config.token_lifetime,
        retained_versions: NonZeroU32::new(config.retention_versions).unwrap_or(NonZeroU32::MIN),
        auto_register: config.auto_register,
        sealing: config.sealing.clone(),
        rotations_per_target: NonZeroUsize::new(config.rotations_per_target)
            .unwrap_or(NonZeroUsize::MIN),
        leases_per_authorization: NonZeroU32::new(config.leases_per_authorization)
            .unwrap_or(NonZeroU32::MIN),
        ..VaultOptions::default()
    };
    let builder = managing(Vault::builder_dyn(store, keys).options(options));
    match &config.sts_endpoint {
        Some(url) => builder.sts(Arc::new(StsEndpoint::new(url.clone()))),
        None => builder,
    }
}

/// With the systems whose credentials this program can manage.
#[cfg(feature = "providers")]
fn managing(builder: VaultBuilder) -> VaultBuilder {
    let providers = dsm_providers::all();
    let found = providers
        .names()
        .filter_map(|name| Some((name, providers.find(name)?)));
    found.fold(builder, |builder, (name, provider)| {
        builder.provider(name, Arc::clone(provider))
    })
}

/// Built without any.
#[cfg(not(feature = "providers"))]
fn managing(builder: VaultBuilder) -> VaultBuilder {
    builder
}

/// Where the trail of a server is kept.
pub(super) fn audit_place(config: &Config) -> AuditPlace {
    let folder = config.audit_dir.clone();
    match config.audit_before_answer {
        BeforeAnswer::Disk => AuditPlace::Folder(folder),
        BeforeAnswer::Store => AuditPlace::StoreThenFolder(folder),
    }
}

/// Opens the vault beside a server, with a trail of its own in the store's log, since the folder
/// has one writer.
pub(super) async fn open_beside(config: &Config) -> Result<Vault, Failure> {
    let store = open_store(config, &config.store, Purpose::Beside).await?;
    let builder = builder(config, Arc::clone(&store), keys(config)).audit(AuditPlace::Store);
    match builder.open().await {
        Ok(vault) => Ok(vault),
        Err(error) => {
            store.close().await;
            Err(error.into())
        }
    }
}

/// Who acts when a command does.
pub(super) fn command_line() -> Caller {
    Caller::embedded("command line")
}
