//! The table of routes and the one filter in front of it.
//!
//! Every request passes one warp filter that never rejects: it takes the head that the accept loop
//! made and the body, and a tree of patterns finds the route in time proportional to the path's length,
//! however many routes there are.

mod pattern;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use http::header::{ALLOW, CONTENT_LENGTH, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::{Method, StatusCode};
use thiserror::Error;
use tokio::time::{Instant, timeout_at};
use warp::Filter;

pub use self::pattern::PathParameter;
pub(crate) use self::pattern::Pattern;
use crate::http::call::{Call, Head, Peer, Reply, Surface};
use crate::http::operation::Operation;
use crate::http::path::Canonical;

/// What runs for a route.
pub type Handler<S> = Arc<dyn Fn(Arc<S>, Call) -> BoxFuture<'static, Reply> + Send + Sync>;

/// One line of the table.
pub struct Route<S> {
    /// The method. `HEAD` and `OPTIONS` are answered by no route unless the table names them.
    pub method: Method,
    /// The path: literal segments in any case, `{name}` for one segment, `{name…}` for all that
    /// is left, slashes included.
    pub pattern: &'static str,
    /// The surface whose shape the refusals of this route have.
    pub surface: Surface,
    /// The route's name in metrics, logs and the description of the interface.
    pub name: &'static str,
    /// What that description says about it.
    pub operation: Operation,
    /// Whether its handler is run to its end, whatever becomes of the client.
    whole: bool,
    handler: Handler<S>,
}

impl<S> fmt::Debug for Route<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.method, self.pattern, self.name)
    }
}

impl<S> Route<S> {
    /// A route that `handler` answers.
    ///
    /// The handler of a safe method is dropped when the client hangs up or its time is over. Any
    /// other runs to its end on a task of its own, so that a write is never cut in half, while the
    /// client that waited too long is told so; so does one that is [`whole`](Self::whole).
    pub fn new<H, F>(
        method: Method,
        pattern: &'static str,
        surface: Surface,
        name: &'static str,
        operation: Operation,
        handler: H,
    ) -> Self
    where
        H: Fn(Arc<S>, Call) -> F + Send + Sync + 'static,
        F: Future<Output = Reply> + Send + 'static,
    {
        Self {
            whole: !method.is_safe(),
            method,
            pattern,
            surface,
            name,
            operation,
            handler: Arc::new(move |state, call| handler(state, call).boxed()),
        }
    }

    /// The same route, run to its end though its method is a safe one: it changes something all the
    /// same.
    pub fn whole(mut self) -> Self {
        self.whole = true;
        self
    }

    /// The parameters of the path, in their order.
    pub fn path_parameters(&self) -> impl Iterator<Item = PathParameter> {
        self.pattern.split('/').filter_map(PathParameter::of)
    }
}

/// Why the router itself answered a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No route has this path.
    NotFound,
    /// The path has routes, none with this method. The router adds `Allow`.
    MethodNotAllowed,
    /// The body is longer than the limit; the rest of it is not read.
    BodyTooLarge,
    /// The body did not arrive in time.
    BodyTimedOut,
    /// The body ended early or its framing is wrong.
    BodyBroken,
    /// The handler took too long. A write may still be done.
    TimedOut,
    /// The handler panicked.
    Failed,
}

