//! MariaDB.

use std::fmt;
use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::authority;
use crate::kept::run;

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_mins(1);
const TICK: Duration = Duration::from_millis(20);

/// How often another port is tried when somebody was faster.
const PORTS: u32 = 5;

/// Runs a server and says which process it is. Kills it once the pipe to it closes, which it does
/// however the process of the tests ends; then the folder goes as well.
const KEEPER: &str = r#"
trap '' INT TERM HUP
folder=$1
shift
"$@" </dev/null >>"$folder/log" 2>&1 &
server=$!
echo "$server"
read -r order
kill -KILL "$server" 2>/dev/null
wait "$server" 2>/dev/null
[ "$order" = keep ] || rm -rf "$folder"
"#;

/// A MariaDB server, gone with its handle or with the process of the tests. It writes every statement
/// to its general log, and does not wait for its disk.
pub struct Mariadb {
    port: u16,
    folder: PathBuf,
    password: String,
    tls: bool,
    running: Option<Running>,
}

struct Running {
    keeper: Child,
    orders: Option<ChildStdin>,
    process: u32,
}

impl fmt::Debug for Mariadb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mariadb")
            .field("port", &self.port)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl Mariadb {
    /// The administrator, from anywhere.
    pub const ADMIN: &str = "dsm_admin";

    /// Whether a server can be started, or else what is to be installed.
    ///
    /// # Errors
    ///
    /// One line for people.
    pub fn available() -> Result<(), String> {
        for name in ["mariadbd", "mariadb", "mariadb-install-db"] {
            if program(name).is_none() {
                return Err(format!("{name} is missing: install mariadb-server"));
            }
        }
        Ok(())
    }

    /// Starts a server of its own on a free port.
    pub fn start() -> io::Result<Self> {
        Self::stopped()?.first_started()
    }

    /// Starts a server of its own that takes connections over TCP under TLS only, with a certificate
    /// for 127.0.0.1 and `localhost`.
    pub fn start_tls() -> io::Result<Self> {
        let mut server = Self::stopped()?;
        server.tls = true;
        authority::make(&server.folder)?;
        server.first_started()
    }

    fn stopped() -> io::Result<Self> {
        let random = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
        Ok(Self {
            port: 0,
            folder: TempDir::with_prefix("dsm-mariadb-")?.keep(),
            password: random.trim().to_owned(),
            tls: false,
            running: None,
        })
    }

    /// Makes the data and the administrator.
    fn first_started(mut self) -> io::Result<Self> {
        let mut install = command("mariadb-install-db")?;
        install
            .arg("--no-defaults")
            .arg(format!("--datadir={}", self.folder.join("data").display()))
            .args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
        run(as_owner(&mut install)?)?;
        self.start_somewhere()?;
        self.sql(&format!(
            "CREATE USER {admin}@'%' IDENTIFIED BY '{password}'; \
             GRANT ALL ON *.* TO {admin}@'%' WITH GRANT OPTION",
            admin = Self::ADMIN,
            password = self.password,
        ))?;
        Ok(self)
    }

    /// Its port, of 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The password of the administrator.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The certificate by which its own is trusted.
    pub fn ca(&self) -> PathBuf {
        self.folder.join(authority::CA)
    }

    /// Runs statements as root and returns their rows, a line for each, with tabs between columns.
    ///
    /// # Errors
    ///
    /// What `mariadb` says.
    pub fn sql(&self, statements: &str) -> io::Result<String> {
        let mut client = command("mariadb")?;
        client
            .arg("--no-defaults")
            .arg(format!("--socket={}", self.socket().display()))
            .args(["--user=root", "--batch", "--skip-column-names"])
            .args(["--execute", statements]);
        Ok(run(&mut client)?.trim().to_owned())
    }

    /// Kills the server, without a chance to end well.
    pub fn kill9(&mut self) -> io::Result<()> {
        let running = self.running.take();
        let mut running = running.ok_or_else(|| io::Error::other("it is not running"))?;
        if let Some(mut orders) = running.orders.take() {
            io::Write::write_all(&mut orders, b"keep\n")?;
        }
        running.keeper.wait()?;
        Ok(())
    }

    /// Starts the server again at the port and with the data that it had.
    pub fn start_again(&mut self) -> io::Result<()> {
        self.launch()?;
        self.wait_until_ready()
    }

    /// Every statement that clients sent, as the server wrote it to its general log.
    pub fn statements(&self) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.folder.join("statements"))?).into_owned())
    }

    /// What the server wrote to its log.
    pub fn log(&self) -> io::Result<String> {
        fs::read_to_string(self.folder.join("log"))
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("socket")
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
        let path = |name: &str| self.folder.join(name).display().to_string();
        let mut server = Command::new("sh");
        server.args(["-c", KEEPER, "keeper"]).arg(&self.folder);
        server
            .arg(program("mariadbd").ok_or_else(|| io::Error::other("mariadbd is missing"))?)
            .arg("--no-defaults")
            .arg(format!("--datadir={}", path("data")))
            .arg(format!("--socket={}", path("socket")))
            .arg(format!("--pid-file={}", path("pid")))
            .arg(format!("--port={}", self.port))
            .args(["--bind-address=127.0.0.1", "--skip-name-resolve"])
            .args([
                "--innodb-buffer-pool-size=16M",
                "--innodb-flush-log-at-trx-commit=0",
            ])
            .args(["--max-connections=300", "--lc-messages=en_US"])
            .arg("--general-log")
            .arg(format!("--general-log-file={}", path("statements")));
        if self.tls {
            server
                .arg(format!("--ssl-cert={}", path(authority::CERTIFICATE)))
                .arg(format!("--ssl-key={}", path(authority::KEY)))
                .arg("--require-secure-transport");
        }
        let mut keeper = as_owner(&mut server)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let orders = keeper.stdin.take();
        let output = keeper.stdout.take();
        let output = output.ok_or_else(|| io::Error::other("it has no output"))?;
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
        let process = process.ok_or_else(|| io::Error::other("it is not running"))?;
        let start = Instant::now();
        while self.sql("SELECT 1").is_err() {
            if !PathBuf::from(format!("/proc/{process}")).exists() {
                return Err(io::Error::other(self.log()?));
            }
            if start.elapsed() > PATIENCE {
                let log = self.log()?;
                return Err(io::Error::other(format!("the start took too long: {log}")));
            }
            sleep(TICK);
        }
        Ok(())
    }
}

impl Drop for Mariadb {
    fn drop(&mut self) {
        match self.running.take() {
            Some(mut running) => {
                drop(running.orders.take());
                // Whether it could be waited for changes nothing.
                let _ = running.keeper.wait();
            }
            None => {
                let _ = fs::remove_dir_all(&self.folder);
            }
        }
    }
}

/// Where a program is: servers are not on everybody's path.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

fn command(name: &str) -> io::Result<Command> {
    let program = program(name);
    Ok(Command::new(program.ok_or_else(|| {
        io::Error::other(format!("{name} is missing: install mariadb-server"))
    })?))
}

/// The server refuses to run as root unless it is said that it shall.
fn as_owner(command: &mut Command) -> io::Result<&mut Command> {
    if fs::metadata("/proc/self")?.uid() == 0 {
        command.arg("--user=root");
    }
    Ok(command)
}
