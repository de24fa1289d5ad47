//! `serve`.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tokio::net::TcpListener;

use super::opening::{self, Purpose};
use super::{Failure, exit, terminal};
use crate::config::{Config, Flags};
use crate::hardening;
use crate::http::accept;
use crate::serve::{Served, Server, Signals};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    flags: Flags,
    /// Print the configuration with secrets masked, and stop
    #[arg(long)]
    print_config: bool,
}

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    if arguments.print_config {
        let config = super::load(&arguments.flags)?;
        terminal::say(config.to_toml().trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = super::configure(&arguments.flags)?;
    let tls = opening::tls(&config)?;
    let mut signals = prepare()?;
    let served = tokio::select! {
        served = open(&config) => Served { tls, ..served? },
        // Waiting for a store is given up at once.
        signal = signals.next() => {
            tracing::info!(signal, "stopped before it served");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let vault = Arc::clone(&served.vault);
    let started = async {
        let listener = bind(&config)?;
        start(&config, served, listener)
    };
    match started.await {
        Ok(server) => {
            server.run(signals, config.drain_grace).await;
            Ok(ExitCode::SUCCESS)
        }
        Err(failure) => {
            vault.close().await;
            Err(failure)
        }
    }
}

/// What a serving process takes from the system before anything else.
pub(super) fn prepare() -> Result<Signals, Failure> {
    if let Err(error) = hardening::raise_open_files() {
        tracing::warn!(%error, "fewer connections than configured may be possible");
    }
    Signals::take().map_err(|error| Failure::os("signals cannot be taken over", &error))
}

/// Opens what is there; nothing is made.
pub(super) async fn open(config: &Config) -> Result<Served, Failure> {
    let keys = opening::keys(config);
    let store = opening::open_store(config, &config.store, Purpose::Serve).await?;
    let builder = opening::builder(config, Arc::clone(&store), Arc::clone(&keys));
    match builder.audit(opening::audit_place(config)).open().await {
        Ok(vault) => Ok(Served {
            vault: Arc::new(vault),
            keys,
            audit_dir: Some(config.audit_dir.clone()),
            tls: None,
        }),
        Err(error) => {
            store.close().await;
            Err(error.into())
        }
    }
}

fn bind(config: &Config) -> Result<TcpListener, Failure> {
    accept::listen(config.listen).map_err(|error| cannot_listen(config, &error))
}

pub(super) fn cannot_listen(config: &Config, error: &std::io::Error) -> Failure {
    let address = config.listen;
    Failure::new(
        exit::SYSTEM,
        format!("cannot listen on {address}: {error}; give another address with --listen"),
    )
}

/// Starts to answer, which the log says.
pub(super) fn start(
    config: &Config,
    served: Served,
    listener: TcpListener,
) -> Result<Server, Failure> {
    let secured = served.tls.is_some();
    let server = Server::start(config, served, listener)
        .map_err(|error| Failure::os("the port cannot be served", &error))?;
    let scheme = if secured { "https" } else { "http" };
    tracing::info!(address = %server.local_addr(), scheme, "serving");
    Ok(server)
}
