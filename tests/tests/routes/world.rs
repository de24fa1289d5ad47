//! A furnished vault behind every route, in this process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use dsm_core::access::{
    AuthenticationMethod, CredentialProfile, Origin, Permissions, SealingFormat,
};
use dsm_core::crypto::StaticKeys;
use dsm_core::entropy::OsEntropy;
use dsm_core::id::{ApplicationId, AuthorizationId, SecretId};
use dsm_core::pipeline::Assignments;
use dsm_core::provider::Login;
use dsm_core::provision::ProfileKind;
use dsm_core::secret::{Credential, Managed, SecretData};
use dsm_core::store::{ChangeSet, Job, Kind, MemoryStore, Page, Query, Record, Store as _, Topic};
use dsm_core::testing::provider::{FakeCall, FakeTarget, Fault};
use dsm_core::testing::{FakeSts, ManualClock};
use dsm_core::vault::{
    ApplicationFields, AuthorizationFields, Caller, ClientCredentials, Container, Credentials,
    NewAdmin, NewOperator, ProfileFields, Registry, SecretFields, TargetFields,
    VariableRegistration, Vault,
};
use dsm_server::api::log;
use dsm_server::app::App;
use dsm_server::health::Health;
use dsm_server::http::call::Peer;
use dsm_server::http::client_ip::{ForwardedHeader, Forwarding};
use dsm_server::http::router::{RequestLimits, Route, Router};
use dsm_server::{openapi, serve};

use crate::conformance::{Conformance, Exchange};
use crate::exchange::{Answer, Ask};
use crate::request::public_key;

/// The only address that the authorizations allow.
pub(crate) const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10));
/// A referrer that they allow; any that is another is refused.
pub(crate) const REFERRER: &str = "https://ci.example.org/job/7";
/// The application whose client asks.
pub(crate) const APPLICATION: ApplicationId = ApplicationId(1);
/// Its authorization.
pub(crate) const AUTHORIZATION: AuthorizationId = AuthorizationId(1);
/// The host that requests for AWS are signed for.
pub(crate) const STS: &str = "sts.example.org";
/// The secret of the container that was provisioned.
pub(crate) const CONTAINER: SecretId = SecretId(5);
/// The kind of record that a nonce is.
const NONCE: u16 = 18;
/// The secret attached to it.
pub(crate) const SECRET: SecretId = SecretId(1);
/// The secret with a credential that is managed.
pub(crate) const MANAGED: SecretId = SecretId(4);

/// All records and jobs, sealed as they are: any write at all makes it another.
pub(crate) type State = (Vec<Record>, Vec<Job>);

/// A server and what is in it:
///
/// - application 1, `caller`, with authorization 1: every resource, may create applications;
/// - application 2, `neighbour`, with authorization 2; application 3, `empty`, with none;
/// - secret 1, `db/main`, of two versions, attached to authorization 1; secret 2, `other`, attached
///   to authorization 2; secret 3, `idle`, disabled and attached to nobody;
/// - target 1, `db`, on which the credential `app` of secret 4, `managed`, is; target 2, `spare`,
///   with none; both are the one fake;
/// - a key that its client made, registered for authorization 1, which does not seal yet;
/// - variable 1, `DB_PASSWORD`, and deploy 1 of authorization 1, if it has tokens;
/// - profile 1, `web`, on target 1, by which `caller` is provisioned automatically, and
///   profile 2, `spare`; if authorization 1 has tokens, secret 5 of its container with lease 1;
/// - operator 1, who may do everything, and one entry at least in every registry.
pub(crate) struct World {
    pub(crate) vault: Arc<Vault>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) me: Caller,
    pub(crate) sts: Arc<FakeSts>,
    pub(crate) target: Arc<FakeTarget>,
    router: Router<App>,
    store: Arc<MemoryStore>,
    conformance: Arc<Conformance>,
}

