//! The configuration: a TOML file, then `DSM_*` variables, then flags, merged into one value.
//!
//! Every key has one name, from which its variable and flag follow: `audit.dir` is `DSM_AUDIT_DIR`.
//! Whatever is wrong is reported together, each with the place it was read from.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use dsm_core::vault::SealingOptions;
use ipnet::IpNet;
use toml::{Table, Value};

use crate::config::settings::Settings;
use crate::http::accept::ConnectionLimits;
use crate::http::client_ip::{ForwardedHeader, Forwarding};
use crate::http::router::RequestLimits;
use crate::http::tls::TlsFiles;
use crate::log::{Level, LogFormat};
use crate::sts::StsUrl;
use crate::throttle::ThrottleLimits;

pub use crate::config::flags::Flags;
pub use crate::config::settings::{ConfigError, ConfigErrors, Place};
pub use crate::config::store_url::StoreUrl;

mod flags;
mod settings;
mod store_url;
mod tls;

/// Where the root key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootKeySource {
    /// A file that only its owner may read.
    File(PathBuf),
    /// An environment variable, by name.
    Env(String),
}

impl fmt::Display for RootKeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Env(name) => write!(f, "env:{name}"),
        }
    }
}

impl FromStr for RootKeySource {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.to_owned())),
            // The text is not repeated: it may be the key itself.
            _ => Err("must be file:PATH or env:NAME"),
        }
    }
}

/// Which copy of the audit trail has to be durable before a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeforeAnswer {
    /// The segments on this server's own disk.
    Disk,
    /// The store's log, where disks are ephemeral.
    Store,
}

impl BeforeAnswer {
    fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Store => "store",
        }
    }
}

impl FromStr for BeforeAnswer {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "disk" => Ok(Self::Disk),
            "store" => Ok(Self::Store),
            _ => Err("must be disk or store"),
        }
    }
}

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// Whether plain HTTP may be served off loopback, because something else ends TLS.
    pub allow_plain_http: bool,
    /// The files for TLS; plain HTTP without.
    pub tls: Option<TlsFiles>,
    /// Where the server keeps what is its own.
    pub data_dir: PathBuf,
    /// The store.
    pub store: StoreUrl,
    /// For how long a store that cannot be reached is waited for at the start.
    pub store_wait: Duration,
    /// Whether a database is used that may lose what it has acknowledged.
    pub accept_data_loss: bool,
    /// The source of the root key.
    pub root_key: RootKeySource,
    /// Which audit sink is awaited.
    pub audit_before_answer: BeforeAnswer,
    /// Where the audit segments are.
    pub audit_dir: PathBuf,
    /// The proxies that may name their client.
    pub trusted_proxies: Vec<IpNet>,
    /// The header they name it in.
    pub forwarded_header: ForwardedHeader,
    /// The longest that this server may act on what another server has changed.
    pub max_staleness: Duration,
    /// How long an access token of `/iso` is good for.
    pub token_lifetime: Duration,
    /// How many versions of a secret are kept.
    pub retention_versions: u32,
    /// How many rotations this server works on at the same time on one target.
    pub rotations_per_target: usize,
    /// How many accounts that live for a while an authorization has at most at a time.
    pub leases_per_authorization: u32,
    /// Whether unknown systems and environments are registered by the calls that name them.
    pub auto_register: bool,
    /// How sensitive values are sealed to the keys of authorizations.
    pub sealing: SealingOptions,
    /// Who is asked about clients that AWS vouches for; without it they are refused.
    pub sts_endpoint: Option<StsUrl>,
    /// Bounds on connections.
    pub connections: ConnectionLimits,
    /// Bounds on requests.
    pub requests: RequestLimits,
    /// How often checks of credentials may fail.
    pub throttle: ThrottleLimits,
    /// How logs are written.
    pub log_format: LogFormat,
    /// Which logs are written.
    pub log_level: Level,
    /// How long running requests may take when the server stops.
    pub drain_grace: Duration,
    /// Variables named `DSM_…` that are no key: a typing error, or meant for another program.
    pub ignored_variables: Vec<String>,
}

/// The address when none is configured.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8200);

const MIB: u64 = 1_024 * 1_024;

