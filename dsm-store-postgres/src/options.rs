use std::fmt;
use std::str::FromStr;

use dsm_core::store::{SchemaChanges, StoreError};
use percent_encoding::percent_decode_str;
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// What every session is opened with. A statement ends before whoever waits for it gives up, and
/// what a lost client left behind ends by itself.
const SESSION: [(&str, &str); 13] = [
    ("statement_timeout", "3500ms"),
    ("lock_timeout", "3000ms"),
    ("idle_in_transaction_session_timeout", "5s"),
    ("default_transaction_isolation", "read committed"),
    ("idle_session_timeout", "0"),
    // Every statement has its index. A plan made while a table was small would be kept too long.
    ("enable_seqscan", "off"),
    ("jit", "off"),
    // Statements are prepared once and take their index whatever they are given; planning one anew
    // costs more than it does.
    ("plan_cache_mode", "force_generic_plan"),
    // Every name of ours has its schema.
    ("search_path", "pg_catalog"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "15s"),
];

/// The parameters of a URL that are understood.
const PARAMETERS: [&str; 15] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

/// How to open a [`PostgresStore`](crate::PostgresStore). Shown without the password.
///
/// It is parsed from a URL, `postgres://user:password@host1:5432,host2:5432/database?sslmode=…`.
/// With several hosts the one that takes writes is found, and found again after a failover; an old
/// primary that comes back is not used once its successor was seen, but what it takes meanwhile is
/// lost: whoever promotes must keep it away. A pooler in between must pass `options` on and keep
/// sessions apart. The usual parameters are understood, `sslmode`, `sslrootcert`, `sslcert`, `sslkey`, `host` (of a
/// Unix socket) and `options` among them; what is not given comes from the `PG…` variables and the
/// password file, as for other programs.
///
/// Use `sslmode=verify-full` wherever the database is not on the same machine. `sslrootcert` adds
/// to the certificates that the system trusts.
#[derive(Clone)]
pub struct PostgresOptions {
    pub(crate) hosts: Vec<PgConnectOptions>,
    pub(crate) max_connections: u32,
    pub(crate) accept_data_loss: bool,
    pub(crate) schema: SchemaChanges,
}

impl PostgresOptions {
    /// How many statements run at the same time, at least 1. Each open store has one connection
    /// more, which listens, and one for each snapshot. Default: 10.
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.max_connections = connections.max(1);
        self
    }

    /// Whether a server may be used that loses acknowledged commits when its power fails. Off by
    /// default.
    pub fn accept_data_loss(mut self, accept: bool) -> Self {
        self.accept_data_loss = accept;
        self
    }

    /// What may be done about a schema that is not the one of this program: everything, unless said.
    pub fn schema(mut self, changes: SchemaChanges) -> Self {
        self.schema = changes;
        self
    }
}

impl FromStr for PostgresOptions {
    type Err = StoreError;

    /// # Errors
    ///
    /// [`StoreError::Backend`] says what is wrong, without repeating the URL.
    fn from_str(url: &str) -> Result<Self, StoreError> {
        let hosts = split_hosts(url)?
            .iter()
            .map(|url| parse_host(url))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            hosts,
            max_connections: 10,
            accept_data_loss: false,
            schema: SchemaChanges::default(),
        })
    }
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> = self.hosts.iter().map(name).collect();
        f.debug_struct("PostgresOptions")
            .field("hosts", &hosts)
            .field("max_connections", &self.max_connections)
            .field("accept_data_loss", &self.accept_data_loss)
            .finish_non_exhaustive()
    }
}

/// The host's name and port, for people.
pub(crate) fn name(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

/// One URL for each host of a URL.
fn split_hosts(url: &str) -> Result<Vec<String>, StoreError> {
    let (scheme, rest) = url
        .split_once("://")
        .filter(|(scheme, _)| matches!(*scheme, "postgres" | "postgresql"))
        .ok_or_else(|| wrong("it does not begin with postgres://"))?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), authority),
    };
    let query = tail.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let key = pair.split('=').next().unwrap_or_default();
        let key = percent_decode_str(key).decode_utf8_lossy();
        if !PARAMETERS.contains(&&*key) && !key.starts_with("options[") {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            // It may be a part of the password that was not encoded.
            if tail.contains('@') || !key.chars().all(plain) {
                return Err(wrong("one of its parameters is not known"));
            }
            return Err(wrong(&format!("its parameter {key} is not known")));
        }
    }
    let hosts = hosts.split(',');
    Ok(hosts
        .map(|host| format!("{scheme}://{user}{host}{tail}"))
        .collect())
}