impl Refusal {
    /// The status that goes with the refusal.
    pub fn status(self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::BodyBroken => StatusCode::BAD_REQUEST,
            Self::TimedOut => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Gives a refusal the shape of its surface.
pub type Refuse = fn(Surface, Refusal) -> Reply;

/// Bounds on one request.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// The longest body, in bytes.
    pub body: usize,
    /// The longest a request may take from the end of its headers to its reply, body included.
    pub time: Duration,
}

impl Default for RequestLimits {
    /// 256 KiB and 30 seconds.
    fn default() -> Self {
        Self {
            body: 256 * 1024,
            time: Duration::from_secs(30),
        }
    }
}

/// A table of routes that cannot be served.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TableError {
    /// Two routes have the same method and pattern.
    #[error("{method} {pattern} is in the table twice")]
    Duplicate {
        /// The method of both.
        method: Method,
        /// The pattern of both.
        pattern: &'static str,
    },
    /// The pattern is malformed, or names a parameter where another pattern names it differently.
    #[error("the pattern {0} is malformed or conflicts with another")]
    Pattern(&'static str),
}

/// One request that has been answered, for metrics.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    /// The route as an index into [`Router::routes`]; `None` when none was found.
    pub route: Option<usize>,
    /// The status of the reply.
    pub status: StatusCode,
    /// Time from the end of the request's headers to the reply.
    pub took: Duration,
}

type Observer = Box<dyn Fn(Answered) + Send + Sync>;

/// A request that the router itself refused.
#[derive(Debug)]
pub struct Refused {
    /// The request before its body.
    pub head: Arc<Head>,
    /// The pattern of the route, when one was found.
    pub pattern: Option<&'static str>,
    /// The status of the reply.
    pub status: StatusCode,
    /// Why, in words.
    pub reason: String,
}

type Recorder<S> = Box<dyn Fn(Arc<S>, Refused) -> BoxFuture<'static, ()> + Send + Sync>;

/// The routes of a server over the state `S`.
pub struct Router<S> {
    state: Arc<S>,
    routes: Vec<Route<S>>,
    tree: matchit::Router<Node>,
    refuse: Refuse,
    limits: RequestLimits,
    observer: Option<Observer>,
    recorder: Option<Recorder<S>>,
}

impl<S> fmt::Debug for Router<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("routes", &self.routes)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// What is known of one pattern.
struct Node {
    pattern: Arc<Pattern>,
    surface: Surface,
    methods: Vec<(Method, usize)>,
    allow: HeaderValue,
}

/// Why a request has no route: its path, or its method where the node has others.
enum Unrouted<'n> {
    Path(Surface),
    Method(&'n Node),
}

