//! `check`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use dsm_core::store::{Store, StoreError};

use super::opening::{self, Purpose};
use super::{Failure, exit, terminal};
use crate::config::{Config, Flags};
use crate::health;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    flags: Flags,
}

/// The lines, and the code of the first that is not well.
#[derive(Debug, Default)]
struct Findings {
    code: u8,
    lines: Vec<String>,
}

impl Findings {
    fn add(&mut self, part: &str, found: Result<String, Failure>) {
        let line = match found {
            Ok(text) => format!("ok      {part}: {text}"),
            Err(failure) => {
                if self.code == 0 {
                    self.code = failure.code();
                }
                let text = failure.to_string().replace('\n', "\n        ");
                format!("REFUSED {part}: {text}")
            }
        };
        self.lines.push(line);
    }
}

/// Looks at what a start looks at. Makes nothing, and disturbs no server that runs.
pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let mut findings = Findings::default();
    match super::configure(&arguments.flags) {
        Ok(config) => {
            let text = format!("listens on {}", config.listen);
            findings.add("configuration", Ok(text));
            look(&config, &mut findings).await;
        }
        Err(failure) => findings.add("configuration", Err(failure)),
    }
    let end = match findings.code {
        0 => "a server would start",
        _ => "a server would not start",
    };
    findings.lines.push(end.to_owned());
    terminal::say(findings.lines.join("\n"))?;
    Ok(ExitCode::from(findings.code))
}

async fn look(config: &Config, findings: &mut Findings) {
    match opening::tls(config) {
        Ok(None) => {}
        Ok(Some(_)) => findings.add("tls", Ok("the files fit together".to_owned())),
        Err(failure) => findings.add("tls", Err(failure)),
    }
    let keys = opening::keys(config);
    let loaded = keys.load().map(|keys| {
        let (active, older) = (keys.active().id(), keys.retired().len());
        format!("{} has {active} and {older} older", config.root_key)
    });
    findings.add("key", loaded.map_err(Failure::from));
    match opening::open_store(config, &config.store, Purpose::Beside).await {
        Ok(store) => {
            let answer = store.probe().await.map(|()| config.store.to_string());
            findings.add("store", answer.map_err(|error: StoreError| error.into()));
            findings.add("vault", unlock(config, &store).await);
            store.close().await;
        }
        Err(failure) => findings.add("store", Err(failure)),
    }
    findings.add("audit", folder(&config.audit_dir));
}

async fn unlock(config: &Config, store: &Arc<dyn Store>) -> Result<String, Failure> {
    let builder = opening::builder(config, Arc::clone(store), opening::keys(config));
    builder.unlock().await?;
    Ok("the key opens it".to_owned())
}

/// The folder, or the nearest one above it that is there, can be written to.
fn folder(audit: &Path) -> Result<String, Failure> {
    let there = audit.ancestors().find(|folder| folder.exists());
    let there = match there {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    health::can_record(there).map_err(|reason| Failure::new(exit::IO, reason))?;
    Ok(format!(
        "{} can be written; `dsm-server audit verify` checks what it holds",
        audit.display()
    ))
}
