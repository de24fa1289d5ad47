//! A vault behind the routes, in this process, and a client that speaks to it.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use chrono::TimeDelta;
use dsm_core::access::{Permission, Permissions};
use dsm_core::crypto::StaticKeys;
use dsm_core::entropy::OsEntropy;
use dsm_core::testing::ManualClock;
use dsm_core::testing::provider::FakeTarget;
use dsm_core::vault::{Caller, NewOperator, Vault};
use dsm_server::api::{log, v1};
use dsm_server::app::App;
use dsm_server::http::call::Peer;
use dsm_server::http::client_ip::{ForwardedHeader, Forwarding};
use dsm_server::http::router::{RequestLimits, Router};
use dsm_server::openapi;
use dsm_server::throttle::ThrottleLimits;
use http::HeaderMap;
use serde_json::{Value, json};

use crate::conformance::{Conformance, Exchange};
use crate::store::TestStore;

/// The server and an operator who may do everything.
pub(crate) struct Server {
    pub(crate) router: Router<App>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) clock: Arc<ManualClock>,
    token: String,
    conformance: Conformance,
    _store: TestStore,
}

/// An answer, its body read as JSON; null when it is empty.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// A request on its way.
pub(crate) struct Ask<'s> {
    server: &'s Server,
    request: http::request::Builder,
    body: Bytes,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let clock = Arc::new(ManualClock::default());
        let store = TestStore::new().await;
        let keys = Arc::new(StaticKeys::generate(&OsEntropy));
        let vault = Vault::builder_dyn(store.store.clone(), keys)
            .clock(clock.clone())
            .provider("fake", FakeTarget::shared())
            .initialise()
            .await
            .expect("an empty store takes a vault");
        let vault = Arc::new(vault);
        let forwarding = Forwarding::new([], ForwardedHeader::XForwardedFor);
        let app = App::new(Arc::clone(&vault), forwarding);
        // More checks fail here than in a minute of anybody's.
        let app = Arc::new(app.throttled_by(ThrottleLimits {
            address: 0,
            client: 0,
        }));
        let router = Router::new(app, v1::routes(), v1::refuse, RequestLimits::default())
            .expect("the table is consistent")
            .recorded_by(log::refused);
        let conformance = Conformance::with(openapi::document(router.routes()));
        let mut server = Self {
            router,
            conformance,
            vault,
            clock,
            token: String::new(),
            _store: store,
        };
        server.token = server.operator(Permissions::all()).await;
        server
    }

    /// The token of a new operator with these permissions.
    pub(crate) async fn operator(&self, permissions: Permissions) -> String {
        let new = NewOperator {
            permissions,
            ..NewOperator::new("ada")
        };
        let caller = Caller::embedded("tests");
        let made = self.vault.create_operator(&caller, new).await;
        made.expect("an operator").1.expose().to_owned()
    }

    /// The token of a new operator with every permission but these.
    pub(crate) async fn operator_without(&self, lacking: &[Permission]) -> String {
        let all = Permission::ALL.iter().copied();
        self.operator(all.filter(|one| !lacking.contains(one)).collect())
            .await
    }

    pub(crate) fn ask(&self, method: &str, path: &str) -> Ask<'_> {
        Ask {
            server: self,
            request: http::Request::builder()
                .method(method)
                .uri(format!("/api/v1{path}")),
            body: Bytes::new(),
        }
        .header("authorization", &format!("Bearer {}", self.token))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path).answer().await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("POST", path).json(&body).answer().await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.ask("PATCH", path).json(&body).answer().await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path).answer().await
    }

    /// What is made by posting `body`, which must succeed.
    pub(crate) async fn make(&self, path: &str, body: Value) -> Value {
        let answer = self.post(path, body).await;
        assert_eq!(answer.status, 201, "{path}: {answer:?}");
        answer.body
    }

    /// Environment `production`, system `billing`, type `batch` and line `retail`.
    pub(crate) async fn registries(&self) {
        for (path, name) in [
            ("/environments", "production"),
            ("/systems", "billing"),
            ("/application-types", "batch"),
            ("/lines-of-business", "retail"),
        ] {
            self.make(path, json!({"name": name})).await;
        }
    }

    /// Beside the registries: secret 1 of two versions, secret 2, application 1 with
    /// authorization 1, to which secret 1 is attached, and application 2 with none.
    pub(crate) async fn furnish(&self) {
        self.registries().await;
        let first = json!({
            "identity": "db/main", "name": "Main database",
            "data": {"key_value": {"fields": {"PASSWORD": "hunter2"}}},
        });
        self.make("/secrets", first).await;
        let second = json!({"data": {"key_value": {"fields": {"PASSWORD": "hunter3"}}}});
        let answer = self.patch("/secrets/1", second).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        self.make("/secrets", json!({"identity": "other", "name": "Other"}))
            .await;
        for name in ["invoices", "empty"] {
            let body = json!({"name": name, "authentication_method": "oauth2"});
            self.make("/applications", body).await;
        }
        self.make("/applications/1/authorizations", authorization(&["1"]))
            .await;
    }

    pub(crate) fn advance(&self, by: TimeDelta) {
        self.clock.advance(by);
    }
}