impl<S: Send + Sync + 'static> Router<S> {
    /// A router of `routes`, handing `state` to their handlers and `refuse` what it refuses.
    ///
    /// # Errors
    ///
    /// [`TableError`] when the table contradicts itself.
    pub fn new(
        state: Arc<S>,
        routes: Vec<Route<S>>,
        refuse: Refuse,
        limits: RequestLimits,
    ) -> Result<Self, TableError> {
        Ok(Self {
            tree: tree(&routes)?,
            state,
            routes,
            refuse,
            limits,
            observer: None,
            recorder: None,
        })
    }

    /// The same router, telling `observer` of every request it answered.
    pub fn observed_by(mut self, observer: impl Fn(Answered) + Send + Sync + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// The same router, having `recorder` record what the router itself refuses, before the reply.
    pub fn recorded_by(
        mut self,
        recorder: impl Fn(Arc<S>, Refused) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Self {
        self.recorder = Some(Box::new(recorder));
        self
    }

    /// The table.
    pub fn routes(&self) -> &[Route<S>] {
        &self.routes
    }

    /// The filter in front of the table. It never rejects.
    pub fn filter(
        self: &Arc<Self>,
    ) -> impl Filter<Extract = (Reply,), Error = warp::Rejection> + Clone + use<S> {
        let router = Arc::clone(self);
        warp::ext::optional::<Arc<Head>>()
            .and(warp::body::stream())
            .then(move |head: Option<Arc<Head>>, body| {
                let router = Arc::clone(&router);
                // Boxed, it is not copied along as part of each filter's own state.
                Box::pin(async move {
                    let Some(head) = head else {
                        tracing::error!("a request without its head: not from the accept loop");
                        return (router.refuse)(Surface::Iso, Refusal::Failed);
                    };
                    let framed = head.headers.contains_key(CONTENT_LENGTH)
                        || head.headers.contains_key(TRANSFER_ENCODING);
                    router.answer(head, framed.then_some(body)).await
                })
            })
    }

    /// Answers one request, body in hand; for callers without a socket.
    pub async fn call(&self, request: http::Request<Bytes>, peer: Peer) -> Reply {
        let (parts, body) = request.into_parts();
        let head = Head::new(parts.method, parts.uri, parts.headers, peer);
        let head = Arc::new(head);
        let body = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(body)]);
        self.answer(head, Some(body)).await
    }

    async fn answer<B, E>(
        &self,
        head: Arc<Head>,
        body: Option<impl Stream<Item = Result<B, E>>>,
    ) -> Reply
    where
        B: Buf,
    {
        let started = Instant::now();
        let path = Canonical::of(head.uri.path());
        let (route, reply) = match self.find(&head.method, &path) {
            Ok((index, pattern)) => {
                let asked = Arc::clone(&head);
                let ran = self.run(index, pattern, path, head, body, started).await;
                let reply = match ran {
                    Ok(reply) => reply,
                    Err(refusal) => {
                        let route = &self.routes[index];
                        let reply = (self.refuse)(route.surface, refusal);
                        self.record(asked, Some(route.pattern), &reply).await;
                        reply
                    }
                };
                (Some(index), reply)
            }
            Err(unrouted) => {
                let reply = self.refuse_unrouted(&unrouted);
                let pattern = match unrouted {
                    Unrouted::Path(_) => None,
                    Unrouted::Method(node) => Some(self.routes[node.methods[0].1].pattern),
                };
                self.record(head, pattern, &reply).await;
                (None, reply)
            }
        };
        if let Some(observe) = &self.observer {
            observe(Answered {
                route,
                status: reply.status,
                took: started.elapsed(),
            });
        }
        reply
    }

    async fn record(&self, head: Arc<Head>, pattern: Option<&'static str>, reply: &Reply) {
        let Some(record) = &self.recorder else {
            return;
        };
        let refused = Refused {
            head,
            pattern,
            status: reply.status,
            reason: reply.failure().unwrap_or_default().to_owned(),
        };
        record(Arc::clone(&self.state), refused).await;
    }

    /// The route for `method` and `path`, or why there is none.
    fn find(
        &self,
        method: &Method,
        path: &Canonical,
    ) -> Result<(usize, Arc<Pattern>), Unrouted<'_>> {
        let folded = path.folded();
        let Ok(found) = self.tree.at(&folded) else {
            return Err(Unrouted::Path(path.surface()));
        };
        let node = found.value;
        match node.methods.iter().find(|(allowed, _)| allowed == method) {
            Some((_, index)) => Ok((*index, Arc::clone(&node.pattern))),
            None => Err(Unrouted::Method(node)),
        }
    }

    fn refuse_unrouted(&self, unrouted: &Unrouted<'_>) -> Reply {
        match unrouted {
            Unrouted::Path(surface) => (self.refuse)(*surface, Refusal::NotFound),
            Unrouted::Method(node) => (self.refuse)(node.surface, Refusal::MethodNotAllowed)
                .header(ALLOW, node.allow.clone()),
        }
    }

    async fn run<B, E>(
        &self,
        index: usize,
        pattern: Arc<Pattern>,
        path: Canonical,
        head: Arc<Head>,
        body: Option<impl Stream<Item = Result<B, E>>>,
        started: Instant,
    ) -> Result<Reply, Refusal>
    where
        B: Buf,
    {
        let route = &self.routes[index];
        let deadline = started + self.limits.time;
        let body = match body {
            None => Bytes::new(),
            Some(body) => {
                let read = read_body(&head.headers, body, self.limits.body);
                match timeout_at(deadline, read).await {
                    Ok(Ok(body)) => body,
                    Ok(Err(refusal)) => return Err(refusal),
                    Err(_) => return Err(Refusal::BodyTimedOut),
                }
            }
        };
        let held = head.peer.clone();
        let call = Call {
            query: head.uri.query().unwrap_or_default().to_owned(),
            head,
            route: route.name,
            body,
            path,
            pattern,
        };
        let state = Arc::clone(&self.state);
        let handler = Arc::clone(&route.handler);
        // The state is shared behind locks of its own, which poison or do not as they see fit.
        let work = AssertUnwindSafe(async move {
            let _held = held;
            handler(state, call).await
        })
        .catch_unwind();
        let outcome = if route.whole {
            timeout_at(deadline, tokio::spawn(work))
                .await
                .map(|joined| joined.ok().and_then(Result::ok))
        } else {
            timeout_at(deadline, work).await.map(Result::ok)
        };
        let refusal = match outcome {
            Ok(Some(reply)) => return Ok(reply),
            Ok(None) => Refusal::Failed,
            Err(_) => Refusal::TimedOut,
        };
        tracing::error!(route = route.name, ?refusal, "no reply from the handler");
        Err(refusal)
    }
}

