//! What every handler shares.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use dsm_core::access::{DenialClass, Origin};
use dsm_core::audit::Operation;
use dsm_core::oauth1::Scheme;
use dsm_core::vault::{Error, Vault};
use http::header::{AUTHORIZATION, REFERER};

use crate::api::status::{Failure, Kind};
use crate::http::call::{Call, Head};
use crate::http::client_certificate::{self, CLIENT_CERT};
use crate::http::client_ip::Forwarding;
use crate::throttle::{Source, Throttle, ThrottleLimits, Throttled};

/// The state behind the routes.
#[derive(Debug)]
pub struct App {
    /// The vault.
    pub vault: Arc<Vault>,
    /// Whose word about a client's address and certificate counts.
    pub forwarding: Forwarding,
    /// How often checks of credentials may fail.
    pub throttle: Arc<Throttle>,
}

/// A request whose credentials may be checked: only [`App::arrive`] makes one.
#[derive(Debug)]
pub struct Arrival {
    origin: Origin,
    ip: IpAddr,
    source: Source,
    operation: Operation,
}

impl Arrival {
    /// Where it comes from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

/// Which part of a request are credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The `Authorization` header.
    Header,
    /// The body, or a `Basic` header. A bearer token that comes along is the one to be replaced.
    Body,
}

/// Why a check of credentials gave nothing.
#[derive(Debug)]
pub enum Stopped {
    /// Too many have failed; in so many seconds it may be tried again.
    Throttled(u32),
    /// What the vault says.
    Vault(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Vault(error)
    }
}

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Throttled(seconds) => Kind::Throttled(seconds).into(),
            Stopped::Vault(error) => error.into(),
        }
    }
}

impl App {
    /// The state over `vault`, with clients behind the proxies that `forwarding` trusts.
    pub fn new(vault: Arc<Vault>, forwarding: Forwarding) -> Self {
        Self {
            vault,
            forwarding,
            throttle: Arc::new(Throttle::new(ThrottleLimits::default())),
        }
    }

    /// The address of the client that sent `head`, where it can be told.
    pub fn address(&self, head: &Head) -> Option<IpAddr> {
        let peer = head.peer.addr().ip();
        self.forwarding.client(peer, &head.headers).ok()
    }

    /// The same with other limits for failed checks.
    pub fn throttled_by(self, limits: ThrottleLimits) -> Self {
        Self {
            throttle: Arc::new(Throttle::new(limits)),
            ..self
        }
    }

    /// Takes in a request whose credentials are to be checked for `operation`, before any of it is
    /// read.
    ///
    /// # Errors
    ///
    /// When it cannot be told where it comes from, or when too many checks from there have failed.
    pub async fn arrive(
        &self,
        call: &Call,
        operation: Operation,
        proof: Proof,
    ) -> Result<Arrival, Stopped> {
        let (origin, ip) = self.origin(call, operation).await?;
        let source = self.throttle.source(ip, credentials(call, proof));
        let arrival = Arrival {
            origin,
            ip,
            source,
            operation,
        };
        match self.throttle.admit(source, self.vault.now()) {
            Ok(()) => Ok(arrival),
            Err(throttled) => {
                let what = "checks of credentials from this address";
                Err(Box::pin(self.refuse_throttled(&arrival, throttled, what)).await)
            }
        }
    }

