//! The built program in a folder of its own.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;
use ureq::Agent;

/// Longer than anything here takes; a test that reaches it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A folder to run the program in, with the data in `data`.
pub(crate) struct Place(TempDir);

/// What `quickstart --json` prints.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    pub(crate) url: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    pub(crate) identity: String,
    pub(crate) operator_token: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.data().join("root.key")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.data().join("vault.db")
    }

    /// The program with these arguments, the data folder named by a variable.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dsm-server"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("DSM_DATA_DIR", self.data())
            .env("DSM_LOG_FORMAT", "json")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments).output().expect("the program"))
    }

    /// Starts `quickstart` on a free port and waits for its line.
    pub(crate) fn quickstart(&self) -> (Process, Line) {
        self.quickstart_with(&["quickstart", "--json", "--listen", "127.0.0.1:0"])
    }

    pub(crate) fn quickstart_with(&self, arguments: &[&str]) -> (Process, Line) {
        let mut process = Process::start(self.command(arguments));
        let line = process.line();
        (
            process,
            serde_json::from_str(&line).expect("a line of JSON"),
        )
    }

    /// Starts `quickstart` for a person, and waits for what it prints.
    pub(crate) fn quickstart_text(&self) -> (Process, String) {
        let command = self.command(&["quickstart", "--listen", "127.0.0.1:0"]);
        let mut process = Process::start(command);
        let mut text = String::new();
        while !text.ends_with("\n\n") || !text.contains("/api/v1") {
            text.push_str(&process.line());
        }
        (process, text)
    }

    /// Starts `serve` on a free port, and waits until its log says which.
    pub(crate) fn serve(&self) -> (Process, String) {
        let (process, address) = self.serve_with(&[]);
        (process, format!("http://{address}"))
    }

    /// As [`serve`](Self::serve) with further arguments; gives the address.
    pub(crate) fn serve_with(&self, further: &[&str]) -> (Process, String) {
        let arguments = [&["serve", "--listen", "127.0.0.1:0"], further].concat();
        let mut process = Process::start(self.command(&arguments));
        let address = process.logged("serving", "address");
        (process, address)
    }

    /// Every file below the folder with its content, in order.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        let mut folders = vec![self.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in folder.read_dir().expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let content = std::fs::read(&path).expect("a file");
                    files.push((path, content));
                }
            }
        }
        files.sort();
        files
    }
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// It failed with this code and said these words, without a panic.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "{word} is missing: {self:?}");
        }
        assert!(!self.err.contains("panic"), "{self:?}");
        assert!(self.out.is_empty(), "{self:?}");
    }

    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }
}

/// A running server, killed when dropped.
pub(crate) struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
    log: Arc<Mutex<String>>,
    logging: Option<JoinHandle<()>>,
}

impl Process {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the program");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let log = Arc::new(Mutex::new(String::new()));
        let lines = Arc::clone(&log);
        let logging = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut lines = lines.lock().expect("not poisoned");
                lines.push_str(&line);
                lines.push('\n');
            }
        });
        Self {
            child,
            stdout,
            log,
            logging: Some(logging),
        }
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("not poisoned").clone()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        kill_process(Pid::from_raw(id).expect("not zero"), signal).expect("it runs");
    }

    /// Waits for its end. Returns how it ended, what else it printed, and its whole log.
    pub(crate) fn wait(mut self) -> (ExitStatus, String, String) {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(Instant::now() < end, "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        };
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("UTF-8");
        if let Some(logging) = self.logging.take() {
            logging.join().expect("it reads to the end");
        }
        (status, rest, self.log())
    }

    /// Ends it as a loss of power would end the process.
    pub(crate) fn kill(self) -> String {
        self.signal(Signal::KILL);
        let (status, rest, log) = self.wait();
        assert!(!status.success());
        assert_eq!(rest, "", "one line and no more");
        log
    }

    /// Stops it as an init system does.
    #[track_caller]
    pub(crate) fn stop(self) -> String {
        self.signal(Signal::TERM);
        let (status, _, log) = self.wait();
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("UTF-8");
        assert!(!line.is_empty(), "it said nothing: {}", self.log());
        line
    }

    /// The field of the log line with this message, once there is one.
    fn logged(&mut self, message: &str, field: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            for line in log.lines() {
                let line: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
                let fields = &line["fields"];
                if fields["message"] == message {
                    return fields[field].as_str().expect("a text").to_owned();
                }
            }
            let ended = self.child.try_wait().expect("a child").is_some();
            assert!(!ended && Instant::now() < end, "no {message}: {log}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client for one server.
#[derive(Clone)]
pub(crate) struct Client {
    agent: Agent,
    url: String,
}

impl Client {
    pub(crate) fn new(url: &str) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .proxy(None);
        Self {
            agent: config.build().into(),
            url: url.to_owned(),
        }
    }

    /// The status and body of a `GET`.
    pub(crate) fn get(&self, path: &str, token: &str) -> (u16, String) {
        let request = self.agent.get(format!("{}{path}", self.url));
        let request = match token {
            "" => request,
            token => request.header("Authorization", format!("Bearer {token}")),
        };
        let mut reply = request.call().expect("a reply");
        let body = reply.body_mut().read_to_string().expect("UTF-8");
        (reply.status().as_u16(), body)
    }

    /// The status and body of a `POST` of a form.
    pub(crate) fn post(&self, path: &str, token: &str, form: &[(&str, &str)]) -> (u16, String) {
        let mut request = self.agent.post(format!("{}{path}", self.url));
        if !token.is_empty() {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let form = form.iter().copied();
        let mut reply = request.send_form(form).expect("a reply");
        let body = reply.body_mut().read_to_string().expect("UTF-8");
        (reply.status().as_u16(), body)
    }

    /// A token for the credentials.
    #[track_caller]
    pub(crate) fn token(&self, line: &Line) -> String {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &line.client_id),
            ("client_secret", &line.client_secret),
        ];
        let (status, body) = self.post("/iso/oauth2/token", "", &form);
        assert_eq!(status, 200, "{body}");
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        body["access_token"].as_str().expect("a text").to_owned()
    }

    /// The password in the example secret.
    #[track_caller]
    pub(crate) fn password(&self, line: &Line) -> String {
        let token = self.token(line);
        let path = format!("/iso/sctm/secret/{}", line.identity);
        let (status, body) = self.get(&path, &token);
        assert_eq!(status, 200, "{body}");
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let password = body.pointer("/secret/data/0/password");
        let password = password.unwrap_or_else(|| panic!("no password in {body}"));
        password.as_str().expect("a text").to_owned()
    }

    /// The status of `/api/v1/me` for an operator's token.
    pub(crate) fn me(&self, token: &str) -> u16 {
        self.get("/api/v1/me", token).0
    }
}
