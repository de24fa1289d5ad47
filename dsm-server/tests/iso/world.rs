//! A vault with something in it, and a client that checks whatever it is answered.

use std::sync::Arc;

use bytes::Bytes;
use chrono::TimeDelta;
use dsm_core::access::Resource;
use dsm_core::crypto::StaticKeys;
use dsm_core::entropy::OsEntropy;
use dsm_core::id::{ApplicationId, AuthorizationId, SecretId};
use dsm_core::secret::{
    AccessKey, CloudProvider, Credential, DataPatch, KeyValue, Labels, SecretData,
};
use dsm_core::testing::ManualClock;
use dsm_core::vault::{
    ApplicationFields, AuthorizationFields, Caller, ClientCredentials, Registry, SecretFields,
    Vault, VaultOptions,
};
use dsm_server::api::{iso, log};
use dsm_server::app::App;
use dsm_server::http::call::Peer;
use dsm_server::http::client_ip::Forwarding;
use dsm_server::http::router::{RequestLimits, Router};
use dsm_server::openapi;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::Value;

use crate::check::{default_object_ok, go_types_ok};
use crate::conformance::{Conformance, Exchange};
use crate::store::TestStore;

pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
pub(crate) const JSON: &str = "application/json";
pub(crate) const IDENTITY: &str = "Team/db.main";

pub(crate) struct World {
    pub(crate) vault: Arc<Vault>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) me: Caller,
    pub(crate) application: ApplicationId,
    pub(crate) authorization: AuthorizationId,
    /// The one secret that is attached.
    pub(crate) secret: SecretId,
    pub(crate) credentials: ClientCredentials,
    store: TestStore,
    router: Router<App>,
    conformance: Conformance,
    peer: std::cell::Cell<&'static str>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    pub(crate) bytes: Bytes,
}

impl Answer {
    pub(crate) fn message(&self) -> &str {
        self.body["response"]["message"].as_str().expect("a text")
    }

    /// Asserts a failure and that its message begins like this.
    #[track_caller]
    pub(crate) fn fails(&self, status: u16, begin: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        assert!(self.message().starts_with(begin), "{}", self.message());
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(VaultOptions::default()).await
    }

    pub(crate) async fn with(options: VaultOptions) -> Self {
        let clock = Arc::new(ManualClock::default());
        let store = TestStore::new().await;
        let keys = Arc::new(StaticKeys::generate(&OsEntropy));
        let vault = Vault::builder_dyn(store.store.clone(), keys)
            .clock(clock.clone())
            .options(options)
            .initialise()
            .await
            .expect("a vault");
        let vault = Arc::new(vault);
        let me = Caller::embedded("test");
        for (registry, name) in [(Registry::System, "sys"), (Registry::Environment, "env")] {
            let made = vault.create_registry_entry(&me, registry, name, "").await;
            made.expect("an entry");
        }
        let secret = vault.create_secret(&me, IDENTITY, secret_fields()).await;
        let secret = secret.expect("a secret").id;
        let mut fields = ApplicationFields::new("app");
        fields.tags = Some(vec!["t1".to_owned(), "t2".to_owned()]);
        let application = vault.create_application(&me, fields).await;
        let application = application.expect("an application").id;
        let authorization = vault
            .create_authorization(&me, application, authorization_fields(vec![secret]))
            .await;
        let authorization = authorization.expect("an authorization").id;
        let credentials = vault.reveal_credentials(&me, authorization).await;
        let app = Arc::new(App::new(vault.clone(), Forwarding::default()));
        let limits = RequestLimits::default();
        let router = Router::new(app, iso::routes(), iso::refuse, limits)
            .expect("a table")
            .recorded_by(log::refused);
        let conformance = Conformance::with(openapi::document(router.routes()));
        Self {
            vault,
            clock,
            me,
            application,
            authorization,
            secret,
            credentials: credentials
                .expect("credentials")
                .into_oauth2()
                .expect("of OAuth 2.0"),
            store,
            router,
            conformance,
            peer: std::cell::Cell::new("192.0.2.1:4000"),
        }
    }

    /// From now on requests come from elsewhere.
    pub(crate) fn come_from(&self, peer: &'static str) {
        self.peer.set(peer);
    }

    pub(crate) async fn break_store(&self) {
        self.store.store.close().await;
    }

    /// Changes the authorization.
    pub(crate) async fn authorize(&self, change: impl FnOnce(&mut AuthorizationFields)) {
        let mut fields = AuthorizationFields::default();
        change(&mut fields);
        self.vault
            .update_authorization(&self.me, self.authorization, fields, None)
            .await
            .expect("a change");
    }

    /// A secret beside the attached one.
    pub(crate) async fn other_secret(&self, identity: &str) -> SecretId {
        let fields = SecretFields::new("other", SecretData::key_values([("K", "other value")]));
        let made = self.vault.create_secret(&self.me, identity, fields).await;
        made.expect("a secret").id
    }