/// The whole body, at most `limit` bytes of it held at any time.
///
/// A declared length over the limit is refused before a byte is read.
async fn read_body<B: Buf, E>(
    headers: &HeaderMap,
    body: impl Stream<Item = Result<B, E>>,
    limit: usize,
) -> Result<Bytes, Refusal> {
    if let Some(length) = headers.get(CONTENT_LENGTH) {
        let length: Option<u64> = length.to_str().ok().and_then(|text| text.parse().ok());
        let length = length.ok_or(Refusal::BodyBroken)?;
        if usize::try_from(length).is_ok_and(|length| length <= limit) {
            if length == 0 {
                return Ok(Bytes::new());
            }
        } else {
            return Err(Refusal::BodyTooLarge);
        }
    }
    let mut body = pin!(body);
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let mut chunk = chunk.map_err(|_| Refusal::BodyBroken)?;
        let length = chunk.remaining();
        if first.len().max(whole.len()) + length > limit {
            return Err(Refusal::BodyTooLarge);
        }
        if first.is_empty() && whole.is_empty() {
            first = chunk.copy_to_bytes(length);
        } else {
            if whole.is_empty() {
                whole.extend_from_slice(&first);
            }
            whole.extend_from_slice(&chunk.copy_to_bytes(length));
        }
    }
    Ok(if whole.is_empty() {
        first
    } else {
        whole.freeze()
    })
}

/// The tree of all patterns.
fn tree<S>(routes: &[Route<S>]) -> Result<matchit::Router<Node>, TableError> {
    let mut nodes: BTreeMap<&'static str, (String, Node)> = BTreeMap::new();
    for (index, route) in routes.iter().enumerate() {
        let malformed = || TableError::Pattern(route.pattern);
        let (text, pattern) = Pattern::parse(route.pattern).ok_or_else(malformed)?;
        let (_, node) = nodes.entry(route.pattern).or_insert_with(|| {
            let node = Node {
                pattern: Arc::new(pattern),
                surface: route.surface,
                methods: Vec::new(),
                allow: HeaderValue::from_static(""),
            };
            (text, node)
        });
        if node
            .methods
            .iter()
            .any(|(method, _)| *method == route.method)
        {
            return Err(TableError::Duplicate {
                method: route.method.clone(),
                pattern: route.pattern,
            });
        }
        node.methods.push((route.method.clone(), index));
        let allow: Vec<&str> = node
            .methods
            .iter()
            .map(|(method, _)| method.as_str())
            .collect();
        node.allow = HeaderValue::try_from(allow.join(", ")).map_err(|_| malformed())?;
    }
    let mut tree = matchit::Router::new();
    for (pattern, (text, node)) in nodes {
        tree.insert(text, node)
            .map_err(|_| TableError::Pattern(pattern))?;
    }
    Ok(tree)
}

#[cfg(test)]
mod tests;