impl Config {
    /// Merges the file that `flags` or `DSM_CONFIG` name, the `variables` and the `flags`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, at once. No error repeats a value.
    pub fn load(
        flags: &Flags,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let mut given = Settings::default();
        let variables: Vec<(String, String)> = variables.into_iter().collect();
        let file = flags.config.clone().or_else(|| {
            let named = variables.iter().find(|(name, _)| name == "DSM_CONFIG");
            named.map(|(_, path)| PathBuf::from(path))
        });
        if let Some(file) = file {
            given.add_file(&file);
        }
        let ignored_variables = given.add_variables(&variables);
        flags.add_to(&mut given);
        let config = Self::read(&mut given, ignored_variables);
        given.finish().map(|()| config)
    }

    fn read(given: &mut Settings, ignored_variables: Vec<String>) -> Self {
        let data_dir = given.parsed("data_dir", PathBuf::from("./dsm-data"));
        let default_store = StoreUrl::sqlite(&data_dir.join("vault.db"));
        let default_key = RootKeySource::File(data_dir.join("root.key"));
        let connections = ConnectionLimits::default();
        let requests = RequestLimits::default();
        let sealing = SealingOptions::default();
        let throttle = ThrottleLimits::default();
        let config = Self {
            listen: given.parsed("listen", DEFAULT_LISTEN),
            allow_plain_http: given.boolean("allow_plain_http", false),
            tls: tls::read(given),
            store: given.parsed("store", default_store),
            store_wait: given.seconds("store_wait_s", 30, 0..=3_600),
            accept_data_loss: given.boolean("accept_data_loss", false),
            root_key: given.parsed("root_key", default_key),
            audit_before_answer: given.parsed("audit.before_answer", BeforeAnswer::Disk),
            audit_dir: given.parsed("audit.dir", data_dir.join("audit")),
            trusted_proxies: given.networks("trusted_proxies"),
            forwarded_header: given.parsed("forwarded_header", ForwardedHeader::XForwardedFor),
            max_staleness: Duration::from_millis(given.number(
                "max_staleness_ms",
                1_000,
                0..=60_000,
            )),
            token_lifetime: given.seconds("token_lifetime_s", 3_600, 1..=86_400),
            retention_versions: given.number("retention.versions", 100, 1..=100_000),
            rotations_per_target: given.number("renewal.per_target", 4, 1..=1_000),
            leases_per_authorization: given.number("leases.per_authorization", 100, 1..=100_000),
            auto_register: given.boolean("auto_register", false),
            sealing: SealingOptions {
                key_values: given.boolean("sealing.key_values", sealing.key_values),
                keep_private_keys: given
                    .boolean("sealing.keep_private_keys", sealing.keep_private_keys),
                threads: given.number("sealing.threads", sealing.threads, 1..=256),
                cache_bytes: MIB
                    * given.number("sealing.cache_mib", sealing.cache_bytes / MIB, 0..=65_536),
            },
            sts_endpoint: given.optional("aws.sts_endpoint"),
            connections: ConnectionLimits {
                connections: given.number(
                    "limits.connections",
                    connections.connections,
                    1..=1_000_000,
                ),
                head: given.seconds("limits.head_s", connections.head.as_secs(), 1..=600),
                idle: given.seconds("limits.idle_s", connections.idle.as_secs(), 1..=86_400),
                write: given.seconds("limits.write_s", connections.write.as_secs(), 1..=600),
                header_bytes: given.number(
                    "limits.header_bytes",
                    connections.header_bytes,
                    8 * 1_024..=1_024 * 1_024,
                ),
            },
            requests: RequestLimits {
                body: given.number(
                    "limits.body_bytes",
                    requests.body,
                    1_024..=16 * 1_024 * 1_024,
                ),
                time: given.seconds("limits.request_s", requests.time.as_secs(), 1..=600),
            },
            throttle: ThrottleLimits {
                address: given.number(
                    "throttle.address_per_minute",
                    throttle.address,
                    0..=1_000_000,
                ),
                client: given.number("throttle.client_per_minute", throttle.client, 0..=1_000_000),
            },
            log_format: given.parsed("log.format", LogFormat::Text),
            log_level: given.parsed("log.level", Level::default()),
            drain_grace: given.seconds("drain_grace_s", 25, 0..=3_600),
            data_dir,
            ignored_variables,
        };
        let plain = config.tls.is_none() && !given.has("tls.certificate");
        if plain && !config.allow_plain_http && !config.listen.ip().to_canonical().is_loopback() {
            given.refuse(
                "listen",
                "is not a loopback address: give tls.certificate and tls.key, or, behind something \
                 that ends TLS, allow_plain_http",
            );
        }
        config
    }

