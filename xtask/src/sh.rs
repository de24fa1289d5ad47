//! Running commands: each is echoed before it runs, from the root of the workspace.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::Failure;

/// The root of the workspace: of the checkout that cargo runs this in. Where it was compiled may be
/// another one, when several share a folder of build results.
pub(crate) fn root() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    own.parent().map(Path::to_owned).unwrap_or(own)
}

/// A command with its arguments and what it adds to the environment.
pub(crate) struct Cmd {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(String, String)>,
}

/// A call of the cargo that runs this program.
pub(crate) fn cargo<I: IntoIterator<Item: Into<OsString>>>(args: I) -> Cmd {
    Cmd {
        program: std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
        args: args.into_iter().map(Into::into).collect(),
        env: Vec::new(),
    }
}

/// A call of another program.
pub(crate) fn program(path: impl AsRef<OsStr>) -> Cmd {
    Cmd {
        program: path.as_ref().to_owned(),
        args: Vec::new(),
        env: Vec::new(),
    }
}

impl Cmd {
    /// Adds arguments.
    pub(crate) fn args<I: IntoIterator<Item: Into<OsString>>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Sets variables that the caller's environment does not have.
    pub(crate) fn default_env(self, variables: &[(&str, &str)]) -> Self {
        variables
            .iter()
            .filter(|(name, _)| std::env::var_os(name).is_none())
            .fold(self, |cmd, (name, value)| cmd.env(name, *value))
    }

    /// Runs it with the terminal's own input and output.
    pub(crate) fn status(self) -> Result<ExitStatus, Failure> {
        self.echo();
        self.command()
            .status()
            .map_err(|error| self.did_not_start(&error))
    }

    /// Runs it; anything but success is a failure.
    pub(crate) fn run(self) -> Result<(), Failure> {
        let name = self.to_string();
        let status = self.status()?;
        if status.success() {
            return Ok(());
        }
        Err(Failure(format!("`{name}` failed: {status}")))
    }

    /// Runs it and hands every line of its output on, errors included, as well as to `line`.
    pub(crate) fn each_line(self, mut line: impl FnMut(&str)) -> Result<ExitStatus, Failure> {
        self.echo();
        let (reader, writer) = io::pipe()?;
        let mut command = self.command();
        command.stdout(writer.try_clone()?).stderr(writer);
        let mut child = command
            .spawn()
            .map_err(|error| self.did_not_start(&error))?;
        // Holds the writing ends, without which the loop below would never see the end.
        drop(command);
        let mut reader = BufReader::new(reader);
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes)? > 0 {
            let text = String::from_utf8_lossy(&bytes);
            // Unlike a handle on standard output, this is captured in this crate's own tests.
            print!("{text}");
            line(text.trim_end());
            bytes.clear();
        }
        Ok(child.wait()?)
    }

    /// Runs it for at most `limit` and says whether it succeeded in that time.
    pub(crate) fn within(self, limit: Duration) -> Result<bool, Failure> {
        self.echo();
        let mut child = self
            .command()
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| self.did_not_start(&error))?;
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status.success());
            }
            if Instant::now() >= end {
                child.kill()?;
                child.wait()?;
                eprintln!("`{self}` was still running after {} s", limit.as_secs());
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs it silently and returns its standard output.
    pub(crate) fn read(self) -> Result<String, Failure> {
        let output = self
            .command()
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| self.did_not_start(&error))?;
        if !output.status.success() {
            return Err(Failure(format!("`{self}` failed: {}", output.status)));
        }
        String::from_utf8(output.stdout)
            .map_err(|_| Failure(format!("`{self}` printed something that is not UTF-8")))
    }

    /// Runs it silently and says whether it succeeded.
    pub(crate) fn succeeds(&self) -> bool {
        self.command()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(root());
        command
    }

    fn echo(&self) {
        println!("\n$ {self}");
    }

    fn did_not_start(&self, error: &io::Error) -> Failure {
        Failure(format!("`{self}` did not start: {error}"))
    }
}

impl std::fmt::Display for Cmd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, value) in &self.env {
            write!(f, "{name}={} ", quoted(value))?;
        }
        let program = Path::new(&self.program);
        let name = program.file_name().unwrap_or(&self.program);
        f.write_str(&name.to_string_lossy())?;
        for arg in &self.args {
            write!(f, " {}", quoted(&arg.to_string_lossy()))?;
        }
        Ok(())
    }
}

/// As one would type it in a shell.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=./:,@+".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_echoed_as_one_would_type_it() {
        let cmd = program("/bin/tool")
            .args(["-D", "it's", ""])
            .env("FLAGS", "-D warnings");
        assert_eq!(cmd.to_string(), r"FLAGS='-D warnings' tool -D 'it'\''s' ''");
    }

    #[test]
    fn lines_of_both_streams_arrive_with_the_status() {
        let mut lines = Vec::new();
        let status = program("sh")
            .args(["-c", "echo one; echo two >&2; exit 3"])
            .each_line(|line| lines.push(line.to_owned()))
            .expect("sh runs");
        assert_eq!(status.code(), Some(3));
        assert_eq!(lines, ["one", "two"]);
    }

    #[test]
    fn what_does_not_end_in_time_is_ended() {
        let ended = program("sleep")
            .args(["600"])
            .within(Duration::from_millis(1))
            .expect("sleep runs");
        assert!(!ended);
    }

    #[test]
    fn a_missing_program_is_a_failure_with_its_name() {
        let error = program("/nonexistent/tool").run().expect_err("is missing");
        assert!(error.0.contains("`tool` did not start"), "{}", error.0);
    }
}
