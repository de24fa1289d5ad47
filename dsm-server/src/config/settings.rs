//! Settings as they were given, each with its place, before they become a configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use toml::{Table, Value};

/// Every key there is. Its variable is `DSM_` and the key in capitals, dots as underscores.
pub(super) const KEYS: [&str; 38] = [
    "accept_data_loss",
    "allow_plain_http",
    "audit.before_answer",
    "audit.dir",
    "auto_register",
    "aws.sts_endpoint",
    "data_dir",
    "drain_grace_s",
    "forwarded_header",
    "leases.per_authorization",
    "limits.body_bytes",
    "limits.connections",
    "limits.head_s",
    "limits.header_bytes",
    "limits.idle_s",
    "limits.request_s",
    "limits.write_s",
    "listen",
    "log.format",
    "log.level",
    "max_staleness_ms",
    "renewal.per_target",
    "retention.versions",
    "root_key",
    "sealing.cache_mib",
    "sealing.keep_private_keys",
    "sealing.key_values",
    "sealing.threads",
    "store",
    "store_wait_s",
    "throttle.address_per_minute",
    "throttle.client_per_minute",
    "tls.certificate",
    "tls.client_ca",
    "tls.client_certificates",
    "tls.key",
    "token_lifetime_s",
    "trusted_proxies",
];

/// Where a setting was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A key of the file.
    File {
        /// The file.
        path: PathBuf,
        /// The key, dotted; empty for the file as a whole.
        key: String,
    },
    /// A variable of the environment.
    Variable(String),
    /// A flag of the command line.
    Flag(String),
    /// Nowhere: the default of the key.
    Default(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, key } if key.is_empty() => write!(f, "{}", path.display()),
            Self::File { path, key } => write!(f, "{}: {key}", path.display()),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
            Self::Default(key) => write!(f, "{key} (default)"),
        }
    }
}

/// One wrong setting. Never repeats its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place} {message}")]
pub struct ConfigError {
    /// Where it was read.
    pub place: Place,
    /// What is wrong with it.
    pub message: String,
}

/// Everything that is wrong with a configuration, in the order it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// What was given so far; later places replace earlier ones.
#[derive(Default)]
pub(super) struct Settings {
    given: BTreeMap<&'static str, (Value, Place)>,
    errors: Vec<ConfigError>,
}

