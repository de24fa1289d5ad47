//! The accept loop: connections in, bounded in number and time, requests to a filter.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioTimer;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use warp::Filter;

use crate::http::call::Peer;
use crate::http::connection::{self, Accepted, Exchange, Stage};
use crate::http::places::Places;
use crate::http::timed::{Progress, Times};
use crate::http::tls::Tls;

/// Bounds on connections.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Connections at once; more wait in the system's queue, and those not in use make room.
    pub connections: u32,
    /// From the connection, or the first byte of a later request, to the end of its headers; a TLS
    /// handshake is part of it.
    pub head: Duration,
    /// Between a reply and the next request. Longer than proxies keep a connection, so that it is
    /// they who close it.
    pub idle: Duration,
    /// Without the client taking a byte of its reply.
    pub write: Duration,
    /// All headers of a request together, in bytes.
    pub header_bytes: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 2_048,
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            write: Duration::from_secs(30),
            header_bytes: 32 * 1024,
        }
    }
}

/// A server that accepts connections. Dropped without [`shutdown`](Self::shutdown) it stops
/// accepting and lets what runs come to its end.
pub struct Running {
    addr: SocketAddr,
    stage: watch::Sender<Stage>,
    places: Places,
    accepting: JoinHandle<()>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

/// How many connections may wait in the system's queue. With less, those of a burst are forgotten there,
/// and their clients believe that they are connected.
const BACKLOG: u32 = 4_096;

/// Listens at `addr`.
///
/// # Errors
///
/// When the address is in use or not of this machine.
pub fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A server that was stopped may be started again at once.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// Serves `filter` over HTTP/1.1 to the connections of `listener`, which is plain without `tls`.
///
/// The filter finds the [`Head`](crate::http::call::Head) in the request's extensions. No error of a
/// single connection or of accepting one ends the server.
///
/// # Errors
///
/// When the listener has no local address.
///
/// # Panics
///
/// Outside of a tokio runtime.
pub fn start<F, R>(
    listener: TcpListener,
    limits: ConnectionLimits,
    tls: Option<Arc<Tls>>,
    filter: F,
) -> io::Result<Running>
where
    F: Filter<Extract = (R,), Error = warp::Rejection> + Clone + Send + Sync + 'static,
    F::Future: Send,
    R: warp::Reply + 'static,
{
    let addr = listener.local_addr()?;
    let places = Places::new(limits.connections);
    let (stage, staged) = watch::channel(Stage::Serving);
    let service = TowerToHyperService::new(warp::service(filter));
    let accepting = tokio::spawn(accept(
        (listener, tls),
        limits,
        service,
        places.clone(),
        staged,
    ));
    Ok(Running {
        addr,
        stage,
        places,
        accepting,
    })
}

impl Running {
    /// The address the server listens on, its port settled.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// The places for connections, to be watched.
    pub fn places(&self) -> Places {
        self.places.clone()
    }

    /// Stops accepting, closes idle connections, waits until running requests have been answered,
    /// at most `grace`, and closes what is left. Returns whether nothing was left.
    ///
    /// A write that still runs after `grace` goes on as long as the runtime does.
    pub async fn shutdown(self, grace: Duration) -> bool {
        self.stage.send_replace(Stage::Draining);
        // The loop ends by itself; an error would be its panic, which leaves it ended too.
        let _ = self.accepting.await;
        let drained = timeout(grace, self.places.vacated()).await.is_ok();
        self.stage.send_replace(Stage::Closing);
        drained
    }
}

async fn accept<H, B>(
    (listener, tls): (TcpListener, Option<Arc<Tls>>),
    limits: ConnectionLimits,
    service: H,
    places: Places,
    mut stage: watch::Receiver<Stage>,
) where
    H: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    H::Future: Send,
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // The socket times headers itself, together with the other phases.
        .header_read_timeout(None)
        .max_header_size(limits.header_bytes)
        .max_buf_size(limits.header_bytes.max(64 * 1024));
    let times = Times {
        head: limits.head,
        idle: limits.idle,
        write: limits.write,
    };
    let mut pause = Pause::default();
    loop {
        let accepted = async {
            let accepted = listener.accept().await;
            if accepted.is_ok() {
                // It is taken below; nobody else takes one while this loop runs.
                places.vacancy().await;
            }
            accepted
        };
        let accepted = tokio::select! {
            biased;
            _ = stage.changed() => return,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, addr)) => {
                pause = Pause::default();
                let progress = Arc::new(Progress::default());
                let Some(place) = places.take(&progress) else {
                    continue;
                };
                let accepted = Accepted {
                    stream,
                    tls: tls.clone(),
                    times,
                    exchange: Exchange {
                        service: service.clone(),
                        peer: Peer::holding(addr, Arc::new(place)),
                        progress,
                        places: places.clone(),
                    },
                    stage: stage.clone(),
                };
                tokio::spawn(connection::serve(builder.clone(), accepted));
            }
            Err(error) if of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections for now");
                sleep(pause.next()).await;
            }
        }
    }
}

/// Whether accepting failed for the sake of one client, who is gone already.
fn of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Growing pauses while the system has no descriptors or memory for another connection.
#[derive(Debug, Default)]
struct Pause(u32);

impl Pause {
    fn next(&mut self) -> Duration {
        let pause = Duration::from_millis(10 << self.0.min(7));
        self.0 = self.0.saturating_add(1);
        pause.min(Duration::from_secs(1))
    }
}
