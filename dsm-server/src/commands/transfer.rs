//! `migrate`, `backup` and `restore`.

use std::fs::{File, Permissions};
use std::io::{BufWriter, IsTerminal as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use dsm_core::entropy::OsEntropy;
use dsm_core::store::Store;
use dsm_core::transfer::{self, Progress};
use indicatif::{ProgressBar, ProgressStyle};

use super::opening::{self, Purpose};
use super::{Failure, terminal};
use crate::config::{Flags, StoreUrl};

/// The variables of `migrate`: arguments can be read by every user of a machine.
pub(crate) const FROM: &str = "DSM_MIGRATE_FROM";
pub(crate) const TO: &str = "DSM_MIGRATE_TO";

#[derive(Debug, Args)]
pub(super) struct Migrate {
    /// The store to read, which no server may write to meanwhile. A URL with a password is better
    /// given by the variable
    #[arg(long, value_name = "URL", env = FROM, hide_env_values = true)]
    from: StoreUrl,
    /// The store to fill: an empty one, or one that an interrupted migration has begun to fill
    #[arg(long, value_name = "URL", env = TO, hide_env_values = true)]
    to: StoreUrl,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Args)]
pub(super) struct Backup {
    /// The file to write, which must not exist
    file: PathBuf,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The file to read
    file: PathBuf,
    #[command(flatten)]
    flags: Flags,
}

/// Copies one store into another. What is in them stays sealed; no root key is needed.
pub(super) async fn migrate(arguments: Migrate) -> Result<ExitCode, Failure> {
    let config = super::configure(&arguments.flags)?;
    if arguments.from.expose() == arguments.to.expose() {
        return Err(Failure::config("--from and --to are the same store"));
    }
    let from = opening::open_store(&config, &arguments.from, Purpose::Serve).await?;
    let done = async {
        let to = opening::open_store(&config, &arguments.to, Purpose::Create).await?;
        let copied = copy(&*from, &*to).await;
        to.close().await;
        copied
    };
    let done = done.await;
    from.close().await;
    terminal::say(format_args!("{}", done?))?;
    Ok(ExitCode::SUCCESS)
}

async fn copy(from: &dyn Store, to: &dyn Store) -> Result<String, Failure> {
    let mut shown = Shown::start();
    let copied = transfer::migrate(from, to, |progress| shown.at(progress)).await;
    let rate = shown.finish();
    Ok(format!(
        "both hold {}; {rate}.\nThe root key and the audit folder stay where they are.",
        copied?
    ))
}

pub(super) async fn backup(arguments: Backup) -> Result<ExitCode, Failure> {
    let config = super::configure(&arguments.flags)?;
    let path = &arguments.file;
    let failed = |error| Failure::io(format!("{} cannot be written", path.display()), &error);
    if path.symlink_metadata().is_ok() {
        return Err(failed(std::io::ErrorKind::AlreadyExists.into()));
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    // Under another name until it is whole: what has the name is a backup. Gone if it is not.
    let file = tempfile::Builder::new()
        .prefix(".dsm-backup-")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .map_err(failed)?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let vault = opening::open_beside(&config).await?;
    let mut shown = Shown::start();
    let written = vault
        .backup(&opening::command_line(), &mut out, |progress| {
            shown.at(progress);
        })
        .await;
    let rate = shown.finish();
    vault.close().await;
    let (header, contents) = written?;
    let file = out
        .into_inner()
        .map_err(|error| failed(error.into_error()))?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist_noclobber(path)
        .map_err(|error| failed(error.error))?;
    let folder = File::open(folder).map_err(failed)?;
    folder.sync_all().map_err(failed)?;
    terminal::say(format_args!(
        "{} holds {contents}; {rate}.\nIt opens with root key {}, which is not in it: keep a copy of \
         {} apart from it.",
        path.display(),
        header.root_key,
        config.root_key,
    ))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn restore(arguments: Restore) -> Result<ExitCode, Failure> {
    let config = super::configure(&arguments.flags)?;
    let keys = opening::keys(&config);
    let path = arguments.file.clone();
    let opening = {
        let keys = Arc::clone(&keys);
        move || transfer::Backup::open(path, keys, Arc::new(OsEntropy))
    };
    let backup = tokio::task::spawn_blocking(opening).await;
    let backup = backup.map_err(|error| Failure::fault(&error))??;
    let header = backup.header();
    terminal::note(format_args!(
        "{} is whole: a backup of {}, sealed under root key {}",
        arguments.file.display(),
        header.created_at.format("%Y-%m-%dT%H:%M:%SZ"),
        header.root_key,
    ));
    let store = opening::open_store(&config, &config.store, Purpose::Create).await?;
    let mut shown = Shown::start();
    let restored = backup.restore(&*store, |progress| shown.at(progress)).await;
    let rate = shown.finish();
    store.close().await;
    terminal::say(format_args!(
        "{} holds {}; {rate}.\n`dsm-server serve` starts with it.",
        config.store, restored?
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// How often progress is said at least where there is no terminal to draw on.
const SAID_EVERY: Duration = Duration::from_secs(5);
/// How many times it is said in all, if it goes fast.
const STEPS: u64 = 20;

/// Progress on standard error: a bar on a terminal, else a line now and then.
struct Shown {
    bar: Option<ProgressBar>,
    started: Instant,
    said: Instant,
    step: u64,
    progress: Progress,
}

impl Shown {
    fn start() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = "{bar:40} {pos}/{len} ({per_sec}, {eta} left)";
            let style = ProgressStyle::with_template(style);
            ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        let now = Instant::now();
        Self {
            bar,
            started: now,
            said: now,
            step: 0,
            progress: Progress::default(),
        }
    }

    fn at(&mut self, progress: Progress) {
        self.progress = progress;
        if let Some(bar) = &self.bar {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
            return;
        }
        let step = progress.done * STEPS / progress.total.max(1);
        if step > self.step || self.said.elapsed() >= SAID_EVERY {
            (self.said, self.step) = (Instant::now(), step);
            terminal::note(format_args!("{} of {}", progress.done, progress.total));
        }
    }

    /// Ends the bar; tells how fast it was.
    fn finish(self) -> String {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        let seconds = self.started.elapsed().as_secs_f64().max(1e-3);
        #[allow(clippy::cast_precision_loss, reason = "for people to read")]
        let rate = self.progress.done as f64 / seconds;
        format!("{seconds:.1} s, {rate:.0} a second")
    }
}