impl Ask<'_> {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let value = http::HeaderValue::from_str(value).expect("a header's value");
        let headers = self.request.headers_mut().expect("a right request");
        let name = http::HeaderName::try_from(name).expect("a header's name");
        headers.insert(name, value);
        self
    }

    /// By the operator whose token this is.
    pub(crate) fn by(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        let headers = self.request.headers_mut().expect("a right request");
        headers.remove(name);
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.raw("application/json", body.to_string())
    }

    pub(crate) fn raw(self, content_type: &str, body: impl Into<Bytes>) -> Self {
        let mut ask = self.header("content-type", content_type);
        ask.body = body.into();
        ask
    }

    /// Which must be one that is described.
    pub(crate) async fn answer(self) -> Answer {
        let sent = self.body.clone();
        let request = self.request.body(self.body).expect("a right request");
        let (head, _) = request.clone().into_parts();
        let peer = Peer::new(SocketAddr::from(([127, 0, 0, 1], 40_000)));
        let reply = self.server.router.call(request, peer).await;
        let body = reply.body_bytes().expect("not a stream").clone();
        let header = |of: &HeaderMap, name: &str| {
            let value = of.get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let sent_type = header(&head.headers, "content-type");
        let exchange = Exchange {
            method: head.method.as_str(),
            target: &head.uri.to_string(),
            sent_type: sent_type.as_deref(),
            sent: &sent,
            status: reply.status.as_u16(),
            header: &|name| header(&reply.headers, name),
            body: &body,
        };
        if let Err(wrong) = self.server.conformance.check(&exchange) {
            panic!("{} {}: {wrong}", head.method, head.uri);
        }
        let body = if body.is_empty() {
            Value::Null
        } else if reply.headers["content-type"] == "application/x-pem-file" {
            Value::from(std::str::from_utf8(&body).expect("text"))
        } else {
            serde_json::from_slice(&body).expect("JSON")
        };
        Answer {
            status: reply.status.as_u16(),
            headers: reply.headers,
            body,
        }
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The names of the wrong fields of a problem, which must be a right problem document.
    pub(crate) fn wrong(&self) -> Vec<&str> {
        self.problem(self.status)
            .iter()
            .map(|error| error["field"].as_str().expect("a name"))
            .collect()
    }

    /// The errors of a problem document with this status.
    pub(crate) fn problem(&self, status: u16) -> &[Value] {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let members: Vec<&String> = self.body.as_object().expect("an object").keys().collect();
        assert_eq!(members, ["detail", "errors", "status", "title", "type"]);
        assert_eq!(self.body["status"], status);
        for text in ["type", "title", "detail"] {
            assert!(!self.body[text].as_str().expect("a text").is_empty());
        }
        let errors = self.body["errors"].as_array().expect("a list");
        for error in errors {
            let members: Vec<&String> = error.as_object().expect("an object").keys().collect();
            assert_eq!(members, ["field", "message"]);
        }
        errors
    }
}

/// The body of an authorization of application `invoices`.
pub(crate) fn authorization(secrets: &[&str]) -> Value {
    json!({
        "name": "nightly", "enabled": true, "encrypt_sensitive": false,
        "allow_application_creation": false, "environment": "production", "system": "billing",
        "allowed_ips": ["127.0.0.1", "10.0.0.0/8"], "secrets": secrets,
    })
}

/// The object without the members that every object has.
pub(crate) fn content(object: &Value) -> Value {
    let mut content = object.clone();
    let members = content.as_object_mut().expect("an object");
    for stamp in [
        "revision",
        "created_at",
        "created_by",
        "updated_at",
        "updated_by",
    ] {
        assert!(
            members.remove(stamp).is_some(),
            "{stamp} is missing in {object}"
        );
    }
    content
}
