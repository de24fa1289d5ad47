//! One connection from its handshake to its end, and the requests on it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{CACHE_CONTROL, CONNECTION, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Request, Response, Uri};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::http::call::{Head, Peer};
use crate::http::places::Places;
use crate::http::timed::{Progress, Timed, Times};
use crate::http::tls::Tls;

/// How far the server is on its way down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Serving,
    Draining,
    Closing,
}

/// A connection that was accepted, with its place.
pub(crate) struct Accepted<H> {
    pub(crate) stream: TcpStream,
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) times: Times,
    pub(crate) exchange: Exchange<H>,
    pub(crate) stage: watch::Receiver<Stage>,
}

/// Serves one connection to its end.
pub(crate) async fn serve<H, B>(builder: http1::Builder, accepted: Accepted<H>)
where
    H: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Accepted {
        stream,
        tls,
        times,
        mut exchange,
        mut stage,
    } = accepted;
    // Replies are written whole; without this the last segment of one could wait for an ACK.
    let _ = stream.set_nodelay(true);
    let progress = Arc::clone(&exchange.progress);
    // Below TLS: the time of the headers is that of the handshake too, and every byte counts.
    let io = Timed::new(stream, times, Arc::clone(&progress));
    let Some(tls) = tls else {
        return converse(builder, io, exchange, stage).await;
    };
    let secured = tokio::select! {
        secured = tls.accept(io) => secured,
        () = progress.asked_to_leave() => return,
        _ = next_stage(&mut stage, true) => return,
    };
    match secured {
        Ok(io) => {
            exchange.peer = exchange.peer.showing(io.certificate()).over_tls();
            converse(builder, io, exchange, stage).await;
        }
        Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
    }
}

/// Answers the requests of one connection.
async fn converse<I, H, B>(
    builder: http1::Builder,
    io: I,
    exchange: Exchange<H>,
    mut stage: watch::Receiver<Stage>,
) where
    I: AsyncRead + AsyncWrite + Unpin,
    H: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let progress = Arc::clone(&exchange.progress);
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
            () = progress.asked_to_leave() => connection.as_mut().graceful_shutdown(),
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
pub(crate) struct Exchange<H> {
    pub(crate) service: H,
    pub(crate) peer: Peer,
    pub(crate) progress: Arc<Progress>,
    pub(crate) places: Places,
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
        let head = Arc::new(Head::new(
            request.method().clone(),
            request.uri().clone(),
            std::mem::take(request.headers_mut()),
            self.peer.clone(),
        ));
        request.extensions_mut().insert(head);
        Answer {
            reply: Box::pin(self.service.call(request)),
            progress: Arc::clone(&self.progress),
            places: self.places.clone(),
        }
    }
}

/// A reply on its way, to be completed with what every response carries.
pub(crate) struct Answer<F> {
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
        if self.places.are_wanted() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.progress.linger(refused);
        let progress = Arc::clone(&self.progress);
        Poll::Ready(Ok(response.map(|body| Tracked { body, progress })))
    }
}

/// A body whose end is the end of its request.
pub(crate) struct Tracked<B> {
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