fn parse_host(url: &str) -> Result<PgConnectOptions, StoreError> {
    // The driver's own error may repeat a part of the URL.
    let options = PgConnectOptions::from_str(url).map_err(|_| {
        wrong(
            "its form is postgres://user:password@host:port/database?sslmode=verify-full, with \
             other than letters and digits of the password percent-encoded",
        )
    })?;
    let options = if options.get_application_name().is_none() {
        options.application_name("dsm")
    } else {
        options
    };
    Ok(options.options(SESSION).disable_statement_logging())
}

fn wrong(what: &str) -> StoreError {
    StoreError::backend(format!("the URL of the database cannot be used: {what}"))
}

/// Whether somebody between here and the host could read or answer in its place.
pub(crate) fn is_exposed(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let local = options.get_socket().is_some()
        || host.starts_with('/')
        || matches!(host, "localhost" | "127.0.0.1" | "::1" | "[::1]");
    !local && !matches!(options.get_ssl_mode(), PgSslMode::VerifyFull)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(url: &str) -> Vec<String> {
        let options: PostgresOptions = url.parse().unwrap();
        options.hosts.iter().map(name).collect()
    }

    #[test]
    fn a_url_names_one_host_or_several() {
        assert_eq!(hosts("postgres://u:p@db1:7/x"), ["db1:7"]);
        let several = "postgresql://u:p%40@db1:7,db2:8,[::1]:9/x?sslmode=verify-full";
        assert_eq!(hosts(several), ["db1:7", "db2:8", "[::1]:9"]);
        let options: PostgresOptions = several.parse().unwrap();
        for host in &options.hosts {
            assert_eq!(host.get_database(), Some("x"));
            assert_eq!(host.get_username(), "u");
            assert!(matches!(host.get_ssl_mode(), PgSslMode::VerifyFull));
        }
    }

    #[test]
    fn the_password_is_never_shown() {
        let options: PostgresOptions = "postgres://u:hunter2@db1,db2/x".parse().unwrap();
        assert!(!format!("{options:?}").contains("hunter2"));
        for url in [
            "postgres://u:hunter2@db1:port/x",
            "postgres://u:hunter2@db1/x?sslmode=hunter2",
            "postgres://u:hunter2@db1/x?passwd=hunter2",
            "mysql://u:hunter2@db1/x",
            "postgres://u:hunter2/@db1/x",
            "postgres://u:abc?hunter2@db1/x",
            "postgres://u:abc?hunter2#@db1/x",
            "postgres://u:abc?hunter2%40db1/x",
            "postgres://u:abc?&hunter2&@db1/x",
        ] {
            let error = url.parse::<PostgresOptions>().unwrap_err();
            assert!(!format!("{error:?} {error}").contains("hunter2"), "{url}");
        }
    }

    #[test]
    fn a_parameter_that_is_not_known_is_named() {
        let error = "postgres://u@db1/x?ssl_mode=require".parse::<PostgresOptions>();
        let StoreError::Backend { source } = error.unwrap_err() else {
            panic!("it is another error");
        };
        assert!(source.to_string().contains("ssl_mode"), "{source}");
    }

    #[test]
    fn only_a_verified_host_or_this_machine_is_not_exposed() {
        for (url, exposed) in [
            ("postgres://u@db1/x", true),
            ("postgres://u@db1/x?sslmode=require", true),
            ("postgres://u@db1/x?sslmode=verify-full", false),
            ("postgres://u@127.0.0.1/x", false),
            ("postgres:///x?host=/run/postgresql&user=u", false),
        ] {
            let options: PostgresOptions = url.parse().unwrap();
            assert_eq!(is_exposed(&options.hosts[0]), exposed, "{url}");
        }
    }
}
