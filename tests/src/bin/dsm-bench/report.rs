//! The whole run and its table.

use std::io::{self, BufRead as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use dsm_tests::client::{self, request};
use dsm_tests::server::{Server, command};

use crate::load::{Turn, turn};

/// More than this and the turn is repeated.
const STEAL: f64 = 0.02;

/// What to run.
pub(crate) struct Plan {
    pub(crate) connections: Vec<usize>,
    pub(crate) turns: usize,
    pub(crate) turn: Duration,
    pub(crate) data: Option<PathBuf>,
}

type Fault = Box<dyn std::error::Error>;

pub(crate) async fn run(plan: Plan) -> Result<(), Fault> {
    let temporary = tempfile::tempdir()?;
    let data = plan
        .data
        .clone()
        .unwrap_or_else(|| temporary.path().join("data"));
    let server = Server::quickstart(&data)?;
    let token = server.token().await?;
    let path = format!("/iso/sctm/secret/{}", server.printed.identity);
    let bearer = format!("Bearer {token}");
    let read: Arc<[u8]> = request("GET", &path, &[("Authorization", &bearer)], b"").into();
    let answer = client::Connection::open(server.addr())
        .await?
        .send(&read)
        .await?;
    if answer.status != 200 {
        return Err(format!("the secret cannot be read: {answer:?}").into());
    }
    let read = move || Arc::clone(&read);
    let file = temporary.path().join("answer.json");
    std::fs::write(&file, &answer.body)?;
    let bare = Bare::start(&file)?;
    let mut answers = 1;

    let mut out = io::stdout();
    writeln!(
        out,
        "reads over HTTP, {} bytes each, {} turns of {:?}",
        answer.body.len(),
        plan.turns,
        plan.turn
    )?;
    writeln!(
        out,
        "| connections | server | requests/s (median) | p50 | p99 | processors idle | of bare |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    for &connections in &plan.connections {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let mut repeated = 0;
        // A turn that does not count, so that both are warm.
        for addr in [bare.addr, server.addr()] {
            let warm = turn(addr, read.clone(), connections, plan.turn / 4).await?;
            answers += if addr == server.addr() {
                warm.answers
            } else {
                0
            };
        }
        while ours.len() < plan.turns {
            let first = turn(bare.addr, read.clone(), connections, plan.turn).await?;
            let second = turn(server.addr(), read.clone(), connections, plan.turn).await?;
            answers += second.answers;
            if first.steal.max(second.steal) > STEAL && repeated < 3 * plan.turns {
                repeated += 1;
                continue;
            }
            theirs.push(first);
            ours.push(second);
        }
        let pairs = theirs.iter().zip(&ours);
        let ratio = median(pairs.map(|(bare, ours)| ours.rate / bare.rate).collect());
        for (name, turns, share) in [("bare", &theirs, 1.0), ("dsm-server", &ours, ratio)] {
            writeln!(
                out,
                "| {connections} | {name} | {:.0} | {:.2} ms | {:.2} ms | {:.0} % | {:.0} % |",
                median(turns.iter().map(|turn| turn.rate).collect()),
                1e3 * median(turns.iter().map(|turn| turn.p50.as_secs_f64()).collect()),
                1e3 * median(turns.iter().map(|turn| turn.p99.as_secs_f64()).collect()),
                100.0 * median(turns.iter().map(|turn| turn.idle).collect()),
                100.0 * share,
            )?;
        }
        let worst = ours
            .iter()
            .chain(&theirs)
            .map(|turn: &Turn| turn.steal)
            .fold(0.0, f64::max);
        writeln!(
            out,
            "  ({repeated} turns repeated, steal at most {:.1} %)",
            100.0 * worst
        )?;
    }
    drop(bare);
    server.stop()?;
    check_trail(&data, answers, &mut out)
}

/// The trail verifies and has one record for each answer.
fn check_trail(data: &Path, answers: u64, out: &mut impl io::Write) -> Result<(), Fault> {
    let data = data.to_str().ok_or("a path in UTF-8")?;
    let verified = command(&["audit", "verify", "--data-dir", data]).output()?;
    if !verified.status.success() {
        let told = String::from_utf8_lossy(&verified.stdout).into_owned();
        return Err(format!("the trail does not verify: {told}").into());
    }
    let mut records = 0;
    for segment in std::fs::read_dir(Path::new(data).join("audit"))? {
        let path = segment?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "jsonl")
        {
            let file = io::BufReader::new(std::fs::File::open(path)?);
            for line in file.lines() {
                let line = line?;
                let read = line.contains("\"operation\":\"secret.read\"");
                records += u64::from(read && line.contains("\"result\":\"allowed\""));
            }
        }
    }
    writeln!(
        out,
        "{answers} answers, {records} audit records, the chain verifies"
    )?;
    if records == answers {
        Ok(())
    } else {
        Err("answers and audit records differ".into())
    }
}

/// The bare server in a process of its own; it ends with its standard input.
struct Bare {
    child: Child,
    addr: SocketAddr,
}

impl Bare {
    fn start(file: &Path) -> Result<Self, Fault> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--bare")
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("a pipe")?;
        io::BufReader::new(stdout).read_line(&mut line)?;
        Ok(Self {
            addr: line.trim().parse()?,
            child,
        })
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
