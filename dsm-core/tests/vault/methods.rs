//! The other methods of authentication: requests signed by OAuth 1.0, and identities of AWS.

use std::sync::Arc;

use chrono::TimeDelta;
use data_encoding::BASE64;
use dsm_core::access::{AuthenticationMethod, Origin, Principal, Rule};
use dsm_core::audit::{Actor, AuditQuery};
use dsm_core::aws::{SignedIdentity, StsError};
use dsm_core::crypto::StaticKeys;
use dsm_core::entropy::OsEntropy;
use dsm_core::id::AuthorizationId;
use dsm_core::oauth1::{self, BaseUri, Fault, Scheme, SignatureMethod, SignedRequest};
use dsm_core::store::{MemoryStore, Store};
use dsm_core::testing::{FakeSts, FaultyStore, ManualClock, StoreCall};
use dsm_core::vault::{
    AccessToken, ApplicationFields, AuthorizationFields, Caller, Credentials, Error, Presented,
    Registry, SigningCredentials, Vault,
};

use super::clients::{Asked, Count, rule};

const HOST: &str = "sts.example.org";
const ARN: &str = "arn:aws:iam::123456789012:user/ann";

/// A vault with one application of some method and its authorization.
struct World {
    vault: Vault,
    clock: Arc<ManualClock>,
    me: Caller,
    id: AuthorizationId,
    sts: Arc<FakeSts>,
}

impl World {
    async fn new(method: AuthenticationMethod) -> Self {
        Self::over(Arc::new(MemoryStore::default()), method).await
    }

    async fn over(store: Arc<dyn Store>, method: AuthenticationMethod) -> Self {
        let clock = Arc::new(ManualClock::default());
        let sts = Arc::new(FakeSts::new(HOST));
        let keys = Arc::new(StaticKeys::generate(&OsEntropy));
        let vault = Vault::builder_dyn(store, keys)
            .clock(clock.clone())
            .sts(sts.clone())
            .initialise()
            .await
            .unwrap();
        let me = Caller::embedded("test");
        for (registry, name) in [(Registry::System, "sys"), (Registry::Environment, "dev")] {
            let made = vault.create_registry_entry(&me, registry, name, "").await;
            made.unwrap();
        }
        let fields = ApplicationFields {
            authentication_method: Some(method),
            aws_arns: Some(vec!["arn:aws:iam::123456789012:user/*".to_owned()]),
            ..ApplicationFields::new("app")
        };
        let application = vault.create_application(&me, fields).await.unwrap();
        let mut fields = AuthorizationFields::new("sys", "dev");
        fields.allowed_ips = Some(vec!["10.0.0.0/8".to_owned()]);
        let made = vault
            .create_authorization(&me, application.id, fields)
            .await
            .unwrap();
        Self {
            vault,
            clock,
            me,
            id: made.id,
            sts,
        }
    }

    fn origin(&self) -> Origin {
        Origin {
            ip: "10.0.0.1".parse().ok(),
            ..Origin::default()
        }
    }

    async fn credentials(&self) -> Credentials {
        let revealed = self.vault.reveal_credentials(&self.me, self.id).await;
        revealed.unwrap()
    }

    async fn signing(&self) -> SigningCredentials {
        match self.credentials().await {
            Credentials::OAuth1(credentials) => credentials,
            other => panic!("{other:?}"),
        }
    }

    async fn unique_key(&self) -> String {
        match self.credentials().await {
            Credentials::Aws { unique_key } => unique_key.expose().to_owned(),
            other => panic!("{other:?}"),
        }
    }

    async fn send(&self, request: SignedRequest) -> Result<Principal, Error> {
        self.vault
            .signed_principal(Ok(request), self.origin())
            .await
    }

    /// A request signed now, with a nonce.
    fn signed(&self, by: &SigningCredentials, nonce: &str) -> SignedRequest {
        self.signed_at(by, nonce, self.vault.now().timestamp())
    }

    fn signed_at(&self, by: &SigningCredentials, nonce: &str, at: i64) -> SignedRequest {
        let uri = BaseUri::new(Scheme::Http, "dsm.example.org", "/iso/sctm/secrets");
        let owned = |(name, value): (&str, &str)| (name.as_bytes().to_vec(), value.into());
        let mut request = SignedRequest {
            method: "GET".to_owned(),
            uri: uri.unwrap(),
            parameters: [
                ("oauth_consumer_key", by.consumer_key.as_str()),
                ("oauth_token", &by.token),
                ("oauth_signature_method", "HMAC-SHA256"),
                ("oauth_timestamp", &at.to_string()),
                ("oauth_nonce", nonce),
                ("oauth_version", "1.0"),
            ]
            .map(owned)
            .into(),
            body: None,
        };
        let (consumer, token) = (&by.consumer_secret, &by.token_secret);
        let signature = oauth1::sign(&request, SignatureMethod::HmacSha256, consumer, token);
        let signature = BASE64.encode(&signature);
        request
            .parameters
            .push(owned(("oauth_signature", &signature)));
        request
    }

