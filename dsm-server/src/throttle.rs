//! How often checks of credentials may fail.
//!
//! Two counters over a minute: one per address, looked at before anything of a request is read, and
//! one per client and address, looked at once the client is known by name. Only failed checks count.
//! Both are kept by address, so nobody can lock out whoever comes from elsewhere.
//!
//! Many clients may share an address. When it has failed too often, whoever got in from there before
//! with the very same credentials is still heard; a new one waits until the minute is over.

use std::fmt;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::TimeDelta;
use dsm_core::time::Timestamp;
use quick_cache::sync::Cache;

/// What is counted is forgotten this long after the first of it.
const WINDOW: TimeDelta = TimeDelta::minutes(1);
/// How many addresses, and how many pairs of client and address, are counted at the same time; those
/// that were met least lose their count first.
const COUNTED: usize = 65_536;
/// How many credentials are known to have been good.
const KNOWN: usize = 16_384;

/// Failed checks in a minute; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThrottleLimits {
    /// From one address: IPv4 whole, IPv6 by its first 64 bits.
    pub address: u32,
    /// Of one client from one address.
    pub client: u32,
}

impl Default for ThrottleLimits {
    fn default() -> Self {
        Self {
            address: 60,
            client: 20,
        }
    }
}

/// What has been counted since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThrottleCounts {
    /// Checks that failed.
    pub failed: u64,
    /// Requests refused for their address.
    pub by_address: u64,
    /// Requests refused for their client.
    pub by_client: u64,
}

/// Too many checks have failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Throttled {
    /// In how many seconds the count begins anew; at least one.
    pub(crate) retry_after: u32,
    /// How many checks had failed when it was refused for the first time in this minute.
    pub(crate) first: Option<u32>,
}

/// Where a check comes from and what is checked, as far as it is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source {
    address: Address,
    proof: u64,
}

/// An address as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Address(IpAddr);

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V6(ip) => {
                let network = ip.to_bits() >> 64 << 64;
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// The counters of a server. Bounded in memory, whoever sends what.
pub struct Throttle {
    addresses: Failures<Address>,
    clients: Failures<(Address, u64)>,
    /// Hashes of credentials that were good, each with the address it came from.
    known: Cache<u64, ()>,
    /// Keyed anew at each start: what is hashed is secret.
    hasher: RandomState,
    failed: AtomicU64,
    by_address: AtomicU64,
    by_client: AtomicU64,
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

impl Throttle {
    /// Counters that refuse beyond `limits`.
    pub fn new(limits: ThrottleLimits) -> Self {
        Self {
            addresses: Failures::new(limits.address),
            clients: Failures::new(limits.client),
            known: Cache::new(KNOWN),
            hasher: RandomState::new(),
            failed: AtomicU64::new(0),
            by_address: AtomicU64::new(0),
            by_client: AtomicU64::new(0),
        }
    }

    /// What has been counted so far.
    pub fn counts(&self) -> ThrottleCounts {
        ThrottleCounts {
            failed: self.failed.load(Ordering::Relaxed),
            by_address: self.by_address.load(Ordering::Relaxed),
            by_client: self.by_client.load(Ordering::Relaxed),
        }
    }

    /// `credentials` as they are sent from `ip`.
    pub(crate) fn source(&self, ip: IpAddr, credentials: impl Hash) -> Source {
        let address = Address::from(ip);
        Source {
            address,
            proof: self.hasher.hash_one((address, credentials)),
        }
    }

    /// Whether a check may be made, as far as the address goes. Costs nothing before the first failure.
    pub(crate) fn admit(&self, source: Source, now: Timestamp) -> Result<(), Throttled> {
        if self.failed.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        if let Some(throttled) = self.addresses.exceeded(&source.address, now)
            && self.known.get(&source.proof).is_none()
        {
            self.by_address.fetch_add(1, Ordering::Relaxed);
            return Err(self.addresses.told(&source.address, throttled));
        }
        Ok(())
    }

    /// Whether a check may be made of what claims to be `client`.
    pub(crate) fn admit_client(
        &self,
        source: Source,
        client: &str,
        now: Timestamp,
    ) -> Result<(), Throttled> {
        if self.failed.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let key = self.client(source, client);
        match self.clients.exceeded(&key, now) {
            None => Ok(()),
            Some(throttled) => {
                self.by_client.fetch_add(1, Ordering::Relaxed);
                Err(self.clients.told(&key, throttled))
            }
        }
    }

    /// Counts a check that failed.
    pub(crate) fn failed(&self, source: Source, client: Option<&str>, now: Timestamp) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.known.remove(&source.proof);
        self.addresses.count(&source.address, now);
        if let Some(client) = client {
            self.clients.count(&self.client(source, client), now);
        }
    }

    /// Remembers that the credentials were good.
    pub(crate) fn succeeded(&self, source: Source) {
        if self.known.get(&source.proof).is_none() {
            self.known.insert(source.proof, ());
        }
    }

    /// A client id in its one form, hashed: what is sent may be of any length.
    fn client(&self, source: Source, id: &str) -> (Address, u64) {
        let canonical = id.trim().to_ascii_lowercase();
        (source.address, self.hasher.hash_one(canonical))
    }
}

/// Failures by key, each over its own minute.
struct Failures<K> {
    limit: u32,
    windows: Cache<K, Arc<Mutex<Window>>>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    since: Timestamp,
    count: u32,
    told: bool,
}

impl Window {
    /// For how long it still counts. A clock that was set back ends it.
    fn left(&self, now: Timestamp) -> Option<TimeDelta> {
        let age = now - self.since;
        (TimeDelta::zero() <= age && age < WINDOW).then(|| WINDOW - age)
    }
}

impl<K: Hash + Eq + Clone> Failures<K> {
    fn new(limit: u32) -> Self {
        Self {
            limit,
            windows: Cache::new(COUNTED),
        }
    }

    fn exceeded(&self, key: &K, now: Timestamp) -> Option<Throttled> {
        if self.limit == 0 {
            return None;
        }
        let window = self.windows.get(key)?;
        let window = window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.count < self.limit {
            return None;
        }
        let left = window.left(now)?.num_milliseconds();
        Some(Throttled {
            retry_after: u32::try_from((left + 999) / 1_000).map_or(1, |left| left.max(1)),
            first: None,
        })
    }

    /// The same, with the count if it is the first refusal of this minute.
    fn told(&self, key: &K, throttled: Throttled) -> Throttled {
        let Some(window) = self.windows.get(key) else {
            return throttled;
        };
        let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
        let first = !std::mem::replace(&mut window.told, true);
        Throttled {
            first: first.then_some(window.count),
            ..throttled
        }
    }

    fn count(&self, key: &K, now: Timestamp) {
        if self.limit == 0 {
            return;
        }
        let new = Window {
            since: now,
            count: 0,
            told: false,
        };
        let made = self.windows.get_or_insert_with(key, || {
            Ok::<_, std::convert::Infallible>(Arc::new(Mutex::new(new)))
        });
        let Ok(window) = made;
        let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.left(now).is_none() {
            *window = new;
        }
        window.count = window.count.saturating_add(1);
    }
}

#[cfg(test)]
mod tests;
