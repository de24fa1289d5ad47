//! `quickstart`: a vault to try, on loopback.

mod example;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use dsm_core::crypto::{KeyProvider, StaticKeys};
use dsm_core::entropy::OsEntropy;
use dsm_core::store::MemoryStore;
use dsm_core::vault::AuditPlace;
use serde::Serialize;
use tokio::net::TcpListener;
use zeroize::Zeroizing;

use self::example::Example;
use super::{Failure, init, opening, serve, terminal};
use crate::config::{Config, DEFAULT_LISTEN, Flags};
use crate::http::accept;
use crate::serve::{Served, Server};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    flags: Flags,
    /// Print one line of JSON: url, client_id, client_secret, identity, operator_token
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let mut config = super::configure(&arguments.flags)?;
    if !config.listen.ip().to_canonical().is_loopback() {
        return Err(Failure::config(
            "quickstart serves on loopback only; for anything else use `dsm-server init` and \
             `dsm-server serve`",
        ));
    }
    if config.tls.is_some() {
        return Err(Failure::config(
            "quickstart serves plain HTTP; with TLS use `dsm-server init` and `dsm-server serve`",
        ));
    }
    config.auto_register = true;
    let signals = serve::prepare()?;
    let served = open(&config).await?;
    let vault = Arc::clone(&served.vault);
    let started = async {
        let example = example::find_or_make(&vault).await?;
        let listener = bind(&config, arguments.flags.listen.is_none())?;
        let server = serve::start(&config, served, listener)?;
        announce(&server, &example, &config, arguments.json)?;
        Ok(server)
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

/// Opens the vault, made if it is not there.
async fn open(config: &Config) -> Result<Served, Failure> {
    if config.store.scheme() == "memory" {
        return in_memory(config).await;
    }
    let store = init::open_store(config).await?;
    if !init::is_made(config, &store).await? {
        match init::make(config, &store).await {
            // Opened again below, with the trail where it is to be.
            Ok(vault) => vault.close().await,
            // Another server over the same store was faster.
            Err(_) if init::is_made(config, &store).await? => {}
            Err(failure) => {
                store.close().await;
                return Err(failure);
            }
        }
    }
    store.close().await;
    serve::open(config).await
}

/// A vault that ends with the process, key and trail included.
async fn in_memory(config: &Config) -> Result<Served, Failure> {
    let keys: Arc<dyn KeyProvider> = Arc::new(StaticKeys::generate(&OsEntropy));
    let store = Arc::new(MemoryStore::default());
    let builder = opening::builder(config, store, Arc::clone(&keys)).audit(AuditPlace::Store);
    Ok(Served {
        vault: Arc::new(builder.initialise().await?),
        keys,
        audit_dir: None,
        tls: None,
    })
}

/// The configured port, or a free one when it is the default's and taken.
fn bind(config: &Config, is_default: bool) -> Result<TcpListener, Failure> {
    let mut bound = accept::listen(config.listen);
    if let Err(error) = &bound
        && error.kind() == io::ErrorKind::AddrInUse
        && is_default
        && config.listen == DEFAULT_LISTEN
    {
        bound = accept::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    }
    bound.map_err(|error| serve::cannot_listen(config, &error))
}

/// What a script needs.
#[derive(Serialize)]
struct Line<'a> {
    url: &'a str,
    client_id: &'a str,
    client_secret: &'a str,
    identity: &'a str,
    operator_token: &'a str,
}

/// Says how to call the server, which answers already.
fn announce(
    server: &Server,
    example: &Example,
    config: &Config,
    json: bool,
) -> Result<(), Failure> {
    let url = format!("http://{}", server.local_addr());
    let (client_id, identity) = (&example.credentials.client_id, &example.identity);
    let client_secret = example.credentials.client_secret.expose();
    let operator_token = example.operator_token.expose();
    let text = if json {
        let line = Line {
            url: &url,
            client_id,
            client_secret,
            identity,
            operator_token,
        };
        serde_json::to_string(&line).expect("a struct of texts is JSON")
    } else {
        let place = match config.store.scheme() {
            "memory" => "memory, for as long as this runs".to_owned(),
            _ => config.store.to_string(),
        };
        format!(
            "The vault in {place} answers at {url}. As an application, get the example secret:

  TOKEN=$(curl -s {url}/iso/oauth2/token -d grant_type=client_credentials \\
    -d client_id={client_id} -d client_secret={client_secret} \\
    | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')
  curl -s -H \"Authorization: Bearer $TOKEN\" {url}/iso/sctm/secret/{identity}

As an operator, good for a day:

  curl -s -H 'Authorization: Bearer {operator_token}' {url}/api/v1/secrets
"
        )
    };
    terminal::say(&*Zeroizing::new(text))
}