    /// Runs the one check of an arrival's credentials, which claim to be `client`'s where they name
    /// one, and counts it if it fails.
    ///
    /// A check fails when its denial is of class `Unauthenticated`: also for reasons that have nothing
    /// to do with the credentials where outside all of them look the same, or whoever is not throttled
    /// would know that theirs are right.
    ///
    /// # Errors
    ///
    /// Those of the check, or that too many have failed.
    pub async fn check<T>(
        &self,
        arrival: &Arrival,
        client: Option<&str>,
        check: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Stopped> {
        let now = self.vault.now();
        if let Some(client) = client
            && let Err(throttled) = self.throttle.admit_client(arrival.source, client, now)
        {
            let what = "checks of this client's credentials from this address";
            return Err(Box::pin(self.refuse_throttled(arrival, throttled, what)).await);
        }
        let result = check.await;
        match &result {
            Ok(_) => self.throttle.succeeded(arrival.source),
            Err(Error::Denied(denial)) if denial.class() == DenialClass::Unauthenticated => {
                self.throttle.failed(arrival.source, client, now);
            }
            Err(_) => {}
        }
        Ok(result?)
    }

    /// What the client speaks, as it sees it itself: to this server, or to the trusted proxy that
    /// says so. `None` when what the proxy says cannot be read.
    pub fn scheme(&self, call: &Call) -> Option<Scheme> {
        let peer = &call.head.peer;
        self.forwarding
            .scheme(peer.addr().ip(), peer.scheme(), call.headers())
    }

    /// Lets a token that was just given out count as one that was good.
    pub fn introduce(&self, arrival: &Arrival, token: &str) {
        let shown: (&[u8], &[u8]) = (token.as_bytes(), &[]);
        self.throttle
            .succeeded(self.throttle.source(arrival.ip, shown));
    }

    /// The first refusal in a minute is recorded; a flood is not.
    async fn refuse_throttled(
        &self,
        arrival: &Arrival,
        throttled: Throttled,
        what: &str,
    ) -> Stopped {
        let Some(count) = throttled.first else {
            return Stopped::Throttled(throttled.retry_after);
        };
        let reason = format!(
            "{count} {what} have failed within a minute; further ones are refused for {} s, and \
             not recorded one by one",
            throttled.retry_after
        );
        let refused = self
            .vault
            .refuse_throttled(arrival.operation, arrival.ip, reason);
        match refused.await {
            Error::Denied(_) => Stopped::Throttled(throttled.retry_after),
            error => Stopped::Vault(error),
        }
    }

    /// Where `call` comes from, of which `operation` is asked.
    ///
    /// Behind a trusted proxy address and certificate are those that the proxy names, and never the
    /// proxy's own; from anybody else the headers in which it would name them are nothing. A referrer
    /// that is sent twice or is not visible ASCII counts as absent.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`], recorded with its reason, when what a trusted proxy says is missing or
    /// malformed.
    async fn origin(&self, call: &Call, operation: Operation) -> Result<(Origin, IpAddr), Error> {
        let (peer, headers) = (&call.head.peer, call.headers());
        let ip = match self.forwarding.client(peer.addr().ip(), headers) {
            Ok(ip) => ip,
            Err(error) => {
                let (header, proxy) = (self.forwarding.header(), peer.addr().ip());
                let reason = format!("{header} {error}, sent by the trusted proxy {proxy}");
                return Err(self.vault.refuse_origin(operation, None, reason).await);
            }
        };
        let certificate = if self.forwarding.trusts(peer.addr().ip()) {
            match client_certificate::forwarded(headers) {
                Ok(certificate) => certificate,
                Err(error) => {
                    let reason = format!("{CLIENT_CERT} {error}");
                    return Err(self.vault.refuse_origin(operation, Some(ip), reason).await);
                }
            }
        } else {
            peer.certificate().copied()
        };
        let origin = Origin {
            ip: Some(ip),
            referrer: call.header(REFERER).map(str::to_owned),
            certificate,
        };
        Ok((origin, ip))
    }
}

/// The credentials of a request as bytes, without looking into them.
fn credentials(call: &Call, proof: Proof) -> (&[u8], &[u8]) {
    let header = call.header(AUTHORIZATION).and_then(|header| {
        let (scheme, shown) = header.trim().split_once(' ')?;
        let replaced = proof == Proof::Body && scheme.eq_ignore_ascii_case("bearer");
        (!replaced).then(|| shown.trim().as_bytes())
    });
    let body = match proof {
        Proof::Header => &[][..],
        Proof::Body => &call.body,
    };
    (header.unwrap_or_default(), body)
}
