//! The server program, started for a test and gone after it.

use std::fmt;
use std::io::{self, BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::client;

/// What `quickstart --json` prints.
#[derive(Debug, Clone)]
pub struct Printed {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Credentials of the example authorization.
    pub client_id: String,
    /// Credentials of the example authorization.
    pub client_secret: String,
    /// The example secret.
    pub identity: String,
    /// A token for `/api/v1`.
    pub operator_token: String,
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// What it printed.
    pub printed: Printed,
    log: Arc<Mutex<String>>,
}

/// A server that ended before it served; the source of the error of [`Server::start`].
#[derive(Debug)]
pub struct Refused {
    /// Its exit code.
    pub code: Option<i32>,
    /// Its standard error.
    pub said: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it ended with {:?}: {}", self.code, self.said)
    }
}

impl std::error::Error for Refused {}

/// What a server is started with, on a free port.
pub const QUICKSTART: [&str; 4] = ["quickstart", "--json", "--listen", "127.0.0.1:0"];

/// The server program of this build.
///
/// # Panics
///
/// When it is not built: `cargo xtask test` builds it first.
pub fn program() -> PathBuf {
    let own = std::env::current_exe().expect("a running program has a path");
    let folder = own
        .ancestors()
        .find(|folder| folder.join("dsm-server").is_file());
    let folder = folder.expect("dsm-server is built: run `cargo build -p dsm-server` first");
    folder.join("dsm-server")
}

/// The server program with the arguments, its output captured or dropped as said.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        // Settings of whoever runs the tests are not theirs.
        if name.to_string_lossy().starts_with("DSM_") {
            command.env_remove(name);
        }
    }
    command
}

impl Server {
    /// Starts `quickstart` over a data folder and waits until it answers.
    pub fn quickstart(data: &Path) -> io::Result<Self> {
        Self::quickstart_with(data, &[])
    }

    /// As [`quickstart`](Self::quickstart) with further arguments.
    pub fn quickstart_with(data: &Path, further: &[&str]) -> io::Result<Self> {
        let data = data
            .to_str()
            .ok_or_else(|| io::Error::other("a path in UTF-8"))?;
        let mut arguments = vec!["--data-dir", data];
        arguments.extend_from_slice(further);
        let mut command = command(&QUICKSTART);
        command.args(arguments);
        Self::start(command)
    }

    /// Starts a command that is [`QUICKSTART`] with whatever it needs, and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it ends before: what it said.
    pub fn start(mut command: Command) -> io::Result<Self> {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take();
        let stdout = stdout.ok_or_else(|| io::Error::other("a pipe"))?;
        let stderr = child.stderr.take();
        let stderr = stderr.ok_or_else(|| io::Error::other("a pipe"))?;
        // Read on, so that the server never waits for somebody to take its log.
        let log = Arc::new(Mutex::new(String::new()));
        let logging = {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                    log.push_str(&line);
                    log.push('\n');
                }
            })
        };
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        let Some(printed) = read.ok().and_then(|_| parse(&line)) else {
            // It has ended, or is no server.
            let _ = child.kill();
            let status = child.wait()?;
            let _ = logging.join();
            let log = log.lock().unwrap_or_else(PoisonError::into_inner);
            return Err(io::Error::other(Refused {
                code: status.code(),
                said: log.clone(),
            }));
        };
        Ok(Self {
            child,
            printed,
            log,
        })
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.clone()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.printed.addr
    }

    /// Kills it without a word (SIGKILL).
    pub fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_| ())
    }

    /// Asks it to stop (SIGTERM) and gives its exit code.
    pub fn stop(mut self) -> io::Result<Option<i32>> {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("a process id"))?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        Ok(self.child.wait()?.code())
    }

    /// A bearer token of the example authorization.
    pub async fn token(&self) -> io::Result<String> {
        let Printed {
            addr,
            client_id,
            client_secret,
            ..
        } = &self.printed;
        let body = format!(
            "grant_type=client_credentials&client_id={client_id}&client_secret={client_secret}"
        );
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        let answer =
            client::send(*addr, "POST", "/iso/oauth2/token", &form, body.as_bytes()).await?;
        let token = answer.json()["access_token"].as_str().map(str::to_owned);
        token.ok_or_else(|| io::Error::other(format!("no token but {answer:?}")))
    }

    /// Waits until the server answers that it is ready.
    pub async fn ready(&self, patience: Duration) -> io::Result<()> {
        let wait = async {
            loop {
                match client::send(self.addr(), "GET", "/readyz", &[], b"").await {
                    Ok(answer) if answer.status == 200 => return,
                    _ => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        tokio::time::timeout(patience, wait)
            .await
            .map_err(io::Error::other)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parse(line: &str) -> Option<Printed> {
    let line: Value = serde_json::from_str(line).ok()?;
    let text = |name: &str| line[name].as_str().map(str::to_owned);
    Some(Printed {
        addr: text("url")?
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .parse()
            .ok()?,
        client_id: text("client_id")?,
        client_secret: text("client_secret")?,
        identity: text("identity")?,
        operator_token: text("operator_token")?,
    })
}