    /// A token for a request signed for AWS now, which STS says is by whom it is told.
    async fn token(
        &self,
        key: &str,
        signature: &str,
        arn: Result<&str, StsError>,
    ) -> Result<AccessToken, Error> {
        self.sts
            .answer(signature, arn.map(|arn| arn.parse().unwrap()));
        self.token_with(key, &self.aws_headers(signature)).await
    }

    async fn token_with(
        &self,
        key: &str,
        headers: &[(String, String)],
    ) -> Result<AccessToken, Error> {
        let shown = SignedIdentity {
            unique_key: key,
            method: "POST",
            headers,
            body: "Action=GetCallerIdentity&Version=2011-06-15",
        };
        let presented = Presented::Identity(shown);
        self.vault.issue_token(presented, self.origin()).await
    }

    fn aws_headers(&self, signature: &str) -> Vec<(String, String)> {
        let now = self.vault.now();
        let day = now.format("%Y%m%d");
        vec![
            ("Host".to_owned(), HOST.to_owned()),
            (
                "X-Amz-Date".to_owned(),
                now.format("%Y%m%dT%H%M%SZ").to_string(),
            ),
            (
                "Authorization".to_owned(),
                format!(
                    "AWS4-HMAC-SHA256 Credential=AKID/{day}/us-east-1/sts/aws4_request, \
                     SignedHeaders=host;x-amz-date, Signature={signature}"
                ),
            ),
        ]
    }
}

/// A signature of the right form, by its number.
fn signature(number: u8) -> String {
    format!("{number:02x}").repeat(32)
}

#[tokio::test]
async fn a_signed_request_is_its_clients_and_counts_once() {
    let world = World::new(AuthenticationMethod::OAuth1).await;
    let own = world.signing().await;
    let request = world.signed(&own, "1");
    let principal = world.send(request.clone()).await.unwrap();
    assert_eq!(principal.authorization_id(), world.id);
    assert_eq!(principal.method(), AuthenticationMethod::OAuth1);
    world.vault.read_secrets(&principal).await.unwrap();
    assert_eq!(rule(world.send(request.clone()).await), Rule::Nonce);
    // Another nonce, or the same at another time, is another request.
    world.send(world.signed(&own, "2")).await.unwrap();
    world.clock.advance(TimeDelta::seconds(1));
    world.send(world.signed(&own, "1")).await.unwrap();
    // A replay is refused for as long as its timestamp is good, and then for that.
    world.clock.advance(TimeDelta::seconds(299));
    assert_eq!(rule(world.send(request.clone()).await), Rule::Nonce);
    world.vault.sweep(100).await.unwrap();
    assert_eq!(rule(world.send(request.clone()).await), Rule::Nonce);
    world.clock.advance(TimeDelta::seconds(1));
    assert_eq!(rule(world.send(request).await), Rule::Timestamp);
}

#[tokio::test]
async fn of_many_that_send_the_same_at_once_one_gets_in() {
    let world = Arc::new(World::new(AuthenticationMethod::OAuth1).await);
    let own = world.signing().await;
    let request = world.signed(&own, "1");
    let sends = (0..32).map(|_| {
        let (world, request) = (Arc::clone(&world), request.clone());
        tokio::spawn(async move { world.send(request).await.is_ok() })
    });
    let mut let_in = 0;
    for sent in sends.collect::<Vec<_>>() {
        let_in += u32::from(sent.await.unwrap());
    }
    assert_eq!(let_in, 1);
}

#[tokio::test]
async fn nonces_are_swept_when_no_timestamp_can_be_good_any_more() {
    let store = Arc::new(MemoryStore::default());
    let world = World::over(store.clone(), AuthenticationMethod::OAuth1).await;
    let own = world.signing().await;
    let count = async || {
        let nonces = dsm_core::store::Query::new(dsm_core::store::Kind(18));
        let page = store.list(&nonces, dsm_core::store::Page::first(10)).await;
        page.unwrap().records.len()
    };
    // As early as a timestamp may be.
    let early = world.vault.now().timestamp() + 300;
    world.send(world.signed_at(&own, "1", early)).await.unwrap();
    world.clock.advance(TimeDelta::seconds(600));
    world.vault.sweep(100).await.unwrap();
    assert_eq!(count().await, 1);
    world.clock.advance(TimeDelta::seconds(300));
    world.vault.sweep(100).await.unwrap();
    assert_eq!(count().await, 0);
}