/// The description is the same in every world.
fn conformance(router: &Router<App>) -> Arc<Conformance> {
    static MADE: OnceLock<Arc<Conformance>> = OnceLock::new();
    let make = || Arc::new(Conformance::with(openapi::document(router.routes())));
    Arc::clone(MADE.get_or_init(make))
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::of(AuthenticationMethod::OAuth2).await
    }

    /// With another method for the application that asks.
    pub(crate) async fn of(method: AuthenticationMethod) -> Self {
        let sts = Arc::new(FakeSts::new(STS));
        let store = Arc::new(MemoryStore::new());
        let clock = Arc::new(ManualClock::default());
        let keys = Arc::new(StaticKeys::generate(&OsEntropy));
        let target = FakeTarget::shared();
        let vault = Vault::builder_dyn(store.clone(), keys.clone())
            .clock(clock.clone())
            .sts(sts.clone())
            .provider("fake", target.clone())
            .initialise()
            .await
            .expect("an empty store takes a vault");
        let vault = Arc::new(vault);
        let forwarding = Forwarding::new([], ForwardedHeader::XForwardedFor);
        let app = Arc::new(App::new(Arc::clone(&vault), forwarding));
        let health = Health::new(Arc::clone(&vault), keys, None, Arc::default());
        let routes = serve::routes(&Arc::new(health));
        let router = Router::new(app, routes, serve::refuse, RequestLimits::default())
            .expect("the table is consistent")
            .recorded_by(log::refused);
        let world = Self {
            conformance: conformance(&router),
            vault,
            clock,
            me: Caller::embedded("tests"),
            sts,
            target,
            router,
            store,
        };
        world.furnish(method).await;
        world
    }

    async fn furnish(&self, method: AuthenticationMethod) {
        let (vault, me) = (&self.vault, &self.me);
        for (registry, name) in [
            (Registry::System, "sys"),
            (Registry::Environment, "dev"),
            (Registry::ApplicationType, "batch"),
            (Registry::LineOfBusiness, "retail"),
        ] {
            let made = vault.create_registry_entry(me, registry, name, "").await;
            made.expect("an entry");
        }
        self.make_targets().await;
        self.make_profiles().await;
        for (name, method) in [
            ("caller", method),
            ("neighbour", AuthenticationMethod::OAuth2),
            ("empty", AuthenticationMethod::OAuth2),
        ] {
            let made = vault.create_application(me, application(name, method));
            made.await.expect("an application");
        }
        for (application, key) in [(APPLICATION, "canary-key"), (ApplicationId(2), "canary-2")] {
            let fields = AuthorizationFields {
                allow_application_creation: Some(true),
                allowed_ips: Some(vec![CLIENT.to_string()]),
                allowed_referrers: Some(vec!["https://ci.example.org/job".to_owned()]),
                resources: Some(
                    ["Application", "CI/CD", "Secret Management"]
                        .map(str::to_owned)
                        .into(),
                ),
                unique_key: Some(Some(key.to_owned())),
                ..AuthorizationFields::new("sys", "dev")
            };
            let made = vault.create_authorization(me, application, fields).await;
            made.expect("an authorization");
        }
        for (identity, value) in [
            ("db/main", "canary-first"),
            ("other", "canary-other"),
            ("idle", "canary-idle"),
        ] {
            let made = vault.create_secret(me, identity, values(value)).await;
            made.expect("a secret");
        }
        let second = vault.update_secret(me, SECRET, values("canary-second"), None);
        second.await.expect("a second version");
        for (authorization, secret) in [(AUTHORIZATION, SECRET), (AuthorizationId(2), SecretId(2))]
        {
            let attached = vault.attach_secret(me, authorization, secret).await;
            attached.expect("an attachment");
        }
        let registered = vault.register_public_key(me, AUTHORIZATION, public_key(0));
        registered.await.expect("a key");
        let disabled = vault.disable_secret(me, SecretId(3), None).await;
        disabled.expect("a disabled secret");
        self.make_managed_secret().await;
        if method == AuthenticationMethod::OAuth2 {
            self.register_variable().await;
            self.provision_container().await;
        }
        self.operator(Permissions::all()).await;
    }

    async fn make_profiles(&self) {
        let (vault, me) = (&self.vault, &self.me);
        for identifier in ["web", "spare"] {
            let fields = ProfileFields {
                identifier: Some(identifier.to_owned()),
                kind: Some(ProfileKind::Credential),
                target: Some("db".to_owned()),
                ..ProfileFields::default()
            };
            vault.create_profile(me, fields).await.expect("a profile");
        }
    }

    async fn provision_container(&self) {
        let container = Container {
            pod_name: "pod".to_owned(),
            deploy: "deploy".to_owned(),
            namespace: "space".to_owned(),
        };
        let token = self.token().await;
        let client = self.vault.principal(&token, self.origin()).await;
        let client = client.expect("a client");
        let failures = self.vault.provision_container(&client, &container).await;
        assert_eq!(failures.expect("a lease"), []);
    }

    async fn make_targets(&self) {
        for name in ["db", "spare"] {
            let Login { user, proof } = FakeTarget::target().admin;
            let fields = TargetFields {
                name: Some(name.to_owned()),
                provider: Some("fake".to_owned()),
                address: Some("here".to_owned()),
                admin: Some(NewAdmin::Own(Login { user, proof })),
                ..TargetFields::default()
            };
            let made = self.vault.create_target(&self.me, fields).await;
            made.expect("a target");
        }
    }

    async fn make_managed_secret(&self) {
        self.target.add_account("app", "canary-managed");
        let data = SecretData {
            credentials: vec![Credential {
                user: Some("app".to_owned()),
                password: Some("canary-managed".into()),
                managed: Some(Managed {
                    target: "db".to_owned(),
                    pair_user: None,
                    user: None,
                }),
                ..Credential::default()
            }],
            ..SecretData::default()
        };
        let fields = SecretFields::new("Managed", data);
        let made = self.vault.create_secret(&self.me, "managed", fields);
        assert_eq!(made.await.expect("a secret").id, MANAGED);
    }

    /// Has attempt 1, of the managed credential, wait for an operator: the target lost an answer, and
    /// neither the new password logs in nor the one that is served.
    pub(crate) async fn stop_rotation(&self) {
        self.target.add_account("app", "changed-by-somebody");
        let lost = |call| (call == FakeCall::ChangePassword).then_some(Fault::ForgetsBefore);
        self.target.fault_when(lost);
        let asked = self.vault.rotate_secret(&self.me, MANAGED, None).await;
        assert_eq!(asked.expect("asked")[0].id.0, 1);
        let renewed = self.vault.renew(9).await.expect("a round");
        assert_eq!(renewed.failed, 1);
        self.target.heal();
    }

    async fn register_variable(&self) {
        let variables = Assignments::parse("DB_PASSWORD=canary-variable");
        let registration = VariableRegistration {
            variables: variables.expect("a variable"),
            ..VariableRegistration::default()
        };
        let token = self.token().await;
        let client = self.vault.principal(&token, self.origin()).await;
        let client = client.expect("a client");
        let registered = self.vault.register_variables(&client, registration).await;
        registered.expect("a variable");
    }

    /// Has the calling authorization seal what is sensitive.
    pub(crate) async fn seal(&self, format: SealingFormat) {
        let fields = AuthorizationFields {
            encrypt_sensitive: Some(true),
            encryption_format: Some(format),
            ..AuthorizationFields::default()
        };
        let changed = self
            .vault
            .update_authorization(&self.me, AUTHORIZATION, fields, None);
        changed.await.expect("an authorization that seals");
    }

    /// Destroys the key of the calling authorization, as a store that loses records does.
    pub(crate) async fn lose_key(&self) {
        let keys = Query::new(Kind(17));
        let found = self.store.list(&keys, Page::first(10)).await;
        let lost = found.expect("a page").records.into_iter();
        let set = lost.fold(ChangeSet::default(), |set, record| {
            set.delete(record.key, record.revision)
        });
        self.store.commit(set).await.expect("lost");
    }

    /// Makes the key pair of authorization 2.
    pub(crate) async fn make_key(&self) {
        let fields = AuthorizationFields {
            encrypt_sensitive: Some(true),
            ..AuthorizationFields::default()
        };
        let changed = self
            .vault
            .update_authorization(&self.me, AuthorizationId(2), fields, None);
        changed.await.expect("a key pair");
    }

    /// The server's table.
    pub(crate) fn routes(&self) -> &[Route<App>] {
        self.router.routes()
    }

    /// The token of a new operator with these permissions.
    pub(crate) async fn operator(&self, permissions: Permissions) -> String {
        let new = NewOperator {
            permissions,
            ..NewOperator::new("ada")
        };
        let made = self.vault.create_operator(&self.me, new).await;
        made.expect("an operator").1.expose().to_owned()
    }

    /// The credentials of an authorization, of whatever method.
    pub(crate) async fn revealed(&self, of: AuthorizationId) -> Credentials {
        let revealed = self.vault.reveal_credentials(&self.me, of).await;
        revealed.expect("credentials")
    }

    /// The credentials of an authorization, for a token by OAuth 2.0.
    pub(crate) async fn credentials(&self, of: AuthorizationId) -> ClientCredentials {
        let revealed = self.revealed(of).await.into_oauth2();
        revealed.expect("of OAuth 2.0")
    }

    /// Where the client is.
    #[allow(clippy::unused_self, reason = "reads as what it is of")]
    pub(crate) fn origin(&self) -> Origin {
        Origin {
            ip: Some(CLIENT),
            referrer: Some(REFERRER.to_owned()),
            certificate: None,
        }
    }

    /// An access token of the calling authorization.
    pub(crate) async fn token(&self) -> String {
        let credentials = self.credentials(AUTHORIZATION).await;
        let secret = credentials.client_secret.expose();
        let issued = self
            .vault
            .authenticate(&credentials.client_id, secret, self.origin())
            .await;
        issued.expect("a token").token.expose().to_owned()
    }

    /// Which must be one that is described.
    pub(crate) async fn answer(&self, ask: Ask) -> Answer {
        let (method, target, sent) = (ask.method.clone(), ask.path.clone(), ask.body.clone());
        let sent_type = ask.headers.get("content-type").cloned();
        let mut request = warp::http::Request::new(ask.body);
        *request.method_mut() = ask.method;
        *request.uri_mut() = ask.path.parse().expect("a path");
        *request.headers_mut() = ask.headers;
        let peer = Peer::new(SocketAddr::new(ask.from, 40_000));
        let reply = self.router.call(request, peer).await;
        let body = reply.body_bytes().expect("not a stream").clone();
        let exchange = Exchange {
            method: method.as_str(),
            target: &target,
            sent_type: sent_type.as_ref().and_then(|value| value.to_str().ok()),
            sent: &sent,
            status: reply.status.as_u16(),
            header: &|name| Some(reply.headers.get(name)?.to_str().ok()?.to_owned()),
            body: &body,
        };
        let described = self.conformance.check(&exchange);
        described.unwrap_or_else(|wrong| panic!("{method} {target}: {wrong}"));
        Answer {
            status: reply.status,
            headers: reply.headers,
            body,
        }
    }

    /// Everything that is stored but the audit trail, and the nonces that a proof uses up.
    pub(crate) async fn state(&self) -> State {
        let mut records = Vec::new();
        for kind in (0..=u16::from(u8::MAX)).filter(|kind| *kind != NONCE) {
            let query = Query::new(Kind(kind));
            let page = self.store.list(&query, Page::first(10_000)).await;
            let page = page.expect("a page");
            assert!(page.next.is_none(), "more records than a test makes");
            records.extend(page.records);
        }
        let topics: Vec<Topic> = (0..=u16::from(u8::MAX)).map(Topic).collect();
        let jobs = self.store.list_jobs(&topics, 10_000).await.expect("jobs");
        (records, jobs)
    }
}

/// An application whose clients prove who they are by this method.
fn application(name: &str, method: AuthenticationMethod) -> ApplicationFields {
    ApplicationFields {
        authentication_method: Some(method),
        aws_arns: Some(vec!["arn:aws:iam::123456789012:role/*".to_owned()]),
        automatic_provisioning: Some(name == "caller"),
        credential_profiles: Some(vec![CredentialProfile {
            device: "db".to_owned(),
            profile: "web".to_owned(),
        }]),
        ..ApplicationFields::new(name)
    }
}

fn values(value: &str) -> SecretFields {
    SecretFields::new("name", SecretData::key_values([("PASSWORD", value)]))
}
