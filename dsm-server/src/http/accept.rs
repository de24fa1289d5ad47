//! The accept loop: connections in, bounded in number and time, requests to a filter.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONNECTION, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Request, Response, Uri};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use warp::Filter;

use crate::http::call::{Head, Peer};
use crate::http::timed::{Progress, Timed, Times};

/// Bounds on connections.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Connections at once; more wait in the system's queue.
    pub connections: u32,
    /// From the connection, or the first byte of a later request, to the end of its headers.
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

/// How far the server is on its way down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Serving,
    Draining,
    Closing,
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

/// The places for connections.
#[derive(Clone)]
pub struct Places {
    free: Arc<Semaphore>,
    all: u32,
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} places taken", self.taken(), self.all)
    }
}

impl Places {
    /// Connections that are open now, and those whose last request still runs.
    pub fn taken(&self) -> u32 {
        let free = u32::try_from(self.free.available_permits()).unwrap_or(u32::MAX);
        self.all.saturating_sub(free)
    }
}

/// Serves `filter` over HTTP/1.1 to the connections of `listener`.
///
/// The filter finds the [`Head`] in the request's extensions. No error of a single connection or
/// of accepting one ends the server.
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
    filter: F,
) -> io::Result<Running>
where
    F: Filter<Extract = (R,), Error = warp::Rejection> + Clone + Send + Sync + 'static,
    F::Future: Send,
    R: warp::Reply + 'static,
{
    let addr = listener.local_addr()?;
    let places = Places {
        free: Arc::new(Semaphore::new(limits.connections as usize)),
        all: limits.connections,
    };
    let (stage, staged) = watch::channel(Stage::Serving);
    let service = TowerToHyperService::new(warp::service(filter));
    let accepting = tokio::spawn(accept(listener, limits, service, places.clone(), staged));
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
        let drained = timeout(grace, self.places.free.acquire_many(self.places.all))
            .await
            .is_ok();
        self.stage.send_replace(Stage::Closing);
        drained
    }
}

async fn accept<H, B>(
    listener: TcpListener,
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
    let mut pause = Pause::default();
    loop {
        let accepted = async {
            // The place is taken below; nobody else takes one while this loop runs.
            drop(places.free.acquire().await);
            listener.accept().await
        };
        let accepted = tokio::select! {
            biased;
            _ = stage.changed() => return,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, addr)) => {
                pause = Pause::default();
                let Ok(place) = Arc::clone(&places.free).try_acquire_owned() else {
                    continue;
                };
                let exchange = Exchange {
                    service: service.clone(),
                    peer: Peer::holding(addr, Arc::new(place)),
                    progress: Arc::default(),
                    places: places.clone(),
                };
                tokio::spawn(serve(
                    builder.clone(),
                    limits,
                    stream,
                    exchange,
                    stage.clone(),
                ));
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

/// Serves one connection to its end.
async fn serve<H, B>(
    builder: http1::Builder,
    limits: ConnectionLimits,
    stream: TcpStream,
    exchange: Exchange<H>,
    mut stage: watch::Receiver<Stage>,
) where
    H: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // Replies are written whole; without this the last segment of one could wait for an ACK.
    let _ = stream.set_nodelay(true);
    let progress = Arc::clone(&exchange.progress);
    let times = Times {
        head: limits.head,
        idle: limits.idle,
        write: limits.write,
    };
    let io = Timed::new(stream, times, Arc::clone(&progress));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), exchange));
    let mut serving = true;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    // Says what kind of failure it was, nothing of what was sent.
                    tracing::debug!(%error, "a connection ended early");
                }
                return;
            }
            stage = next_stage(&mut stage, serving) => {
                if stage == Stage::Closing {
                    return;
                }
                serving = false;
                progress.drain();
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Waits until a connection that is `serving`, or else draining, has to go on to the next stage.
async fn next_stage(stage: &mut watch::Receiver<Stage>, serving: bool) -> Stage {
    if serving {
        let staged = stage.wait_for(|stage| *stage != Stage::Serving).await;
        // A server that was dropped drains.
        return staged.map_or(Stage::Draining, |stage| *stage);
    }
    let closing = |stage: &Stage| *stage == Stage::Closing;
    let dropped = stage.wait_for(closing).await.is_err();
    if dropped {
        std::future::pending::<()>().await;
    }
    Stage::Closing
}

/// The requests of one connection.
struct Exchange<H> {
    service: H,
    peer: Peer,
    progress: Arc<Progress>,
    places: Places,
}

impl<H, B> Service<Request<Incoming>> for Exchange<H>
where
    H: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
{
    type Response = Response<Tracked<B>>;
    type Error = Infallible;
    type Future = Answer<H::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.progress.begin();
        if request.uri().path_and_query().is_none() {
            // `CONNECT host:port` has no path, and warp panics without one.
            *request.uri_mut() = Uri::from_static("/");
        }
        // Filters copy what they extract; what is shared is not copied.
        let head = Arc::new(Head {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: std::mem::take(request.headers_mut()),
            peer: self.peer.clone(),
        });
        request.extensions_mut().insert(head);
        Answer {
            reply: Box::pin(self.service.call(request)),
            progress: Arc::clone(&self.progress),
            places: self.places.clone(),
        }
    }
}

/// A reply on its way, to be completed with what every response carries.
struct Answer<F> {
    reply: Pin<Box<F>>,
    progress: Arc<Progress>,
    places: Places,
}

impl<F, B> Future for Answer<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = Result<Response<Tracked<B>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Poll::Ready(Ok(mut response)) = self.reply.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        let refused = response.status().is_client_error();
        let headers = response.headers_mut();
        let no_store = HeaderValue::from_static("no-store");
        headers.entry(CACHE_CONTROL).or_insert(no_store);
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.places.free.available_permits() == 0 {
            // Others wait for a place.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.progress.linger(refused);
        let progress = Arc::clone(&self.progress);
        Poll::Ready(Ok(response.map(|body| Tracked { body, progress })))
    }
}

/// A body whose end is the end of its request.
struct Tracked<B> {
    body: B,
    progress: Arc<Progress>,
}

impl<B> Drop for Tracked<B> {
    fn drop(&mut self) {
        self.progress.end();
    }
}

impl<B: Body + Unpin> Body for Tracked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
