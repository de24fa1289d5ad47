//! The vault behind its port: the table of routes, the accept loop, and the work that the vault
//! does by itself meanwhile.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dsm_core::crypto::KeyProvider;
use dsm_core::vault::{Error, Vault};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::api::{iso, log, v1};
use crate::app::App;
use crate::config::Config;
use crate::health::Health;
use crate::http::accept::{self, Running};
use crate::http::call::{Reply, Surface};
use crate::http::router::{Refusal, Route, Router};
use crate::http::tls::Tls;
use crate::metrics::Metrics;
use crate::openapi;
use crate::throttle::{Throttle, ThrottleCounts};

/// How often the vault does what is due, and how many jobs at a time.
const WORK_EVERY: Duration = Duration::from_secs(1);
const JOBS: usize = 100;
/// How often what ended is removed, and how much at a time.
const SWEEP_EVERY: Duration = Duration::from_mins(1);
const SWEPT: usize = 500;
/// How many credentials are rotated at the same time, on all targets together.
const ROTATIONS: usize = 32;

/// What is served.
#[derive(Debug)]
pub struct Served {
    /// The vault.
    pub vault: Arc<Vault>,
    /// Where its root keys come from.
    pub keys: Arc<dyn KeyProvider>,
    /// Where its audit trail is, if it is in a folder.
    pub audit_dir: Option<PathBuf>,
    /// What secures its connections; they are plain without.
    pub tls: Option<Arc<Tls>>,
}

/// A server at work.
#[derive(Debug)]
pub struct Server {
    running: Running,
    vault: Arc<Vault>,
    working: JoinHandle<()>,
    reloading: Option<JoinHandle<()>>,
    rotating: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Server {
    /// Answers the connections of `listener` and starts the work, within a Tokio runtime.
    ///
    /// # Errors
    ///
    /// When the listener has no local address.
    pub fn start(config: &Config, served: Served, listener: TcpListener) -> io::Result<Self> {
        let Served {
            vault,
            keys,
            audit_dir,
            tls,
        } = served;
        let metrics = Arc::new(Metrics::default());
        let health = Health::new(Arc::clone(&vault), keys, audit_dir, Arc::clone(&metrics));
        let app = App::new(Arc::clone(&vault), config.forwarding());
        let app = app.throttled_by(config.throttle);
        watch_throttle(&metrics, &app.throttle);
        let router = Router::new(
            Arc::new(app),
            routes(&Arc::new(health)),
            refuse,
            config.requests,
        )
        .expect("the table is fixed, and a test builds it");
        let observer = metrics.observer(router.routes());
        let router = router.observed_by(observer).recorded_by(log::refused);
        let router = Arc::new(router);
        let (connections, filter) = (config.connections, router.filter());
        let running = accept::start(listener, connections, tls.clone(), filter)?;
        add_gauges(&metrics, &running, &vault);
        let reloading = tls.map(|tls| watch_tls(&metrics, tls)).transpose()?;
        let (stop, stopped) = watch::channel(false);
        let rotating = tokio::spawn(rotate(Arc::clone(&vault), stopped.clone()));
        let working = tokio::spawn(work(Arc::clone(&vault), stopped));
        Ok(Self {
            running,
            vault,
            working,
            reloading,
            rotating,
            stop,
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.running.local_addr()
    }

    /// Serves until a signal comes. Then running requests get up to `grace` to be answered, unless
    /// a second signal comes, and the vault is closed.
    pub async fn run(self, mut signals: Signals, grace: Duration) {
        let signal = signals.next().await;
        tracing::info!(signal, "stopping; running requests are answered first");
        let drained = tokio::select! {
            drained = self.running.shutdown(grace) => drained,
            signal = signals.next() => {
                tracing::warn!(signal, "stopping at once");
                false
            }
        };
        if !drained {
            tracing::warn!("requests were still running and are not answered");
        }
        if let Some(reloading) = self.reloading {
            reloading.abort();
        }
        // The receiver is gone when the work has ended by a panic, which is logged.
        let _ = self.stop.send(true);
        let _ = self.working.await;
        let _ = self.rotating.await;
        self.vault.close().await;
        tracing::info!("stopped");
    }
}

/// The signals that stop a server: SIGTERM and SIGINT.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over; from now on they end nothing by themselves.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn take() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The name of the next one.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// All routes of a server; it has no others.
pub fn routes(health: &Arc<Health>) -> Vec<Route<App>> {
    let mut routes = health.routes();
    routes.extend(iso::routes());
    routes.extend(v1::routes());
    openapi::with_description(routes)
}

/// A refusal of the router in the shape of its surface.
pub fn refuse(surface: Surface, refusal: Refusal) -> Reply {
    match surface {
        Surface::Iso => iso::refuse(surface, refusal),
        Surface::V1 => v1::refuse(surface, refusal),
        Surface::Health => {
            let status = refusal.status();
            let reason = status.canonical_reason().unwrap_or_default();
            Reply::bytes(status, "text/plain; charset=utf-8", format!("{reason}\n"))
        }
    }
}

fn add_gauges(metrics: &Metrics, running: &Running, vault: &Arc<Vault>) {
    let places = running.places();
    metrics.gauge("connections", "Connections that are open", move || {
        f64::from(places.taken())
    });
    // Scrapes may come as long as the router is there, the vault need not be kept for them.
    let vault = Arc::downgrade(vault);
    let help = "Entries by which the second copy of the audit trail is behind";
    metrics.gauge("audit_lag_entries", help, move || {
        let lag = vault.upgrade().map_or(0, |vault| vault.audit_lag());
        f64::from(u32::try_from(lag).unwrap_or(u32::MAX))
    });
}

fn watch_throttle(metrics: &Metrics, throttle: &Arc<Throttle>) {
    let shown = |name, help, read: fn(ThrottleCounts) -> u64| {
        let throttle = Arc::clone(throttle);
        metrics.counter(name, help, move || read(throttle.counts()));
    };
    let help = "Checks of credentials that failed";
    shown("throttle_failed_checks", help, |counts| counts.failed);
    let help = "Requests refused because checks from their address failed too often";
    shown("throttle_refused_by_address", help, |counts| {
        counts.by_address
    });
    let help = "Requests refused because checks of their client failed too often";
    shown("throttle_refused_by_client", help, |counts| {
        counts.by_client
    });
}

/// Counts handshakes that fail, and reads the files again at each SIGHUP.
fn watch_tls(metrics: &Metrics, tls: Arc<Tls>) -> io::Result<JoinHandle<()>> {
    let counted = Arc::clone(&tls);
    let help = "TLS handshakes that failed or took too long";
    metrics.counter("tls_handshake_failures", help, move || {
        counted.failed_handshakes()
    });
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            match tls.reload() {
                Ok(()) => tracing::info!("SIGHUP: the TLS files are read again"),
                Err(error) => {
                    tracing::error!(%error, "SIGHUP: the TLS files are refused; the old ones stay");
                }
            }
        }
    }))
}