impl Settings {
    /// Adds what the file at `path` sets.
    pub(super) fn add_file(&mut self, path: &Path) {
        let place = |key: String| Place::File {
            path: path.to_owned(),
            key,
        };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                return self.refuse_place(place(String::new()), format!("cannot be read: {error}"));
            }
        };
        let table: Table = match text.parse() {
            Ok(table) => table,
            Err(error) => {
                // The error's own text would show the line, which may hold a password.
                let error: toml::de::Error = error;
                let before = text.get(..error.span().map_or(0, |span| span.start));
                let line = before.unwrap_or_default().matches('\n').count() + 1;
                return self
                    .refuse_place(place(String::new()), format!("is no TOML at line {line}"));
            }
        };
        for (key, value) in flatten(table) {
            self.add(&key, value, place(key.clone()));
        }
    }

    /// Adds what the `DSM_*` variables set; returns those that set nothing.
    pub(super) fn add_variables(&mut self, variables: &[(String, String)]) -> Vec<String> {
        let mut ignored = Vec::new();
        for (name, value) in variables {
            let Some(suffix) = name.strip_prefix("DSM_") else {
                continue;
            };
            let key = KEYS
                .into_iter()
                .find(|key| key.replace('.', "_").to_ascii_uppercase() == suffix);
            match key {
                Some(key) => self.add_named(key, value, Place::Variable(name.clone())),
                // Those of the command line.
                None if ["CONFIG", "MIGRATE_FROM", "MIGRATE_TO"].contains(&suffix) => {}
                None => ignored.push(name.clone()),
            }
        }
        ignored.sort();
        ignored
    }

    /// Adds the setting `key` from a place that has only text.
    pub(super) fn add_named(&mut self, key: &str, text: &str, place: Place) {
        self.add(key, Value::from(text), place);
    }

    fn add(&mut self, key: &str, value: Value, place: Place) {
        match KEYS.into_iter().find(|known| *known == key) {
            Some(known) => {
                self.given.insert(known, (value, place));
            }
            None => self.refuse_place(place, "is not a known key"),
        }
    }

    pub(super) fn refuse_place(&mut self, place: Place, message: impl Into<String>) {
        self.errors.push(ConfigError {
            place,
            message: message.into(),
        });
    }

    /// Refuses the setting of `key`, wherever it came from.
    pub(super) fn refuse(&mut self, key: &'static str, message: &str) {
        let place = match self.given.get(key) {
            Some((_, place)) => place.clone(),
            None => Place::Default(key),
        };
        self.refuse_place(place, message);
    }

    pub(super) fn finish(&mut self) -> Result<(), ConfigErrors> {
        if self.errors.is_empty() {
            return Ok(());
        }
        Err(ConfigErrors(std::mem::take(&mut self.errors)))
    }

    /// The setting by `read`, or `default` when it is not given or, which is reported, wrong.
    fn take<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> T {
        debug_assert!(KEYS.contains(&key), "{key} can be set nowhere");
        let Some((value, place)) = self.given.get(key) else {
            return default;
        };
        match read(value) {
            Ok(value) => value,
            Err(message) => {
                let place = place.clone();
                self.refuse_place(place, message);
                default
            }
        }
    }

    /// Whether the setting is given, right or wrong.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.given.contains_key(key)
    }

    /// A setting that is a text.
    pub(super) fn parsed<T: FromStr<Err: fmt::Display>>(
        &mut self,
        key: &'static str,
        default: T,
    ) -> T {
        self.take(key, default, |value| match value.as_str() {
            Some("") => Err("must not be empty".into()),
            Some(text) => text.parse().map_err(|error: T::Err| error.to_string()),
            None => Err("must be a text".into()),
        })
    }

    /// A setting that is a text; none when it is not given or empty.
    pub(super) fn optional<T: FromStr<Err: fmt::Display>>(
        &mut self,
        key: &'static str,
    ) -> Option<T> {
        self.take(key, None, |value| match value.as_str() {
            Some("") => Ok(None),
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|error: T::Err| error.to_string()),
            None => Err("must be a text".into()),
        })
    }

    pub(super) fn boolean(&mut self, key: &'static str, default: bool) -> bool {
        self.take(key, default, |value| match value {
            Value::Boolean(flag) => Ok(*flag),
            Value::String(text) if text == "true" || text == "1" => Ok(true),
            Value::String(text) if text == "false" || text == "0" => Ok(false),
            _ => Err("must be true or false".into()),
        })
    }

    pub(super) fn number<N>(&mut self, key: &'static str, default: N, range: RangeInclusive<N>) -> N
    where
        N: TryFrom<i64> + PartialOrd + fmt::Display,
    {
        self.take(key, default, |value| {
            let number = match value {
                Value::Integer(number) => Some(*number),
                Value::String(text) => text.trim().parse().ok(),
                _ => None,
            };
            number
                .and_then(|number| N::try_from(number).ok())
                .filter(|number| range.contains(number))
                .ok_or_else(|| {
                    let (least, most) = (range.start(), range.end());
                    format!("must be a whole number from {least} to {most}")
                })
        })
    }

    pub(super) fn seconds(
        &mut self,
        key: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Duration {
        Duration::from_secs(self.number(key, default, range))
    }

    /// A list of networks, where an address alone is a network of one.
    pub(super) fn networks(&mut self, key: &'static str) -> Vec<IpNet> {
        self.take(key, Vec::new(), |value| {
            let items: Option<Vec<&str>> = match value {
                Value::Array(items) => items.iter().map(Value::as_str).collect(),
                Value::String(text) => Some(text.split(',').collect()),
                _ => None,
            };
            let networks = items.and_then(|items| {
                let items = items.into_iter().map(str::trim);
                items.filter(|item| !item.is_empty()).map(network).collect()
            });
            networks.ok_or_else(|| "must be a list of addresses or networks (CIDR)".into())
        })
    }
}

fn network(text: &str) -> Option<IpNet> {
    match text.parse::<std::net::IpAddr>() {
        Ok(address) => Some(address.into()),
        Err(_) => text.parse().ok(),
    }
}

/// The leaves of a table by dotted key.
fn flatten(table: Table) -> Vec<(String, Value)> {
    let mut leaves = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) => {
                let inner = flatten(inner).into_iter();
                leaves.extend(inner.map(|(name, value)| (format!("{key}.{name}"), value)));
            }
            value => leaves.push((key, value)),
        }
    }
    leaves
}
