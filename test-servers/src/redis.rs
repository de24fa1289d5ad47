//! Redis, alone or behind Sentinel.

use std::env;
use std::fmt::{self, Write as _};
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::authority;
use crate::kept::run;

/// Names a server that is used instead of a throwaway one.
const EXISTING: &str = "DSM_TEST_REDIS_URL";

/// How long a server may take to start or to reach a state.
const PATIENCE: Duration = Duration::from_mins(1);
const TICK: Duration = Duration::from_millis(10);

/// How often another port is tried when somebody was faster.
const PORTS: u32 = 5;

/// Runs a server and says which process it is. Kills it once it is told to or the pipe to it closes,
/// which it does however the process of the tests ends; then the folder goes as well, unless it is to
/// be kept.
const KEEPER: &str = r#"
trap '' INT TERM HUP
folder=$1
kept=$2
shift 2
"$@" </dev/null >>"$folder/log" 2>&1 &
server=$!
echo "$server"
read -r order
kill -KILL "$server" 2>/dev/null
wait "$server" 2>/dev/null
[ "$order" = keep ] || [ "$kept" = kept ] || rm -rf "$folder"
"#;

/// What every server is started with; what follows on its command line wins.
const SETTINGS: [(&str, &str); 7] = [
    ("bind", "127.0.0.1"),
    ("daemonize", "no"),
    ("save", ""),
    ("appendonly", "yes"),
    ("appendfsync", "always"),
    ("maxmemory-policy", "noeviction"),
    ("repl-diskless-sync-delay", "0"),
];

/// A Redis server, gone with its handle or with the process of the tests. It keeps what it
/// acknowledged, as a real one does, unless its settings say otherwise.
pub struct Redis {
    port: u16,
    folder: PathBuf,
    settings: Vec<(String, String)>,
    tls: bool,
    /// Whether the folder stays.
    kept: bool,
    running: Option<Running>,
    prefixes: AtomicU32,
    /// The URL of a server that runs already, in place of all else.
    existing: Option<String>,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("port", &self.port)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

struct Running {
    keeper: Child,
    orders: Option<ChildStdin>,
    process: u32,
}

impl Redis {
    /// Whether a server can be started, or else what is to be installed.
    ///
    /// # Errors
    ///
    /// One line for people.
    pub fn available() -> Result<(), String> {
        if env::var_os(EXISTING).is_some() {
            return Ok(());
        }
        for program in ["redis-server", "redis-cli"] {
            let found = Command::new(program).arg("--version").output();
            if !found.is_ok_and(|output| output.status.success()) {
                return Err(format!(
                    "{program} is missing: install redis-server and redis-tools, version 7 or newer, \
                     or name a server in {EXISTING}"
                ));
            }
        }
        Ok(())
    }

    /// Starts a server of its own on a free port, or uses the one that `DSM_TEST_REDIS_URL` names.
    pub fn start() -> io::Result<Self> {
        match env::var(EXISTING) {
            Ok(url) => {
                let mut server = Self::stopped(PathBuf::new(), &[]);
                server.existing = Some(url);
                Ok(server)
            }
            Err(_) => Self::start_with(&[]),
        }
    }

    /// Starts a server of its own with further settings, such as `("appendfsync", "no")`.
    pub fn start_with(settings: &[(&str, &str)]) -> io::Result<Self> {
        let mut server = Self::stopped(folder()?, settings);
        server.start_somewhere()?;
        Ok(server)
    }

    /// As [`start_with`](Self::start_with), over the data in a folder that stays.
    pub fn start_in(folder: &Path, settings: &[(&str, &str)]) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut server = Self::stopped(fs::canonicalize(folder)?, settings);
        server.kept = true;
        // Of an earlier start, which a port that was taken is looked for in.
        fs::write(server.folder.join("log"), "")?;
        server.start_somewhere()?;
        Ok(server)
    }

    /// Starts a server of its own that speaks TLS only, with a certificate for 127.0.0.1.
    pub fn start_tls() -> io::Result<Self> {
        let mut server = Self::stopped(folder()?, &[]);
        server.tls = true;
        authority::make(&server.folder)?;
        server.start_somewhere()?;
        Ok(server)
    }

    /// A replica of this server, on a port of its own, once it has all data.
    pub fn replica(&self) -> io::Result<Self> {
        let master = format!("127.0.0.1 {}", self.port);
        let replica = Self::start_with(&[("replicaof", &master)])?;
        // The master hears later than the replica that it is ready.
        let online = format!("port={},state=online", replica.port);
        replica.wait_for("replication", |replica| {
            let ready = replica.cli(&["info", "replication"])?;
            let known = self.cli(&["info", "replication"])?;
            Ok(ready.contains("master_link_status:up") && known.contains(&online))
        })?;
        Ok(replica)
    }

