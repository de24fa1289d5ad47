//! What every handler shares.

use std::sync::Arc;

use dsm_core::access::Origin;
use dsm_core::vault::Vault;
use http::header::REFERER;

use crate::http::call::Call;
use crate::http::client_ip::Forwarding;

/// The state behind the routes.
#[derive(Debug)]
pub struct App {
    /// The vault.
    pub vault: Arc<Vault>,
    /// Whose word about a client's address counts.
    pub forwarding: Forwarding,
}

impl App {
    /// The state over `vault`, with clients behind the proxies that `forwarding` trusts.
    pub fn new(vault: Arc<Vault>, forwarding: Forwarding) -> Self {
        Self { vault, forwarding }
    }

    /// Where `call` comes from.
    ///
    /// A referrer that is sent twice or is not visible ASCII counts as absent.
    pub fn origin(&self, call: &Call) -> Origin {
        Origin {
            ip: self
                .forwarding
                .client(call.head.peer.addr().ip(), call.headers()),
            referrer: call.header(REFERER).map(str::to_owned),
            certificate: None,
        }
    }
}