#[tokio::test]
async fn every_wrong_signature_is_named_in_the_trail_and_nowhere_else() {
    let world = World::new(AuthenticationMethod::OAuth1).await;
    let own = world.signing().await;
    let other = SigningCredentials {
        consumer_key: own.consumer_key.clone(),
        consumer_secret: "dsm_os_wrong".into(),
        token: own.token.clone(),
        token_secret: own.token_secret.duplicate(),
    };
    let nobody = SigningCredentials {
        consumer_key: "0".repeat(42),
        consumer_secret: own.consumer_secret.duplicate(),
        token: own.token.clone(),
        token_secret: own.token_secret.duplicate(),
    };
    let stranger = SigningCredentials {
        consumer_key: own.consumer_key.clone(),
        consumer_secret: own.consumer_secret.duplicate(),
        token: "0".repeat(42),
        token_secret: own.token_secret.duplicate(),
    };
    let now = world.vault.now().timestamp();
    for (request, expected) in [
        (world.signed(&other, "1"), Rule::Signature),
        (world.signed(&nobody, "1"), Rule::Client),
        (world.signed(&stranger, "1"), Rule::Token),
        (world.signed_at(&own, "1", now - 301), Rule::Timestamp),
        (world.signed_at(&own, "1", now + 301), Rule::Timestamp),
    ] {
        assert_eq!(rule(world.send(request).await), expected);
        // The newest one is this look itself.
        let newest = AuditQuery::newest(2);
        let page = world.vault.search_audit(&world.me, &newest).await.unwrap();
        let Actor::Unknown { claimed } = &page.found[1].event.actor else {
            panic!("{:?}", page.found);
        };
        assert_eq!(claimed.as_ref().map(String::len), Some(42));
    }
    for fault in [
        Fault::Missing("oauth_nonce"),
        Fault::Repeated,
        Fault::Malformed("Authorization"),
        Fault::Version,
    ] {
        let refused = world.vault.signed_principal(Err(fault), world.origin());
        assert_eq!(rule(refused.await), Rule::SignatureParameters);
    }
    let refused = world
        .vault
        .signed_principal(Err(Fault::Method), world.origin());
    assert_eq!(rule(refused.await), Rule::SignatureMethod);
    // None of these has used up the nonce.
    world.send(world.signed(&own, "1")).await.unwrap();
}

#[tokio::test]
async fn an_unknown_signer_costs_the_store_what_a_wrong_signature_costs() {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::default())));
    let world = World::over(store.clone(), AuthenticationMethod::OAuth1).await;
    let wrong = SigningCredentials {
        consumer_secret: "dsm_os_wrong".into(),
        ..world.signing().await
    };
    let nobody = SigningCredentials {
        consumer_key: "0".repeat(42),
        ..world.signing().await
    };
    // The first time it is read, after that it is remembered.
    for nonce in ["1", "2"] {
        let asked = Asked::of(&store);
        rule(world.send(world.signed(&wrong, nonce)).await);
        assert_eq!(asked.count(), Count::ONE_OF_TWO, "wrong, {nonce}");
        rule(world.send(world.signed(&nobody, nonce)).await);
        assert_eq!(asked.count(), Count::ONE_OF_TWO, "unknown, {nonce}");
    }
}

#[tokio::test]
async fn where_the_store_cannot_tell_nobody_gets_in() {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::default())));
    let world = World::over(store.clone(), AuthenticationMethod::OAuth1).await;
    let own = world.signing().await;
    let request = world.signed(&own, "1");
    for call in [StoreCall::Commit, StoreCall::Answer] {
        store.fail_when(move |it| it == call);
        let refused = world.send(request.clone()).await;
        assert!(
            matches!(refused, Err(Error::Unavailable { .. })),
            "{refused:?}"
        );
        store.heal();
    }
    // The answer was lost, the nonce was not.
    assert_eq!(rule(world.send(request).await), Rule::Nonce);
    world.send(world.signed(&own, "2")).await.unwrap();
}

#[tokio::test]
async fn signing_clients_are_rotated_like_others() {
    let world = World::new(AuthenticationMethod::OAuth1).await;
    let old = world.signing().await;
    let overlap = Some(std::time::Duration::from_mins(1));
    let rotated = world.vault.rotate_clients(&world.me, world.id, overlap);
    rotated.await.unwrap();
    let new = world.signing().await;
    assert_ne!(old.consumer_key, new.consumer_key);
    for own in [&old, &new] {
        world.send(world.signed(own, "1")).await.unwrap();
    }
    world.clock.advance(TimeDelta::seconds(60));
    let ended = world.send(world.signed(&old, "2")).await;
    assert_eq!(rule(ended), Rule::ClientEnded);
    world.send(world.signed(&new, "2")).await.unwrap();
    // What is shown is long enough, and of its own kind.
    for (secret, prefix) in [
        (&new.consumer_secret, "dsm_os_"),
        (&new.token_secret, "dsm_ts_"),
    ] {
        let secret = secret.expose();
        assert!(secret.starts_with(prefix) && secret.len() == 50);
    }
}

