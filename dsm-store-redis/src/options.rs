use std::fmt;
use std::path::PathBuf;

use dsm_core::store::SchemaChanges;
use percent_encoding::percent_decode_str;

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
const MAX_PREFIX: usize = 64;

/// Which Redis, and how a [`RedisStore`](crate::RedisStore) uses it.
#[derive(Clone)]
pub struct RedisOptions {
    pub(crate) place: Place,
    pub(crate) tls: Option<Tls>,
    pub(crate) login: Login,
    pub(crate) sentinel_login: Login,
    pub(crate) database: u16,
    pub(crate) prefix: String,
    pub(crate) min_replicas: u32,
    pub(crate) accept_data_loss: bool,
    pub(crate) schema: SchemaChanges,
}

/// Where the master is, or who knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Server(Address),
    Sentinels { nodes: Vec<Address>, master: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Files of TLS, in PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) ca: Option<PathBuf>,
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
}

#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self {
                user: None,
                password: None,
            } => "none",
            _ => "redacted",
        })
    }
}

/// Why a URL was refused. The message does not repeat the URL, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the URL of Redis is wrong: {0}")]
pub struct InvalidUrl(String);

impl InvalidUrl {
    fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl RedisOptions {
    /// Reads a URL of one of the forms
    ///
    /// ```text
    /// redis://[[user]:password@]host[:6379][/database][?parameters]
    /// rediss://…                                            the same over TLS
    /// redis+sentinel://[[user]:password@]host[:26379],host[:26379]…/master-name[/database][?parameters]
    /// rediss+sentinel://…                                   TLS to Sentinel and to Redis
    /// ```
    ///
    /// User and password are those of Redis. What is special in a URL is percent-encoded. The
    /// parameters are
    ///
    /// | name | meaning | default |
    /// |---|---|---|
    /// | `prefix` | what the keys begin with, in braces; letters, digits and `-_.:` | `dsm` |
    /// | `min_replicas` | how many replicas must have received a write before it is acknowledged | 0 |
    /// | `ca` | file of the certificates trusted for TLS | the system's |
    /// | `cert`, `key` | files of the client certificate and its key | none |
    /// | `sentinel_user`, `sentinel_password` | for Sentinel | none |
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`] tells which part is wrong.
    pub fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| InvalidUrl::new("it has no scheme"))?;
        let (tls, sentinel) = match scheme {
            "redis" => (false, false),
            "rediss" => (true, false),
            "redis+sentinel" => (false, true),
            "rediss+sentinel" => (true, true),
            _ => {
                return Err(InvalidUrl::new(
                    "its scheme is none of redis, rediss, redis+sentinel, rediss+sentinel",
                ));
            }
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (parse_login(login)?, hosts),
            None => (Login::default(), authority),
        };
        let (place, database) = if sentinel {
            let nodes = hosts
                .split(',')
                .map(|host| parse_address(host, SENTINEL_PORT));
            let (master, database) = path.split_once('/').unwrap_or((path, ""));
            if master.is_empty() {
                return Err(InvalidUrl::new("the name of the master is missing"));
            }
            let place = Place::Sentinels {
                nodes: nodes.collect::<Result<_, _>>()?,
                master: decode(master)?,
            };
            (place, database)
        } else {
            (Place::Server(parse_address(hosts, PORT)?), path)
        };
        let mut options = Self {
            place,
            tls: tls.then(Tls::default),
            login,
            sentinel_login: Login::default(),
            database: parse_database(database)?,
            prefix: "dsm".into(),
            min_replicas: 0,
            accept_data_loss: false,
            schema: SchemaChanges::default(),
        };
        options.parse_query(query)?;
        Ok(options)
    }

    fn parse_query(&mut self, query: &str) -> Result<(), InvalidUrl> {
        let (mut certificate, mut key) = (None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value)?;
            match name {
                "prefix" => self.prefix = check_prefix(value)?,
                "min_replicas" => {
                    self.min_replicas = value
                        .parse()
                        .map_err(|_| InvalidUrl::new("min_replicas is not a number"))?;
                }
                "ca" => self.tls()?.ca = Some(value.into()),
                "cert" => certificate = Some(PathBuf::from(value)),
                "key" => key = Some(PathBuf::from(value)),
                "sentinel_user" => self.sentinel_login.user = Some(value),
                "sentinel_password" => self.sentinel_login.password = Some(value),
                _ => return Err(InvalidUrl::new("it has an unknown parameter")),
            }
        }
        match (certificate, key) {
            (None, None) => Ok(()),
            (Some(certificate), Some(key)) => {
                self.tls()?.certificate = Some((certificate, key));
                Ok(())
            }
            _ => Err(InvalidUrl::new("of cert and key one is missing")),
        }
    }

    fn tls(&mut self) -> Result<&mut Tls, InvalidUrl> {
        self.tls
            .as_mut()
            .ok_or_else(|| InvalidUrl::new("it has files for TLS and a scheme without TLS"))
    }

    /// Whether to go without asking Redis for the settings by which acknowledged writes survive a
    /// crash. Off by default.
    pub fn accept_data_loss(mut self, accept: bool) -> Self {
        self.accept_data_loss = accept;
        self
    }

    /// What may be done about a schema that is not the one of this program: everything, unless said.
    pub fn schema(mut self, changes: SchemaChanges) -> Self {
        self.schema = changes;
        self
    }

    /// What the messages call it, without user and password.
    pub(crate) fn name(&self) -> String {
        match &self.place {
            Place::Server(address) => format!("Redis at {address}"),
            Place::Sentinels { master, .. } => format!("the Redis that Sentinel knows as {master}"),
        }
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("place", &self.place)
            .field("tls", &self.tls)
            .field("login", &self.login)
            .field("sentinel_login", &self.sentinel_login)
            .field("database", &self.database)
            .field("prefix", &self.prefix)
            .field("min_replicas", &self.min_replicas)
            .field("accept_data_loss", &self.accept_data_loss)
            .field("schema", &self.schema)
            .finish()
    }
}

fn decode(text: &str) -> Result<String, InvalidUrl> {
    let decoded = percent_decode_str(text).decode_utf8();
    Ok(decoded
        .map_err(|_| InvalidUrl::new("a percent-encoded part is not UTF-8"))?
        .into_owned())
}

fn parse_login(text: &str) -> Result<Login, InvalidUrl> {
    let (user, password) = text.split_once(':').ok_or_else(|| {
        InvalidUrl::new("before the @ there is no colon: a password alone is written :password@")
    })?;
    Ok(Login {
        user: Some(decode(user)?).filter(|user| !user.is_empty()),
        password: Some(decode(password)?),
    })
}

fn parse_address(text: &str, default: u16) -> Result<Address, InvalidUrl> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest
                .split_once(']')
                .ok_or_else(|| InvalidUrl::new("an IPv6 address has no closing bracket"))?;
            (host, after.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err(InvalidUrl::new("a host is missing"));
    }
    let port = port.map_or(Ok(default), |port| {
        port.parse()
            .map_err(|_| InvalidUrl::new("a port is not a number up to 65535"))
    })?;
    Ok(Address {
        host: decode(host)?,
        port,
    })
}

fn parse_database(text: &str) -> Result<u16, InvalidUrl> {
    match text {
        "" => Ok(0),
        text => text
            .parse()
            .map_err(|_| InvalidUrl::new("the database is not a number")),
    }
}

fn check_prefix(prefix: String) -> Result<String, InvalidUrl> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if prefix.is_empty() || prefix.len() > MAX_PREFIX || !prefix.chars().all(allowed) {
        return Err(InvalidUrl::new(
            "the prefix is not 1 to 64 letters, digits and -_.:",
        ));
    }
    Ok(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, port: u16) -> Address {
        Address {
            host: host.into(),
            port,
        }
    }

    #[test]
    fn every_form_of_a_url_is_read() {
        let options = RedisOptions::parse("redis://localhost").unwrap();
        assert_eq!(options.place, Place::Server(address("localhost", 6379)));
        assert_eq!((options.database, options.prefix.as_str()), (0, "dsm"));
        assert_eq!(options.tls, None);

        let url = "rediss://app:p%40ss@[::1]:7000/3?prefix=a.b&min_replicas=2&ca=/ca.pem";
        let options = RedisOptions::parse(url).unwrap();
        assert_eq!(options.place, Place::Server(address("::1", 7000)));
        assert_eq!(options.login.user.as_deref(), Some("app"));
        assert_eq!(options.login.password.as_deref(), Some("p@ss"));
        assert_eq!((options.database, options.min_replicas), (3, 2));
        assert_eq!(options.prefix, "a.b");
        assert_eq!(options.tls.unwrap().ca, Some("/ca.pem".into()));

        let url = "redis+sentinel://:secret@one,two:7/primary/1?sentinel_password=other";
        let options = RedisOptions::parse(url).unwrap();
        let nodes = vec![address("one", 26379), address("two", 7)];
        let master = "primary".to_owned();
        assert_eq!(options.place, Place::Sentinels { nodes, master });
        assert_eq!(options.login.user, None);
        assert_eq!(options.sentinel_login.password.as_deref(), Some("other"));
        assert_eq!(options.database, 1);
    }

    #[test]
    fn a_wrong_url_is_refused_without_being_repeated() {
        for url in [
            "hunter2",
            "http://:hunter2@host",
            "redis://hunter2@host",
            "redis://:hunter2@",
            "redis://:hunter2@host:70000",
            "redis://:hunter2@host/x",
            "redis://:hunter2@host?prefix=a%20b",
            "redis://:hunter2@host?ca=/ca.pem",
            "rediss://:hunter2@host?cert=/cert.pem",
            "redis://:hunter2@host?what=1",
            "redis+sentinel://:hunter2@host",
        ] {
            let error = RedisOptions::parse(url).expect_err(url);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let url = "redis+sentinel://app:hunter2@host/name?sentinel_password=hunter3";
        let options = RedisOptions::parse(url).unwrap();
        let shown = format!("{options:?} {}", options.name());
        assert!(!shown.contains("hunter"), "{shown}");
    }
}
