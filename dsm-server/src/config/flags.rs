//! The flags of the configuration.

use std::path::PathBuf;

use clap::Args;

use crate::config::settings::{Place, Settings};

/// Flags that every subcommand over a vault shares. They win over variables and the file.
#[derive(Debug, Clone, Default, Args)]
pub struct Flags {
    /// The configuration file, TOML [env: DSM_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The store: sqlite:PATH, postgres://…, redis://… or memory: [env: DSM_STORE]
    // Not read from the environment by clap, whose help would show the password.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Where the server keeps what is its own [env: DSM_DATA_DIR] [default: ./dsm-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// The address to listen on [env: DSM_LISTEN] [default: 127.0.0.1:8200]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Serve plain HTTP off loopback, behind something that ends TLS [env: DSM_ALLOW_PLAIN_HTTP]
    #[arg(long)]
    pub allow_plain_http: bool,
    /// Use a database that may lose what it has acknowledged [env: DSM_ACCEPT_DATA_LOSS]
    #[arg(long)]
    pub accept_data_loss: bool,
    /// The source of the root key, file:PATH or env:NAME [env: DSM_ROOT_KEY]
    #[arg(long, value_name = "SOURCE")]
    pub root_key: Option<String>,
    /// text or json [env: DSM_LOG_FORMAT]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// error, warn, info, debug, trace, or a filter such as dsm_server=debug [env: DSM_LOG_LEVEL]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Any other key of the configuration file, such as limits.connections=500
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl Flags {
    pub(super) fn add_to(&self, settings: &mut Settings) {
        for pair in &self.set {
            match pair.split_once('=') {
                Some((key, value)) => {
                    settings.add_named(key.trim(), value, Place::Flag(format!("--set {key}")));
                }
                None => settings.refuse_place(Place::Flag("--set".into()), "must be KEY=VALUE"),
            }
        }
        let plain = self.allow_plain_http.then(|| "true".to_owned());
        let lossy = self.accept_data_loss.then(|| "true".to_owned());
        for (key, flag, value) in [
            ("store", "--store", &self.store),
            ("data_dir", "--data-dir", &self.data_dir),
            ("listen", "--listen", &self.listen),
            ("allow_plain_http", "--allow-plain-http", &plain),
            ("accept_data_loss", "--accept-data-loss", &lossy),
            ("root_key", "--root-key", &self.root_key),
            ("log.format", "--log-format", &self.log_format),
            ("log.level", "--log-level", &self.log_level),
        ] {
            if let Some(value) = value {
                settings.add_named(key, value, Place::Flag(flag.into()));
            }
        }
    }
}