    /// Sentinels that watch this server under a name and replace it, when most of them miss it for
    /// half a second, by one of its replicas.
    pub fn sentinels(&self, name: &str, count: usize) -> io::Result<Sentinels> {
        let quorum = count / 2 + 1;
        let mut nodes = Vec::new();
        for _ in 0..count {
            nodes.push(self.sentinel(name, quorum)?);
        }
        let sentinels = Sentinels {
            nodes,
            name: name.to_owned(),
        };
        // Until they know each other and the replicas they cannot agree on a successor.
        let replicas = self.cli(&["info", "replication"])?;
        let replicas = replicas.matches("state=online").count().to_string();
        let others = (count - 1).to_string();
        for node in &sentinels.nodes {
            node.wait_for("the Sentinels", |node| {
                let known = node.cli(&["sentinel", "master", name])?;
                let lines: Vec<&str> = known.lines().collect();
                let is =
                    |field: &str, value: &str| lines.windows(2).any(|pair| pair == [field, value]);
                Ok(is("num-other-sentinels", &others) && is("num-slaves", &replicas))
            })?;
        }
        Ok(sentinels)
    }

    fn sentinel(&self, name: &str, quorum: usize) -> io::Result<Self> {
        let mut node = Self::stopped(folder()?, &[]);
        let mut text = String::from("bind 127.0.0.1\n");
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "sentinel monitor {name} 127.0.0.1 {} {quorum}",
            self.port
        );
        let _ = writeln!(text, "sentinel down-after-milliseconds {name} 500");
        let _ = writeln!(text, "sentinel failover-timeout {name} 3000");
        fs::write(node.sentinel_file(), text)?;
        node.start_somewhere()?;
        Ok(node)
    }

    /// The URL of its database 0.
    pub fn url(&self) -> String {
        match &self.existing {
            Some(url) => url.clone(),
            None => self.url_at(self.port),
        }
    }

    /// The same behind another port of 127.0.0.1, such as that of a proxy.
    pub fn url_at(&self, port: u16) -> String {
        if self.tls {
            let ca = self.ca();
            format!("rediss://127.0.0.1:{port}/0?ca={}", ca.display())
        } else {
            format!("redis://127.0.0.1:{port}/0")
        }
    }

    /// The URL of a store of its own: with a prefix that no other call gets.
    pub fn fresh_url(&self) -> String {
        let number = self.prefixes.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("test-{}-{number}", std::process::id());
        with_parameter(&self.url(), "prefix", &prefix)
    }

    /// The port of 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate by which its own is trusted.
    pub fn ca(&self) -> PathBuf {
        self.folder.join(authority::CA)
    }

    /// Kills the server, without a chance to end well.
    pub fn kill9(&mut self) -> io::Result<()> {
        let mut running = self
            .running
            .take()
            .ok_or_else(|| refused("it is not running"))?;
        if let Some(mut orders) = running.orders.take() {
            orders.write_all(b"keep\n")?;
        }
        running.keeper.wait()?;
        Ok(())
    }

    /// Starts the server again at the port and with the data that it had.
    pub fn start_again(&mut self) -> io::Result<()> {
        self.launch()?;
        self.wait_until_ready()
    }

    /// Stops the server's process where it is, so that it answers nothing; [`thaw`](Self::thaw) lets
    /// it go on.
    pub fn freeze(&self) -> io::Result<()> {
        self.signal("-STOP")
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) -> io::Result<()> {
        self.signal("-CONT")
    }

    fn signal(&self, signal: &str) -> io::Result<()> {
        let running = self
            .running
            .as_ref()
            .ok_or_else(|| refused("it is not running"))?;
        let process = running.process.to_string();
        run(Command::new("kill").args([signal, &process])).map(|_| ())
    }

    /// Runs a command by `redis-cli` and returns what it prints.
    ///
    /// # Errors
    ///
    /// What it says, also when the command was refused.
    pub fn cli(&self, arguments: &[&str]) -> io::Result<String> {
        if self.existing.is_some() {
            return Err(refused("a server that runs already is not administered"));
        }
        let mut command = Command::new("redis-cli");
        command.args(["-e", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
        if self.tls {
            command.arg("--tls").arg("--cacert").arg(self.ca());
        }
        run(command.args(arguments))
    }

    /// What the server wrote to its log.
    pub fn log(&self) -> io::Result<String> {
        fs::read_to_string(self.folder.join("log"))
    }

    /// The folder of its data.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn stopped(folder: PathBuf, settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter();
        Self {
            port: 0,
            folder,
            settings: settings
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            tls: false,
            kept: false,
            running: None,
            prefixes: AtomicU32::new(0),
            existing: None,
        }
    }

    fn sentinel_file(&self) -> PathBuf {
        self.folder.join("sentinel.conf")
    }

    /// Starts on a port that is free, which another program may take first.
    fn start_somewhere(&mut self) -> io::Result<()> {
        let mut attempt = 1;
        loop {
            self.port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
            self.launch()?;
            match self.wait_until_ready() {
                Err(_) if attempt < PORTS && self.log()?.contains("Address already in use") => {
                    self.kill9()?;
                    fs::write(self.folder.join("log"), "")?;
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    fn launch(&mut self) -> io::Result<()> {
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "keeper"]).arg(&self.folder);
        command.arg(if self.kept { "kept" } else { "" });
        command.arg("redis-server");
        let sentinel = self.sentinel_file();
        let port = self.port.to_string();
        if sentinel.exists() {
            command.arg(sentinel).args(["--port", &port, "--sentinel"]);
        } else {
            command.arg("--dir").arg(&self.folder);
            if self.tls {
                command.args(["--port", "0", "--tls-port", &port]);
                command.args(["--tls-auth-clients", "no"]);
                command.arg("--tls-ca-cert-file").arg(self.ca());
                for (setting, file) in [("cert", authority::CERTIFICATE), ("key", authority::KEY)] {
                    command.arg(format!("--tls-{setting}-file"));
                    command.arg(self.folder.join(file));
                }
            } else {
                command.args(["--port", &port]);
            }
            let given = self.settings.iter();
            let given = given.map(|(name, value)| (name.as_str(), value.as_str()));
            for (name, value) in SETTINGS.into_iter().chain(given) {
                // Redis does not make this one.
                if name == "aclfile" {
                    let file = self.folder.join(value);
                    fs::OpenOptions::new()
                        .create(true)
                        .append(true)
                        .open(file)?;
                }
                command.arg(format!("--{name}"));
                // Some settings take several words.
                match value {
                    "" => command.arg(""),
                    value => command.args(value.split(' ')),
                };
            }
        }
        let mut keeper = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let orders = keeper.stdin.take();
        let output = keeper
            .stdout
            .take()
            .ok_or_else(|| refused("it has no output"))?;
        let mut process = String::new();
        BufReader::new(output).read_line(&mut process)?;
        let process = process.trim().parse().map_err(io::Error::other)?;
        self.running = Some(Running {
            keeper,
            orders,
            process,
        });
        Ok(())
    }

    fn wait_until_ready(&self) -> io::Result<()> {
        let process = self.running.as_ref().map(|running| running.process);
        let process = process.ok_or_else(|| refused("it is not running"))?;
        let mine = format!("process_id:{process}\r");
        let running = format!("/proc/{process}");
        self.wait_for("the server", |server| {
            if !Path::new(&running).exists() {
                return Err(refused(&server.log()?));
            }
            // Another server may have taken the port.
            let info = server.cli(&["info"]).unwrap_or_default();
            Ok(info.contains(&mine) && !info.contains("loading:1"))
        })
    }

    fn wait_for(&self, what: &str, reached: impl Fn(&Self) -> io::Result<bool>) -> io::Result<()> {
        let start = Instant::now();
        while !reached(self)? {
            if start.elapsed() > PATIENCE {
                let log = self.log()?;
                return Err(refused(&format!("{what} took too long: {log}")));
            }
            sleep(TICK);
        }
        Ok(())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        match self.running.take() {
            Some(mut running) => {
                drop(running.orders.take());
                // Whether it could be waited for changes nothing.
                let _ = running.keeper.wait();
            }
            None if self.existing.is_none() && !self.kept => {
                let _ = fs::remove_dir_all(&self.folder);
            }
            None => {}
        }
    }
}

/// Sentinels of one master.
#[derive(Debug)]
pub struct Sentinels {
    nodes: Vec<Redis>,
    name: String,
}

impl Sentinels {
    /// The URL of the master that they know.
    pub fn url(&self) -> String {
        let nodes = self.nodes.iter();
        let nodes: Vec<String> = nodes
            .map(|node| format!("127.0.0.1:{}", node.port()))
            .collect();
        format!("redis+sentinel://{}/{}/0", nodes.join(","), self.name)
    }

    /// Each of them.
    pub fn nodes(&mut self) -> &mut [Redis] {
        &mut self.nodes
    }
}

/// A URL with another parameter.
pub fn with_parameter(url: &str, name: &str, value: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{name}={value}")
}

fn folder() -> io::Result<PathBuf> {
    Ok(TempDir::with_prefix("dsm-redis-")?.keep())
}

fn refused(why: &str) -> io::Error {
    io::Error::other(why.to_owned())
}
