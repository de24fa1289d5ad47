//! Postgres.

use std::env;
use std::fmt;
use std::fs::{self, DirBuilder};
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Names a server that is used instead of a throwaway one, with a role that may create databases.
const EXISTING: &str = "DSM_TEST_POSTGRES_URL";

/// How long a server may take to start or stop.
const PATIENCE: Duration = Duration::from_mins(1);

/// How often another port is tried when somebody was faster.
const PORTS: u32 = 5;

/// Ends what runs in the folder, and removes it unless it is to be kept, once the pipe to it closes,
/// which it does however the process of the tests ends.
const KEEPER: &str = r#"
trap '' INT TERM HUP
read -r _
for data in "$1"/*; do
    [ -f "$data/postmaster.pid" ] || continue
    read -r pid < "$data/postmaster.pid"
    [ "$(readlink "/proc/$pid/cwd")" = "$data" ] || continue
    kill -QUIT "$pid" 2>/dev/null
    tries=0
    while [ "$(readlink "/proc/$pid/cwd")" = "$data" ] && [ "$tries" -lt 100 ]; do
        sleep 0.05
        tries=$((tries + 1))
    done
    [ "$(readlink "/proc/$pid/cwd")" = "$data" ] && kill -KILL "$pid"
done
[ "$2" = kept ] || rm -rf "$1"
"#;

/// A Postgres server, gone with its handle or with the process of the tests. It keeps what it
/// acknowledged, as a real one does.
pub struct Postgres {
    port: u16,
    data: PathBuf,
    settings: Vec<String>,
    owner: Option<Owner>,
    password: String,
    process: Option<Child>,
    databases: AtomicU32,
    /// Closing its input ends everything.
    keeper: Option<(Child, ChildStdin)>,
    /// The administrator's URL of a server that runs already, in place of all else.
    existing: Option<String>,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("port", &self.port)
            .field("data", &self.data)
            .finish_non_exhaustive()
    }
}

/// Whom the server runs as, since it refuses to run as root.
#[derive(Debug, Clone, Copy)]
struct Owner {
    user: u32,
    group: u32,
}

impl Postgres {
    /// Whether a server can be started, or else what is to be installed.
    ///
    /// # Errors
    ///
    /// One line for people.
    pub fn available() -> Result<(), String> {
        if env::var_os(EXISTING).is_some() {
            return Ok(());
        }
        ["initdb", "postgres", "pg_basebackup", "psql"]
            .iter()
            .try_for_each(|name| program(name).map(|_| ()))
            .map_err(|error| error.to_string())
    }

    /// Starts a server of its own on a free port, or uses the one that `DSM_TEST_POSTGRES_URL`
    /// names.
    pub fn start() -> io::Result<Self> {
        let Ok(url) = env::var(EXISTING) else {
            return Self::start_with(&[]);
        };
        let mut server = Self::empty()?;
        server.existing = Some(url);
        Ok(server)
    }

    /// Starts a server of its own with further settings, such as `fsync=off`.
    pub fn start_with(settings: &[&str]) -> io::Result<Self> {
        let mut server = Self::empty()?;
        server.data = server.folder()?.join("data");
        server.make()?;
        server.settings = settings.iter().map(ToString::to_string).collect();
        server.start_somewhere()?;
        Ok(server)
    }

    /// As [`start_with`](Self::start_with), over the data in a folder that stays: made there if there
    /// is none. [`stop`](Self::stop) it at the end, or the next start has to recover.
    pub fn start_in(folder: &Path, settings: &[&str]) -> io::Result<Self> {
        let mut server = Self::empty()?;
        let mut private = DirBuilder::new();
        private.recursive(true).mode(0o700).create(folder)?;
        server.give(folder)?;
        let folder = fs::canonicalize(folder)?;
        server.keep_watch(&folder, "kept")?;
        server.data = folder.join("data");
        if server.data.join("PG_VERSION").is_file() {
            server.password = fs::read_to_string(server.secret())?;
        } else {
            server.make()?;
        }
        server.settings = settings.iter().map(ToString::to_string).collect();
        server.start_somewhere()?;
        Ok(server)
    }

    /// Makes the data of a server.
    fn make(&self) -> io::Result<()> {
        let secret = self.secret();
        fs::write(&secret, &self.password)?;
        self.give(&secret)?;
        let mut initdb = self.command("initdb")?;
        initdb
            .args(["--username=postgres", "--auth=scram-sha-256", "--no-sync"])
            .args(["--encoding=UTF8", "--locale=C", "--no-instructions"])
            .arg("--pwfile")
            .arg(&secret)
            .arg("--pgdata")
            .arg(&self.data);
        checked(initdb.output()?, "initdb")?;
        let replication = format!("host replication all 127.0.0.1/32 scram-sha-256{}", '\n');
        let rules = self.data.join("pg_hba.conf");
        let rules_before = fs::read_to_string(&rules)?;
        fs::write(&rules, rules_before + &replication)
    }

    /// The file of the password.
    fn secret(&self) -> PathBuf {
        self.data.with_file_name("password")
    }

    /// A standby of this server that follows it by streaming, on a port of its own.
    pub fn standby(&self) -> io::Result<Self> {
        let mut standby = Self::empty()?;
        standby.password.clone_from(&self.password);
        standby.settings.clone_from(&self.settings);
        standby.data = standby.folder()?.join("data");
        let mut backup = standby.command("pg_basebackup")?;
        backup
            .args(["--checkpoint=fast", "--no-sync", "--write-recovery-conf"])
            .arg("--dbname")
            .arg(format!("host=127.0.0.1 port={} user=postgres", self.port()))
            .env("PGPASSWORD", &self.password)
            .arg("--pgdata")
            .arg(&standby.data);
        checked(backup.output()?, "pg_basebackup")?;
        standby.start_somewhere()?;
        Ok(standby)
    }

    /// Makes a standby take writes.
    pub fn promote(&self) -> io::Result<()> {
        self.sql("SELECT pg_promote()").map(|_| ())
    }

    /// The URL of the database `postgres`, for an administrator.
    pub fn url(&self) -> String {
        self.existing
            .clone()
            .unwrap_or_else(|| self.url_of("postgres"))
    }

    /// Its port, of 127.0.0.1 unless it ran already.
    pub fn port(&self) -> u16 {
        let authority = self.existing.as_deref().and_then(|url| {
            let (_, rest) = url.split_once("://")?;
            rest.split(['/', '?']).next()
        });
        let port = authority.and_then(|authority| authority.rsplit_once(':')?.1.parse().ok());
        port.unwrap_or(self.port)
    }

    /// Makes a new database.
    pub fn database(&self) -> io::Result<Database> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("dsm_{}_{number}", std::process::id());
        self.sql(&format!("CREATE DATABASE {name}"))?;
        let url = match &self.existing {
            Some(url) => with_database(url, &name),
            None => self.url_of(&name),
        };
        let drops_with = self.existing.clone();
        Ok(Database {
            url,
            name,
            drops_with,
        })
    }

    /// Runs statements in the database `postgres` and returns their rows, a line for each.
    ///
    /// # Errors
    ///
    /// What `psql` says.
    pub fn sql(&self, statements: &str) -> io::Result<String> {
        sql(&self.url(), statements)
    }

    /// As [`sql`](Self::sql), in another database.
    ///
    /// # Errors
    ///
    /// What `psql` says.
    pub fn sql_in(&self, database: &str, statements: &str) -> io::Result<String> {
        sql(&with_database(&self.url(), database), statements)
    }

    /// Kills the server, without a chance to end well.
    pub fn kill9(&mut self) -> io::Result<()> {
        let mut process = self
            .process
            .take()
            .ok_or_else(|| refused("it is not running"))?;
        process.kill()?;
        process.wait()?;
        // Its children end when they notice, and no other server starts before.
        self.wait_for("the end of the server's processes", |server| {
            Ok(!server.has_processes())
        })
    }

    /// Stops the server and ends its connections.
    pub fn stop(&mut self) -> io::Result<()> {
        let mut process = self
            .process
            .take()
            .ok_or_else(|| refused("it is not running"))?;
        let id = process.id().to_string();
        checked(Command::new("kill").args(["-INT", &id]).output()?, "kill")?;
        process.wait()?;
        Ok(())
    }

    /// Starts the server again at the port and with the data that it had.
    pub fn start_again(&mut self) -> io::Result<()> {
        self.launch()?;
        self.wait_until_ready()
    }

    /// The folder of the data, for its configuration.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Hands a file to the user whom the server runs as.
    pub fn give(&self, path: &Path) -> io::Result<()> {
        match self.owner {
            Some(owner) => chown(path, Some(owner.user), Some(owner.group)),
            None => Ok(()),
        }
    }

    /// What the server wrote to its log.
    pub fn log(&self) -> io::Result<String> {
        fs::read_to_string(self.log_path())
    }

    fn empty() -> io::Result<Self> {
        let random = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
        Ok(Self {
            port: 0,
            data: PathBuf::new(),
            settings: Vec::new(),
            owner: owner()?,
            password: random.trim().to_owned(),
            process: None,
            databases: AtomicU32::new(0),
            keeper: None,
            existing: None,
        })
    }

    fn url_of(&self, database: &str) -> String {
        let Self { password, port, .. } = self;
        format!("postgres://postgres:{password}@127.0.0.1:{port}/{database}")
    }

    fn log_path(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    /// A folder that the keeper removes.
    fn folder(&mut self) -> io::Result<PathBuf> {
        let folder = TempDir::with_prefix("dsm-postgres-")?;
        self.give(folder.path())?;
        self.keep_watch(folder.path(), "")?;
        fs::canonicalize(folder.keep())
    }

    /// Sets the keeper on a folder.
    fn keep_watch(&mut self, folder: &Path, kept: &str) -> io::Result<()> {
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(folder)
            .arg(kept)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let input = keeper
            .stdin
            .take()
            .ok_or_else(|| refused("it has no input"))?;
        self.keeper = Some((keeper, input));
        Ok(())
    }

    /// One of the server's programs, run as its owner.
    fn command(&self, name: &str) -> io::Result<Command> {
        let mut command = Command::new(program(name)?);
        command.current_dir("/").stdin(Stdio::null());
        for (variable, _) in env::vars_os() {
            if variable.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(variable);
            }
        }
        if let Some(owner) = self.owner {
            command.uid(owner.user).gid(owner.group);
        }
        Ok(command)
    }

    /// Starts on a port that is free, which another program may take first.
    fn start_somewhere(&mut self) -> io::Result<()> {
        let mut attempt = 1;
        loop {
            self.port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
            self.launch()?;
            match self.wait_until_ready() {
                Err(_) if attempt < PORTS && self.log()?.contains("could not bind") => attempt += 1,
                result => return result,
            }
        }
    }

    fn launch(&mut self) -> io::Result<()> {
        let log = fs::File::create(self.log_path())?;
        let mut command = self.command("postgres")?;
        command
            .arg("-D")
            .arg(&self.data)
            .arg("-p")
            .arg(self.port.to_string())
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "unix_socket_directories="])
            .args(["-c", "max_connections=300"])
            .args(["-c", "wal_level=replica", "-c", "max_wal_senders=4"])
            .args(["-c", "lc_messages=C"])
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        self.process = Some(command.spawn()?);
        Ok(())
    }

    fn wait_until_ready(&mut self) -> io::Result<()> {
        self.wait_for("the start of the server", |server| {
            if let Some(process) = &mut server.process
                && let Some(status) = process.try_wait()?
            {
                server.process = None;
                let log = server.log().unwrap_or_default();
                return Err(refused(&format!("the server ended with {status}: {log}")));
            }
            // The eighth line tells how far it is; an earlier server's file is not of this process.
            let file = fs::read_to_string(server.data.join("postmaster.pid"));
            let file = file.unwrap_or_default();
            let mut lines = file.lines();
            let id = server
                .process
                .as_ref()
                .map(|process| process.id().to_string());
            Ok(lines.next() == id.as_deref() && lines.nth(6).map(str::trim) == Some("ready"))
        })
    }

    fn wait_for(
        &mut self,
        what: &str,
        mut done: impl FnMut(&mut Self) -> io::Result<bool>,
    ) -> io::Result<()> {
        let started = Instant::now();
        while !done(self)? {
            if started.elapsed() > PATIENCE {
                return Err(io::Error::new(io::ErrorKind::TimedOut, what.to_owned()));
            }
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Whether any process works in the folder of the data.
    fn has_processes(&self) -> bool {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let mut folders = entries.filter_map(|entry| fs::read_link(entry.path().join("cwd")).ok());
        folders.any(|folder| folder == self.data)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some((mut keeper, input)) = self.keeper.take() {
            drop(input);
            // The server is a child of this process, so that the keeper waits until it is waited
            // for.
            if let Some(mut process) = self.process.take() {
                let _ = process.wait();
            }
            let _ = keeper.wait();
        }
    }
}

/// A database of a [`Postgres`].
#[derive(Debug)]
pub struct Database {
    url: String,
    name: String,
    /// The URL of an administrator, where the server outlives the database.
    drops_with: Option<String>,
}

impl Database {
    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether its server outlives the process of the tests, and so would it.
    pub fn outlives(&self) -> bool {
        self.drops_with.is_some()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs statements in it and returns their rows, a line for each.
    ///
    /// # Errors
    ///
    /// What `psql` says.
    pub fn sql(&self, statements: &str) -> io::Result<String> {
        sql(&self.url, statements)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(url) = &self.drops_with {
            let _ = sql(url, &format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}

fn sql(url: &str, statements: &str) -> io::Result<String> {
    // By variables: a password does not belong into the list of processes.
    let (user, rest) = url
        .strip_prefix("postgres://")
        .and_then(|rest| rest.split_once('@'))
        .ok_or_else(|| {
            refused("the URL is not of the form postgres://user:password@host/database")
        })?;
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let output = Command::new(program("psql")?)
        .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
        .args(["--set", "ON_ERROR_STOP=1", "--command", statements])
        .arg("--dbname")
        .arg(format!("postgres://{rest}"))
        .env("PGUSER", user)
        .env("PGPASSWORD", password)
        .stdin(Stdio::null())
        .output()?;
    let output = checked(output, "psql")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The URL with another database.
fn with_database(url: &str, name: &str) -> String {
    let (base, query) = match url.split_once('?') {
        Some((base, query)) => (base, format!("?{query}")),
        None => (url, String::new()),
    };
    let start = base.find("://").map_or(0, |at| at + 3);
    let end = base[start..].find('/').map_or(base.len(), |at| start + at);
    format!("{}/{name}{query}", &base[..end])
}

/// An installed program of Postgres, such as `pgbench`, of the newest version where there are
/// several.
///
/// # Errors
///
/// Says what to install.
pub fn program(name: &str) -> io::Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut installed: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    installed.sort_by_key(|folder| {
        let version = folder.parent().and_then(Path::file_name);
        version.and_then(|version| version.to_str()?.parse::<u32>().ok())
    });
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(installed.into_iter().rev());
    folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            refused(&format!(
                "{name} is not installed: install Postgres 14 or later, such as by \
                 `apt-get install postgresql`, or name a server by {EXISTING}"
            ))
        })
}

fn owner() -> io::Result<Option<Owner>> {
    if fs::metadata("/proc/self")?.uid() != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let find = |name: &str| {
        let mut lines = users.lines().map(|line| line.split(':'));
        lines.find_map(|mut fields| {
            let found = fields.next() == Some(name);
            let user = fields.nth(1)?.parse().ok()?;
            let group = fields.next()?.parse().ok()?;
            found.then_some(Owner { user, group })
        })
    };
    let found = find("postgres").or_else(|| find("nobody"));
    found.map(Some).ok_or_else(|| {
        refused("root cannot run Postgres, and there is neither a user postgres nor nobody")
    })
}

fn checked(output: Output, what: &str) -> io::Result<Output> {
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(refused(&format!("{what} failed: {}", said.trim())))
}

fn refused(what: &str) -> io::Error {
    io::Error::other(what.to_owned())
}