    /// What the accept loop takes for forwarded.
    pub fn forwarding(&self) -> Forwarding {
        Forwarding::new(self.trusted_proxies.iter().copied(), self.forwarded_header)
    }

    /// The configuration as a TOML file with the same effect, but for the secrets in the store's
    /// URL, which are masked.
    pub fn to_toml(&self) -> String {
        let seconds = |time: Duration| integer(time.as_secs());
        let path = |path: &Path| Value::from(path.display().to_string());
        let mut toml = Table::new();
        let mut set = |key: &str, value: Value| {
            let table = match key.split_once('.') {
                None => &mut toml,
                Some((section, _)) => toml
                    .entry(section)
                    .or_insert_with(|| Value::Table(Table::new()))
                    .as_table_mut()
                    .expect("a section is a table, as made above"),
            };
            let name = key.rsplit('.').next().unwrap_or(key);
            table.insert(name.to_owned(), value);
        };
        let proxies = self.trusted_proxies.iter();
        let proxies: Vec<Value> = proxies.map(|net| Value::from(net.to_string())).collect();
        set("listen", self.listen.to_string().into());
        set("allow_plain_http", self.allow_plain_http.into());
        if let Some(files) = &self.tls {
            for (key, value) in tls::settings(files) {
                set(key, value.into());
            }
        }
        set("data_dir", path(&self.data_dir));
        set("store", self.store.to_string().into());
        set("store_wait_s", seconds(self.store_wait));
        set("accept_data_loss", self.accept_data_loss.into());
        set("root_key", self.root_key.to_string().into());
        set(
            "audit.before_answer",
            self.audit_before_answer.name().into(),
        );
        set("audit.dir", path(&self.audit_dir));
        set("trusted_proxies", proxies.into());
        set("forwarded_header", self.forwarded_header.to_string().into());
        set("max_staleness_ms", integer(self.max_staleness.as_millis()));
        set("token_lifetime_s", seconds(self.token_lifetime));
        set("retention.versions", integer(self.retention_versions));
        set("renewal.per_target", integer(self.rotations_per_target));
        set(
            "leases.per_authorization",
            integer(self.leases_per_authorization),
        );
        set("auto_register", self.auto_register.into());
        set("sealing.key_values", self.sealing.key_values.into());
        set(
            "sealing.keep_private_keys",
            self.sealing.keep_private_keys.into(),
        );
        set("sealing.threads", integer(self.sealing.threads));
        set("sealing.cache_mib", integer(self.sealing.cache_bytes / MIB));
        let endpoint = self.sts_endpoint.as_ref().map(ToString::to_string);
        set("aws.sts_endpoint", endpoint.unwrap_or_default().into());
        set("limits.connections", integer(self.connections.connections));
        set("limits.head_s", seconds(self.connections.head));
        set("limits.idle_s", seconds(self.connections.idle));
        set("limits.write_s", seconds(self.connections.write));
        set(
            "limits.header_bytes",
            integer(self.connections.header_bytes),
        );
        set("limits.body_bytes", integer(self.requests.body));
        set("limits.request_s", seconds(self.requests.time));
        set(
            "throttle.address_per_minute",
            integer(self.throttle.address),
        );
        set("throttle.client_per_minute", integer(self.throttle.client));
        set("log.format", self.log_format.to_string().into());
        set("log.level", self.log_level.to_string().into());
        set("drain_grace_s", seconds(self.drain_grace));
        toml.to_string()
    }
}

/// A number of the configuration, whose ranges all lie within TOML's.
fn integer<N: TryInto<i64>>(number: N) -> Value {
    Value::from(number.try_into().unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
