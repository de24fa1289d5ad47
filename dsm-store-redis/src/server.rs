//! What a server says of itself.

use dsm_core::store::StoreError;
use redis::{RedisError, cmd};

use crate::fault::Unsafe;
use crate::target::Live;

/// The oldest Redis that knows scripts with flags.
const REDIS: u32 = 7;

/// A part of the answer to `INFO`.
#[derive(Debug)]
pub(crate) struct Server {
    version: String,
    is_cluster: bool,
    pub(crate) is_replica: bool,
    /// What Redis calls this run of it: it differs between servers, and after a restart.
    pub(crate) run: String,
}

impl Server {
    pub(crate) async fn ask(live: &mut Live) -> Result<Self, RedisError> {
        let info: String = cmd("INFO").query_async(&mut live.connection).await?;
        let field = |name: &str| {
            info.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .unwrap_or_default()
        };
        Ok(Self {
            version: field("redis_version").to_owned(),
            is_cluster: field("cluster_enabled") == "1",
            is_replica: field("role") == "slave",
            run: field("run_id").to_owned(),
        })
    }

    /// Refuses a Redis that is too old or a cluster.
    pub(crate) fn check(&self, name: &str) -> Result<(), StoreError> {
        let version = &self.version;
        let major = version.split('.').next().and_then(|part| part.parse().ok());
        if major.is_none_or(|major: u32| major < REDIS) {
            return Err(StoreError::backend(Unsafe(format!(
                "{name} is version {version:?}: version {REDIS} or newer is needed"
            ))));
        }
        if self.is_cluster {
            return Err(StoreError::backend(Unsafe(format!(
                "{name} is a cluster: use one server, with replicas and Sentinel if it must not fail"
            ))));
        }
        Ok(())
    }
}