/// Does what is due until it is told to stop; never in the middle of a round.
async fn work(vault: Arc<Vault>, mut stop: watch::Receiver<bool>) {
    let mut tick = interval(WORK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sweep_at = Instant::now() + SWEEP_EVERY;
    let mut failing = false;
    loop {
        tokio::select! {
            biased;
            _ = stop.changed() => return,
            _ = tick.tick() => {}
        }
        let sweep = Instant::now() >= sweep_at;
        if sweep {
            sweep_at = Instant::now() + SWEEP_EVERY;
        }
        // A fault that lasts is said once, and so is its end.
        match round(&vault, sweep, &stop).await {
            Ok(()) if failing => {
                failing = false;
                tracing::info!("the vault does again what is due");
            }
            Err(error) if !failing => {
                failing = true;
                tracing::error!(%error, "the vault cannot do what is due");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

/// Rotates what is due until it is told to stop, apart from the other work: targets may be slow.
async fn rotate(vault: Arc<Vault>, mut stop: watch::Receiver<bool>) {
    let stopped = async move {
        let _ = stop.changed().await;
    };
    vault.renew_until(ROTATIONS, stopped).await;
}

async fn round(vault: &Vault, sweep: bool, stop: &watch::Receiver<bool>) -> Result<(), Error> {
    while !*stop.borrow() {
        let worked = vault.work(JOBS).await?;
        if worked.expired + worked.failed < JOBS {
            break;
        }
    }
    while sweep && !*stop.borrow() {
        if vault.sweep(SWEPT).await?.swept < SWEPT {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use dsm_core::crypto::StaticKeys;
    use dsm_core::entropy::OsEntropy;
    use dsm_core::store::MemoryStore;
    use http::{Method, Request};

    use super::*;
    use crate::http::call::Peer;
    use crate::http::router::RequestLimits;

    async fn router() -> Router<App> {
        let keys = StaticKeys::generate(&OsEntropy);
        let vault = Vault::builder(MemoryStore::default(), keys.clone()).initialise();
        let vault = Arc::new(vault.await.expect("an empty store"));
        let health = Health::new(Arc::clone(&vault), Arc::new(keys), None, Arc::default());
        let forwarding = crate::http::client_ip::Forwarding::default();
        let app = Arc::new(App::new(vault, forwarding));
        let limits = RequestLimits::default();
        Router::new(app, routes(&Arc::new(health)), refuse, limits).expect("one table")
    }

    #[tokio::test]
    async fn the_table_contradicts_itself_nowhere() {
        let router = router().await;
        let of = |surface| router.routes().iter().filter(move |r| r.surface == surface);
        for surface in [Surface::Iso, Surface::V1, Surface::Health] {
            assert!(of(surface).count() > 0, "{surface:?}");
        }
    }

    #[tokio::test]
    async fn every_surface_refuses_in_its_own_shape() {
        let router = router().await;
        for (path, content_type) in [
            ("/iso/nothing", "application/json"),
            ("/nothing", "application/json"),
            ("/api/v1/nothing", "application/problem+json"),
            ("/livez", "text/plain; charset=utf-8"),
        ] {
            let request = Request::builder().method(Method::DELETE).uri(path);
            let request = request.body(bytes::Bytes::new()).expect("a request");
            let peer = Peer::new(([127, 0, 0, 1], 1).into());
            let reply = router.call(request, peer).await;
            assert!(reply.status.is_client_error());
            assert_eq!(reply.headers["content-type"], content_type, "{path}");
        }
    }
}
