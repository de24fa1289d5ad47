//! Programs that end with the process of the tests, however that ends.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take to start, on a machine with little to spare.
const PATIENCE: Duration = Duration::from_mins(2);
const TICK: Duration = Duration::from_millis(20);

/// Runs a program in a session of its own and says which process it is. Kills the group once it
/// is told to or the pipe to it closes, which it does however the process of the tests ends. Then the
/// script `end` in its folder is run, if there is one, and the folder goes as well.
const KEEPER: &str = r#"
trap '' INT TERM HUP
folder=$1
shift
setsid "$@" </dev/null >>"$folder/log" 2>&1 &
program=$!
echo "$program"
read -r order
kill -KILL "-$program" 2>/dev/null
wait "$program" 2>/dev/null
[ ! -e "$folder/end" ] || sh "$folder/end" </dev/null >/dev/null 2>&1
rm -rf "$folder"
"#;

/// A program with a folder of its own, both gone with this handle or with the process of the tests.
#[derive(Debug)]
pub(crate) struct Kept {
    folder: PathBuf,
    keeper: Child,
    orders: Option<ChildStdin>,
    process: u32,
}

/// A new folder for a program; who starts none there removes it.
pub(crate) fn folder(prefix: &str) -> io::Result<PathBuf> {
    Ok(TempDir::with_prefix(prefix)?.keep())
}

/// A port of this machine that was free just now.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Runs a program to its end and gives what it printed.
///
/// # Errors
///
/// All that it said, when it failed.
pub(crate) fn run(command: &mut Command) -> io::Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(io::Error::other(
        String::from_utf8_lossy(&said).into_owned(),
    ))
}

impl Kept {
    /// Runs `program` with its environment; what it says is in the file `log` of its folder.
    pub(crate) fn start(folder: PathBuf, program: &Command) -> io::Result<Self> {
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(&folder);
        keeper.arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => keeper.env(name, value),
                None => keeper.env_remove(name),
            };
        }
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped());
        // A terminal's interrupt is for the tests; the keeper follows them by its pipe.
        let mut keeper = keeper.process_group(0).spawn()?;
        let orders = keeper.stdin.take();
        let mut said = String::new();
        if let Some(stdout) = keeper.stdout.take() {
            BufReader::new(stdout).read_line(&mut said)?;
        }
        let mut kept = Self {
            folder,
            keeper,
            orders,
            process: 0,
        };
        kept.process = said
            .trim()
            .parse()
            .map_err(|_| io::Error::other("the program was not started"))?;
        Ok(kept)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits until `ready` says so.
    pub(crate) fn wait_until(&self, mut ready: impl FnMut() -> bool) -> io::Result<()> {
        let start = Instant::now();
        while !ready() {
            let over = start.elapsed() > PATIENCE;
            if over || !Path::new(&format!("/proc/{}", self.process)).exists() {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                return Err(io::Error::other(format!("it does not start: {log}")));
            }
            sleep(TICK);
        }
        Ok(())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        drop(self.orders.take());
        // Whether it could be waited for changes nothing.
        let _ = self.keeper.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_program_outlives_its_handle() {
        let folder = folder("dsm-kept-").unwrap();
        let mut program = Command::new("sh");
        program
            .args(["-c", "sleep 300 & echo $! >\"$0/child\"; wait"])
            .arg(&folder);
        let kept = Kept::start(folder.clone(), &program).unwrap();
        let child = || fs::read_to_string(folder.join("child")).unwrap_or_default();
        kept.wait_until(|| child().ends_with('\n')).unwrap();
        let is_there = |process: &str| {
            let state = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            // What nobody has waited for yet is dead all the same.
            !state.is_empty() && !state.contains(") Z ")
        };
        let processes = [kept.process.to_string(), child().trim().to_owned()];
        assert!(processes.iter().all(|process| is_there(process)));
        drop(kept);
        assert!(!processes.iter().any(|process| is_there(process)));
        assert!(!folder.exists());
    }
}