    /// The version of the attached secret.
    pub(crate) async fn version(&self) -> u64 {
        let found = self.vault.find_secret(&self.me, self.secret).await;
        found.expect("the secret").version
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let sent: Bytes = body.into();
        let request = request.body(sent.clone()).expect("a request");
        let (method, target) = (request.method().clone(), request.uri().to_string());
        let sent_type = headers.iter().find(|(name, _)| *name == "content-type");
        let peer = Peer::new(self.peer.get().parse().expect("an address"));
        let reply = self.router.call(request, peer).await;
        let bytes = reply.body_bytes().expect("not a stream").clone();
        let body: Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(reply.headers[CONTENT_TYPE], JSON);
        go_types_ok(&body).unwrap_or_else(|wrong| panic!("{wrong}: {body}"));
        default_object_ok(reply.status, &body).unwrap_or_else(|wrong| panic!("{wrong}: {body}"));
        let exchange = Exchange {
            method: method.as_str(),
            target: &target,
            sent_type: sent_type.map(|(_, value)| *value),
            sent: &sent,
            status: reply.status.as_u16(),
            header: &|name| Some(reply.headers.get(name)?.to_str().ok()?.to_owned()),
            body: &bytes,
        };
        let described = self.conformance.check(&exchange);
        described.unwrap_or_else(|wrong| panic!("{method} {target}: {wrong}"));
        Answer {
            status: reply.status,
            headers: reply.headers,
            body,
            bytes,
        }
    }

    /// A token for these credentials.
    pub(crate) async fn token_for(&self, id: &str, secret: &str) -> String {
        let body = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
        let headers = [("content-type", FORM)];
        let answer = self
            .send(Method::POST, "/iso/oauth2/token", &headers, body)
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["access_token"]
            .as_str()
            .expect("a token")
            .into()
    }

    pub(crate) async fn token(&self) -> String {
        self.token_for(
            &self.credentials.client_id,
            self.credentials.client_secret.expose(),
        )
        .await
    }

    /// A request as the clients send it: with the content type of a form, body or not.
    pub(crate) async fn with_token(
        &self,
        token: &str,
        method: Method,
        path: &str,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [
            (AUTHORIZATION.as_str(), bearer.as_str()),
            ("content-type", content_type),
        ];
        self.send(method, path, &headers, body).await
    }

    pub(crate) async fn get(&self, token: &str, path: &str) -> Answer {
        self.with_token(token, Method::GET, path, FORM, "").await
    }

    pub(crate) async fn delete(&self, token: &str, path: &str) -> Answer {
        self.with_token(token, Method::DELETE, path, FORM, "").await
    }

    pub(crate) async fn post(&self, token: &str, path: &str, body: &Value) -> Answer {
        let body = body.to_string();
        self.with_token(token, Method::POST, path, JSON, body).await
    }

    pub(crate) async fn post_form(&self, token: &str, path: &str, body: &str) -> Answer {
        let body = body.to_owned();
        self.with_token(token, Method::POST, path, FORM, body).await
    }
}

/// Addresses of the documentation network, all resources, creation allowed.
pub(crate) fn authorization_fields(secrets: Vec<SecretId>) -> AuthorizationFields {
    let mut fields = AuthorizationFields::new("sys", "env");
    fields.allowed_ips = Some(vec!["192.0.2.0/24".to_owned()]);
    fields.allow_application_creation = Some(true);
    fields.resources = Some(Resource::ALL.map(|r| r.to_string()).into());
    fields.secrets = Some(secrets);
    fields
}

/// A secret of every kind of value that matters on the wire, due on 2026-02-03 04:05:06.
fn secret_fields() -> SecretFields {
    let at = "2026-02-03T04:05:06Z".parse().expect("an instant");
    SecretFields {
        name: Some("Main database".to_owned()),
        description: Some("for the team".to_owned()),
        expires_at: Some(Some(at)),
        data: DataPatch {
            credentials: Some(vec![Credential {
                host: Some("h".to_owned()),
                user: Some("u".to_owned()),
                password: Some("it's\n\"p\"".into()),
                ip: Some("198.51.100.1".to_owned()),
                labels: Labels {
                    user: Some("DB_USER".to_owned()),
                    ..Labels::default()
                },
                ..Credential::default()
            }]),
            access_keys: Some(vec![AccessKey {
                provider: CloudProvider::Aws,
                access_key_id: Some("AK".to_owned()),
                secret_access_key: Some("sk".into()),
                ttl: None,
                access_key_id_label: None,
                secret_access_key_label: None,
                managed: None,
            }]),
            key_values: Some(
                [
                    ("A".to_owned(), KeyValue(Some("1".into()))),
                    ("N".to_owned(), KeyValue(None)),
                ]
                .into(),
            ),
            ..DataPatch::default()
        },
        ..SecretFields::default()
    }
}

/// What clients see of those values.
pub(crate) fn shown_data() -> Value {
    serde_json::json!([
        {"hostname": "h", "DB_USER": "u", "password": "it's\n\"p\"", "ip": "198.51.100.1"},
        {"access_key_id": "AK", "secret_access_key": "sk", "TTL": null},
        {"A": "1", "N": null},
    ])
}

pub(crate) fn hours(hours: i64) -> TimeDelta {
    TimeDelta::hours(hours)
}