#[tokio::test]
async fn a_proof_counts_only_where_the_application_wants_it() {
    let signing = World::new(AuthenticationMethod::OAuth1).await;
    let own = signing.signing().await;
    let secret = own.consumer_secret.expose();
    let origin = signing.origin();
    let refused = signing
        .vault
        .authenticate(&own.consumer_key, secret, origin)
        .await;
    assert_eq!(rule(refused), Rule::AuthenticationMethod);
    let asking = World::new(AuthenticationMethod::OAuth2).await;
    let shown = asking.credentials().await.into_oauth2().unwrap();
    let forged = SigningCredentials {
        consumer_key: shown.client_id.clone(),
        consumer_secret: shown.client_secret.duplicate(),
        token: shown.client_id,
        token_secret: "".into(),
    };
    let refused = asking.send(asking.signed(&forged, "1")).await;
    assert_eq!(rule(refused), Rule::AuthenticationMethod);
}

#[tokio::test]
async fn an_identity_of_the_list_with_the_key_gets_a_token_once() {
    let world = World::new(AuthenticationMethod::Aws).await;
    let key = world.unique_key().await;
    assert!(key.starts_with("dsm_uk_") && key.len() == 50);
    let first = signature(1);
    let token = world.token(&key, &first, Ok(ARN)).await.unwrap();
    let principal = world
        .vault
        .principal(token.token.expose(), world.origin())
        .await
        .unwrap();
    assert_eq!(principal.method(), AuthenticationMethod::Aws);
    assert_eq!(principal.authorization_id(), world.id);
    let again = world.token(&key, &first, Ok(ARN)).await;
    assert_eq!(rule(again), Rule::Nonce);
    world.token(&key, &signature(2), Ok(ARN)).await.unwrap();
}

#[tokio::test]
async fn every_wrong_identity_is_named_in_the_trail_and_nowhere_else() {
    let world = World::new(AuthenticationMethod::Aws).await;
    let key = world.unique_key().await;
    let refused = StsError::Refused("SignatureDoesNotMatch".to_owned());
    let silent = StsError::Unavailable("nothing within 10 s".to_owned());
    for (number, key, arn, expected) in [
        (1, key.as_str(), Err(refused), Rule::AwsIdentity),
        (2, &key, Err(silent), Rule::AwsEndpoint),
        (3, "another key", Ok(ARN), Rule::UniqueKey),
        (4, "", Ok(ARN), Rule::UniqueKey),
        (
            5,
            &key,
            Ok("arn:aws:iam::999999999999:user/ann"),
            Rule::AwsArn,
        ),
    ] {
        let result = world.token(key, &signature(number), arn).await;
        assert_eq!(rule(result), expected);
    }
    let mut headers = world.aws_headers(&signature(6));
    headers[0].1 = "sts.elsewhere.example".to_owned();
    let result = world.token_with(&key, &headers).await;
    assert_eq!(rule(result), Rule::AwsRequest);
    let headers = world.aws_headers(&signature(7));
    world.clock.advance(TimeDelta::seconds(301));
    let result = world.token_with(&key, &headers).await;
    assert_eq!(rule(result), Rule::AwsRequestAge);
    // None of these has used up the signature.
    world.token(&key, &signature(5), Ok(ARN)).await.unwrap();
}

#[tokio::test]
async fn a_replaced_key_counts_until_its_overlap_is_over() {
    let world = World::new(AuthenticationMethod::Aws).await;
    let old = world.unique_key().await;
    let overlap = Some(std::time::Duration::from_mins(1));
    let rotated = world.vault.rotate_clients(&world.me, world.id, overlap);
    rotated.await.unwrap();
    let new = world.unique_key().await;
    assert_ne!(old, new);
    world.token(&old, &signature(1), Ok(ARN)).await.unwrap();
    world.token(&new, &signature(2), Ok(ARN)).await.unwrap();
    world.clock.advance(TimeDelta::seconds(60));
    let ended = world.token(&old, &signature(3), Ok(ARN)).await;
    assert_eq!(rule(ended), Rule::ClientEnded);
    world.token(&new, &signature(4), Ok(ARN)).await.unwrap();
}

#[tokio::test]
async fn the_key_alone_or_of_another_method_is_no_proof() {
    let world = World::new(AuthenticationMethod::OAuth2).await;
    let fields = AuthorizationFields {
        unique_key: Some(Some("key".to_owned())),
        ..AuthorizationFields::default()
    };
    let changed = world
        .vault
        .update_authorization(&world.me, world.id, fields, None);
    changed.await.unwrap();
    let result = world.token("key", &signature(1), Ok(ARN)).await;
    assert_eq!(rule(result), Rule::AuthenticationMethod);
}
