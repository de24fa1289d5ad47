//! Metrics in the text format of Prometheus.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::http::call::Reply;
use crate::http::router::{Answered, Route};

/// The media type of what [`Metrics::reply`] gives.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds in seconds: reads take well under a millisecond, a key pair seconds.
const BUCKETS: [f64; 12] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0,
];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The name of a route when none was found.
const NO_ROUTE: &str = "none";

type Labels = [(&'static str, &'static str); 1];
type ClassLabels = [(&'static str, &'static str); 2];
type Count = Counter<u64, AtomicU64>;

/// The metrics of a server.
pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<ClassLabels, Count>,
    durations: Family<Labels, Histogram>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("dsm");
        let requests = Family::default();
        registry.register(
            "http_requests",
            "Requests answered, by route and class of status",
            requests.clone(),
        );
        let durations = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> _);
        registry.register(
            "http_request_duration_seconds",
            "Time from the end of the headers to the reply, by route",
            durations.clone(),
        );
        Self {
            registry: Mutex::new(registry),
            requests,
            durations,
        }
    }
}

impl Metrics {
    /// Counts what a router of `routes` answers. Routes that share a name share their counts.
    ///
    /// The series of every route exist from now on, so that a rate sees their first request.
    pub fn observer<S>(
        &self,
        routes: &[Route<S>],
    ) -> impl Fn(Answered) + Send + Sync + 'static + use<S> {
        let of_route = |route: &'static str| OfRoute {
            by_class: CLASSES.map(|class| {
                let labels = [("route", route), ("status", class)];
                self.requests.get_or_create_owned(&labels)
            }),
            duration: self.durations.get_or_create_owned(&[("route", route)]),
        };
        let routes: Vec<OfRoute> = routes.iter().map(|route| of_route(route.name)).collect();
        let none = of_route(NO_ROUTE);
        move |answered| {
            let route = answered.route.and_then(|index| routes.get(index));
            let route = route.unwrap_or(&none);
            route.by_class[class(answered.status)].inc();
            route.duration.observe(answered.took.as_secs_f64());
        }
    }

    /// Shows what `read` returns at each scrape as the gauge `dsm_{name}`.
    pub fn gauge(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        let read = Reading::Gauge(Box::new(read));
        self.show(Callback { name, help, read });
    }

    /// Shows what `read` returns at each scrape, which never shrinks, as the counter
    /// `dsm_{name}_total`.
    pub fn counter(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        let read = Reading::Counter(Box::new(read));
        self.show(Callback { name, help, read });
    }

    fn show(&self, callback: Callback) {
        self.registry
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .register_collector(Box::new(callback));
    }

    /// All metrics as text.
    pub fn text(&self) -> String {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        // Writing to a string does not fail; a gauge that panics would have.
        let _ = encode(&mut text, &registry);
        text
    }

    /// All metrics as the reply to a scrape.
    pub fn reply(&self) -> Reply {
        Reply::bytes(StatusCode::OK, MEDIA_TYPE, self.text())
    }
}

/// What is counted of one route, looked up once.
struct OfRoute {
    by_class: [Count; 5],
    duration: Histogram,
}

/// The index of the status among [`CLASSES`].
fn class(status: StatusCode) -> usize {
    usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1
}

struct Callback {
    name: &'static str,
    help: &'static str,
    read: Reading,
}

enum Reading {
    Gauge(Box<dyn Fn() -> f64 + Send + Sync>),
    Counter(Box<dyn Fn() -> u64 + Send + Sync>),
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Collector for Callback {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let (name, help) = (self.name, self.help);
        match &self.read {
            Reading::Gauge(read) => {
                let gauge = ConstGauge::new(read());
                gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
            }
            Reading::Counter(read) => {
                let counter = ConstCounter::new(read());
                counter.encode(encoder.encode_descriptor(
                    name,
                    help,
                    None,
                    counter.metric_type(),
                )?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use http::{Method, StatusCode};

    use super::Metrics;
    use crate::http::call::{Call, Reply, Surface};
    use crate::http::operation::{Credentials, Operation};
    use crate::http::router::{Answered, Route};

    async fn nothing(_: Arc<()>, _: Call) -> Reply {
        Reply::empty(StatusCode::OK)
    }

    #[test]
    fn requests_are_counted_by_route_and_class() {
        let metrics = Metrics::default();
        let route = |method| {
            let operation = Operation::new("a route of this test", Credentials::None);
            Route::new(method, "/a", Surface::V1, "a", operation, nothing)
        };
        let observe = metrics.observer(&[route(Method::GET), route(Method::POST)]);
        let answered = |route, status| Answered {
            route,
            status,
            took: Duration::from_millis(2),
        };
        observe(answered(Some(0), StatusCode::OK));
        observe(answered(Some(1), StatusCode::CREATED));
        observe(answered(Some(1), StatusCode::SERVICE_UNAVAILABLE));
        observe(answered(None, StatusCode::NOT_FOUND));
        let text = metrics.text();
        for line in [
            r#"dsm_http_requests_total{route="a",status="2xx"} 2"#,
            r#"dsm_http_requests_total{route="a",status="5xx"} 1"#,
            r#"dsm_http_requests_total{route="a",status="4xx"} 0"#,
            r#"dsm_http_requests_total{route="none",status="4xx"} 1"#,
            r#"dsm_http_request_duration_seconds_bucket{le="0.001",route="a"} 0"#,
            r#"dsm_http_request_duration_seconds_bucket{le="0.0025",route="a"} 3"#,
            r#"dsm_http_request_duration_seconds_count{route="a"} 3"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn gauges_are_read_at_each_scrape() {
        let metrics = Metrics::default();
        let value = Arc::new(std::sync::atomic::AtomicU32::new(1));
        let read = Arc::clone(&value);
        metrics.gauge("audit_lag_events", "Events behind", move || {
            f64::from(read.load(std::sync::atomic::Ordering::Relaxed))
        });
        assert!(metrics.text().contains("\ndsm_audit_lag_events 1.0\n"));
        value.store(7, std::sync::atomic::Ordering::Relaxed);
        assert!(metrics.text().contains("\ndsm_audit_lag_events 7.0\n"));
        metrics.counter("refused", "Refused", || 3);
        assert!(metrics.text().contains("\ndsm_refused_total 3\n"));
    }
}
