//! Somewhere to keep a vault, in each kind of store.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use dsm_test_servers::postgres::{Database, Postgres};
use dsm_test_servers::redis::Redis;
use tempfile::TempDir;

use crate::server::{QUICKSTART, Server, command};

/// The kinds of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Gone with the server.
    Memory,
    /// A file in the place.
    Sqlite,
    /// A database of one server for the whole test program.
    Postgres,
    /// A prefix of one server for the whole test program.
    Redis,
}

impl Backend {
    /// Those that outlive a server.
    pub const LASTING: [Self; 3] = [Self::Sqlite, Self::Postgres, Self::Redis];

    /// Whether a place can be made in it. When it cannot one line says what to install, and under
    /// CI that is a failure.
    ///
    /// # Panics
    ///
    /// Under CI, when its programs are missing.
    pub fn is_there(self) -> bool {
        dsm_test_servers::is_there(match self {
            Self::Memory | Self::Sqlite => Ok(()),
            Self::Postgres => Postgres::available(),
            Self::Redis => Redis::available(),
        })
    }
}

impl From<&str> for Backend {
    /// The kind of store that a module of tests is named after.
    fn from(name: &str) -> Self {
        match name {
            "memory" => Self::Memory,
            "sqlite" => Self::Sqlite,
            "postgres" => Self::Postgres,
            "redis" => Self::Redis,
            _ => panic!("no kind of store is called {name}"),
        }
    }
}

/// A vault's place: a folder with the root key and the servers' own data, and a store that was
/// empty. Nothing of it is left when it is dropped.
#[derive(Debug)]
pub struct Place {
    // Stopped before what is below goes.
    folder: TempDir,
    backend: Backend,
    store: String,
    database: Option<Database>,
}

impl Place {
    /// A place of its own in a kind of store that [is there](Backend::is_there).
    pub fn new(backend: Backend) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut database = None;
        let store = match backend {
            Backend::Memory => "memory:".to_owned(),
            Backend::Sqlite => format!("sqlite:{}", folder.path().join("vault.db").display()),
            Backend::Postgres => {
                let made = postgres().database().expect("a new database");
                let url = made.url().to_owned();
                database = Some(made);
                url
            }
            Backend::Redis => redis().fresh_url(),
        };
        Self {
            folder,
            backend,
            store,
            database,
        }
    }

    /// A place in the store of `url`.
    pub fn at(backend: Backend, url: impl Into<String>) -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            backend,
            store: url.into(),
            database: None,
        }
    }

    /// A place in another kind of store, with this one's root key.
    pub fn beside(&self, backend: Backend) -> Self {
        let other = Self::new(backend);
        std::fs::copy(self.key(), other.key()).expect("a key file");
        other
    }

    /// The kind of store.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Its URL.
    pub fn store(&self) -> &str {
        &self.store
    }

    /// Where the server of the store listens.
    ///
    /// # Panics
    ///
    /// When the store has no server.
    pub fn address(&self) -> SocketAddr {
        let (_, rest) = self.store.split_once("://").expect("a URL with a host");
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let mut addresses = host.to_socket_addrs().expect("a host and a port");
        addresses.next().expect("an address")
    }

    /// The database of its own that it is, in Postgres.
    pub fn database(&self) -> Option<&Database> {
        self.database.as_ref()
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The file of the root keys, which all its servers share.
    pub fn key(&self) -> PathBuf {
        self.path().join("root.key")
    }

    /// Starts a server, which makes the vault if it is not there.
    pub fn server(&self) -> io::Result<Server> {
        self.server_with(&[])
    }

    /// As [`server`](Self::server) with further arguments.
    pub fn server_with(&self, further: &[&str]) -> io::Result<Server> {
        self.server_named("first", &self.store, further)
    }

    /// Starts one of several servers: with data of its own, and a URL of its own by which it gets at
    /// the store.
    pub fn server_named(&self, name: &str, url: &str, further: &[&str]) -> io::Result<Server> {
        let mut command = self.command_named(name, url, &QUICKSTART);
        command.args(further);
        Server::start(command)
    }

    /// A command beside the server, or without it.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command_named("first", &self.store, arguments);
        command.output().expect("the program runs")
    }

    /// As [`run`](Self::run); what it printed.
    ///
    /// # Panics
    ///
    /// When it does not succeed.
    pub fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(
            output.status.success(),
            "{arguments:?}: {} {out} {err}",
            output.status
        );
        out
    }

    /// A command of the server called `name`.
    pub fn command_named(&self, name: &str, url: &str, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command
            .current_dir(self.path())
            .env("DSM_DATA_DIR", self.path().join(name))
            .env("DSM_ROOT_KEY", format!("file:{}", self.key().display()))
            // Not a flag: it has a password.
            .env("DSM_STORE", url);
        command
    }
}

/// The Postgres of this test program, which ends with it.
pub fn postgres() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(|| Postgres::start().expect("Postgres starts"))
}

/// The Redis of this test program, which ends with it.
pub fn redis() -> &'static Redis {
    static SERVER: OnceLock<Redis> = OnceLock::new();
    SERVER.get_or_init(|| Redis::start().expect("Redis starts"))
}

/// A URL with another host and port in it.
pub fn through(url: &str, hosts: &str) -> String {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((user, _)) => format!("{scheme}://{user}@{hosts}{tail}"),
        None => format!("{scheme}://{hosts}{tail}"),
    }
}

/// Runs a test in a place of the kind of store that `name` stands for, where there is one.
pub async fn on(name: &str, test: impl AsyncFnOnce(Place)) {
    let backend = Backend::from(name);
    if backend.is_there() {
        test(Place::new(backend)).await;
    }
}

/// Stamps tests, functions of a [`Place`], for kinds of store: `stamp!([sqlite, redis]
/// [a_secret_stays])` makes the tests `sqlite::a_secret_stays` and `redis::a_secret_stays`.
#[macro_export]
macro_rules! stamp {
    ([$($backend:ident),+ $(,)?] $tests:tt) => {
        $($crate::stamp!(@one $backend $tests);)+
    };
    (@one $backend:ident [$($test:ident),+ $(,)?]) => {
        mod $backend {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    $crate::place::on(stringify!($backend), super::$test).await;
                }
            )+
        }
    };
}
