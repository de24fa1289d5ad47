//! The clients of an authorization: rotated, revoked, listed with their last use, and their tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use dsm_core::access::{Principal, Rule};
use dsm_core::audit::{AuditQuery, Operation};
use dsm_core::crypto::StaticKeys;
use dsm_core::entropy::OsEntropy;
use dsm_core::store::{ChangeSet, Kind, MemoryStore, Page, RecordKey, Store};
use dsm_core::testing::{FaultyStore, StoreCall};
use dsm_core::vault::{
    ApiClient, AuthorizationFields, Caller, ClientCredentials, Error, Presented, Vault,
    VaultOptions,
};

use super::fixture::{Fixture, identity};

const HOUR: TimeDelta = TimeDelta::hours(1);

/// The rule that refuses.
#[track_caller]
pub(crate) fn rule<T: std::fmt::Debug>(result: Result<T, Error>) -> Rule {
    match result {
        Err(Error::Denied(denial)) => denial.rule(),
        other => panic!("{other:?}"),
    }
}

impl Fixture {
    async fn newest(&self) -> ClientCredentials {
        let revealed = self
            .vault
            .reveal_credentials(&self.me, self.authorization.id);
        revealed.await.unwrap().into_oauth2().unwrap()
    }

    async fn token_of(&self, of: &ClientCredentials) -> Result<String, Error> {
        let secret = of.client_secret.expose();
        let issued = self
            .vault
            .authenticate(&of.client_id, secret, self.origin());
        issued.await.map(|token| token.token.expose().to_owned())
    }

    async fn principal_of(&self, token: &str) -> Result<Principal, Error> {
        self.vault.principal(token, self.origin()).await
    }

    async fn rotate(&self, overlap: u64) {
        let overlap = Some(Duration::from_secs(overlap));
        let rotated = self
            .vault
            .rotate_clients(&self.me, self.authorization.id, overlap);
        rotated.await.unwrap();
    }

    async fn clients(&self) -> Vec<ApiClient> {
        let page = Page::first(10);
        let id = self.authorization.id;
        let found = self.vault.list_clients(&self.me, id, page).await;
        found.unwrap().items
    }

    fn own(&self) -> Presented<'_> {
        Presented::Secret {
            client_id: &self.credentials.client_id,
            client_secret: self.credentials.client_secret.expose(),
        }
    }
}

/// What is asked of a store from now on.
pub(crate) struct Asked(Arc<[AtomicUsize; 2]>);

/// How many questions, and how many records came back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Count {
    questions: usize,
    answers: usize,
}

impl Count {
    pub(crate) const ONE_OF_TWO: Self = Self {
        questions: 2,
        answers: 1,
    };
}

impl Asked {
    pub(crate) fn of(store: &FaultyStore) -> Self {
        let counts = Arc::new([const { AtomicUsize::new(0) }; 2]);
        let (questions, answers) = (Arc::clone(&counts), Arc::clone(&counts));
        store.fail_when(move |call| {
            if call == StoreCall::Read {
                questions[0].fetch_add(1, Ordering::Relaxed);
            }
            false
        });
        store.tamper(move |_| {
            answers[1].fetch_add(1, Ordering::Relaxed);
        });
        Self(counts)
    }

    /// Since it was last looked at.
    pub(crate) fn count(&self) -> Count {
        let [questions, answers] = [0, 1].map(|i| self.0[i].swap(0, Ordering::Relaxed));
        Count { questions, answers }
    }
}

#[tokio::test]
async fn an_unknown_client_costs_the_store_what_a_wrong_secret_costs() {
    let inner: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let store = Arc::new(FaultyStore::new(inner.clone()));
    let f = Fixture::over(store.clone(), VaultOptions::default(), |fields| fields).await;
    let ask = async |id: &str| rule(f.vault.authenticate(id, "dsm_cs_wrong", f.origin()).await);
    let unknown = "0".repeat(42);
    for _ in 0..2 {
        let asked = Asked::of(&store);
        assert_eq!(ask(&f.credentials.client_id).await, Rule::ClientSecret);
        assert_eq!(asked.count(), Count::ONE_OF_TWO);
        assert_eq!(ask(&unknown).await, Rule::Client);
        assert_eq!(asked.count(), Count::ONE_OF_TWO);
    }
    // One that is damaged or gone changes no answer.
    store.heal();
    store.tamper(|record| record.revision += 1);
    assert_eq!(ask(&unknown).await, Rule::Client);
    let decoy = RecordKey::new(Kind(27), 1u64);
    inner
        .commit(ChangeSet::default().delete(decoy, 1))
        .await
        .unwrap();
    store.heal();
    assert_eq!(ask(&unknown).await, Rule::Client);
}

#[tokio::test]
async fn a_vault_without_a_decoy_gets_one_when_it_is_opened() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let keys = Arc::new(StaticKeys::generate(&OsEntropy));
    let builder = || Vault::builder_dyn(store.clone(), keys.clone());
    builder().initialise().await.unwrap();
    let decoy = RecordKey::new(Kind(27), 1u64);
    let made = store
        .find(decoy)
        .await
        .unwrap()
        .expect("a new vault has one");
    builder().open().await.unwrap();
    assert_eq!(store.find(decoy).await.unwrap(), Some(made));
    store
        .commit(ChangeSet::default().delete(decoy, 1))
        .await
        .unwrap();
    builder().open().await.unwrap();
    assert!(store.find(decoy).await.unwrap().is_some());
}

#[tokio::test]
async fn replaced_credentials_and_their_tokens_go_on_until_the_overlap_is_over() {
    let f = Fixture::new().await;
    let token = f.token_of(&f.credentials).await.unwrap();
    f.rotate(60).await;
    let new = f.newest().await;
    assert_ne!(new.client_id, f.credentials.client_id);
    let fresh = f.token_of(&new).await.unwrap();
    f.clock.advance(TimeDelta::seconds(59));
    f.token_of(&f.credentials).await.unwrap();
    f.principal_of(&token).await.unwrap();
    f.clock.advance(TimeDelta::seconds(1));
    assert_eq!(rule(f.token_of(&f.credentials).await), Rule::ClientEnded);
    assert_eq!(rule(f.principal_of(&token).await), Rule::ClientEnded);
    f.principal_of(&fresh).await.unwrap();
    f.token_of(&new).await.unwrap();
}

#[tokio::test]
async fn without_an_overlap_replaced_credentials_end_at_once() {
    let f = Fixture::new().await;
    let token = f.token_of(&f.credentials).await.unwrap();
    let principal = f.principal_of(&token).await.unwrap();
    f.rotate(0).await;
    assert_eq!(rule(f.token_of(&f.credentials).await), Rule::ClientEnded);
    assert_eq!(rule(f.principal_of(&token).await), Rule::ClientEnded);
    assert_eq!(rule(f.vault.renewed(&principal).await), Rule::ClientEnded);
    f.token_of(&f.newest().await).await.unwrap();
}

#[tokio::test]
async fn a_second_rotation_prolongs_nothing() {
    let f = Fixture::new().await;
    f.rotate(60).await;
    let second = f.newest().await;
    f.rotate(3600).await;
    f.clock.advance(TimeDelta::seconds(60));
    assert_eq!(rule(f.token_of(&f.credentials).await), Rule::ClientEnded);
    f.token_of(&second).await.unwrap();
    let too_long = Some(Duration::from_secs(2_592_001));
    let refused = f
        .vault
        .rotate_clients(&f.me, f.authorization.id, too_long)
        .await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
}

#[tokio::test]
async fn unless_said_replaced_credentials_live_as_long_as_a_token() {
    let f = Fixture::new().await;
    let id = f.authorization.id;
    let rotated = f.vault.rotate_clients(&f.me, id, None).await.unwrap();
    assert_eq!(rotated.others_end_at, f.vault.now() + HOUR);
    assert_eq!(rotated.client.ends_at, None);
}

#[tokio::test]
async fn a_revoked_client_ends_with_its_tokens_and_no_other_does() {
    let f = Fixture::new().await;
    f.rotate(3600).await;
    let new = f.newest().await;
    let (old_token, new_token) = (
        f.token_of(&f.credentials).await.unwrap(),
        f.token_of(&new).await.unwrap(),
    );
    let clients = f.clients().await;
    assert_eq!(clients.len(), 2);
    let old = clients[1].client.id;
    let id = f.authorization.id;
    f.vault.revoke_client(&f.me, id, old).await.unwrap();
    assert_eq!(rule(f.principal_of(&old_token).await), Rule::Token);
    assert_eq!(rule(f.token_of(&f.credentials).await), Rule::Client);
    f.principal_of(&new_token).await.unwrap();
    assert_eq!(f.clients().await.len(), 1);
    let again = f.vault.revoke_client(&f.me, id, old).await;
    assert!(matches!(again, Err(Error::NotFound(_))), "{again:?}");
    // The last one may go as well; new ones are issued by a rotation.
    let last = f.clients().await[0].client.id;
    f.vault.revoke_client(&f.me, id, last).await.unwrap();
    let none = f.vault.reveal_credentials(&f.me, id).await;
    assert!(matches!(none, Err(Error::NotFound(_))), "{none:?}");
    f.rotate(0).await;
    f.token_of(&f.newest().await).await.unwrap();
}

#[tokio::test]
async fn clients_of_another_authorization_are_not_found() {
    let f = Fixture::new().await;
    let fields = AuthorizationFields::new("sys", "dev");
    let other = f
        .vault
        .create_authorization(&f.me, f.authorization.application, fields)
        .await
        .unwrap();
    let own = f.clients().await[0].client.id;
    let refused = f.vault.revoke_client(&f.me, other.id, own).await;
    assert!(matches!(refused, Err(Error::NotFound(_))), "{refused:?}");
    f.token_of(&f.credentials).await.unwrap();
}

#[tokio::test]
async fn nothing_is_issued_for_an_authorization_that_is_over() {
    let f = Fixture::new().await;
    let id = f.authorization.id;
    f.vault.revoke_authorization(&f.me, id, None).await.unwrap();
    let refused = f.vault.rotate_clients(&f.me, id, None).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
}

#[tokio::test]
async fn the_last_use_is_known_at_once_and_written_with_the_sweep() {
    let f = Fixture::new().await;
    assert_eq!(f.clients().await[0].last_use, None);
    let token = f.token_of(&f.credentials).await.unwrap();
    f.clock.advance(TimeDelta::seconds(5));
    f.principal_of(&token).await.unwrap();
    let used = f.clients().await[0].last_use.unwrap();
    assert_eq!(used.at, f.vault.now());
    assert_eq!(used.ip, "10.0.0.1".parse().ok());
    // Uses are no changes of the client.
    let before = f.clients().await[0].client.revision;
    for _ in 0..2 {
        f.clock.advance(TimeDelta::seconds(5));
        f.principal_of(&token).await.unwrap();
        f.vault.sweep(10).await.unwrap();
        let client = &f.clients().await[0];
        assert_eq!(client.last_use.unwrap().at, f.vault.now());
        assert_eq!(client.client.revision, before);
    }
    let written = writes(&f).await;
    f.vault.sweep(10).await.unwrap();
    assert_eq!(writes(&f).await, written, "nothing was used since");
}

async fn writes(f: &Fixture) -> usize {
    let query = AuditQuery::newest(100);
    let page = f.vault.search_audit(&f.me, &query).await.unwrap();
    let uses = page.found.iter();
    uses.filter(|found| found.event.operation == Operation::RecordUse)
        .count()
}

#[tokio::test]
async fn what_has_ended_is_swept() {
    let f = Fixture::new().await;
    let token = f.token_of(&f.credentials).await.unwrap();
    f.principal_of(&token).await.unwrap();
    f.vault.sweep(10).await.unwrap();
    f.rotate(60).await;
    f.vault.sweep(10).await.unwrap();
    assert_eq!(f.clients().await.len(), 2);
    f.clock.advance(TimeDelta::seconds(60));
    f.vault.sweep(10).await.unwrap();
    let left = f.clients().await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].client.ends_at, None);
    assert_eq!(rule(f.token_of(&f.credentials).await), Rule::Client);
}

#[tokio::test]
async fn a_revoked_token_is_refused_from_then_on() {
    let f = Fixture::new().await;
    f.secret("a", "1").await;
    let (token, other) = (
        f.token_of(&f.credentials).await.unwrap(),
        f.token_of(&f.credentials).await.unwrap(),
    );
    let info = f
        .vault
        .introspect_token(f.own(), &token, f.origin())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(info.client_id, f.credentials.client_id);
    assert_eq!(info.authorization, f.authorization.code);
    assert_eq!(info.expires_at - info.issued_at, HOUR);
    for _ in 0..2 {
        let revoked = f.vault.revoke_token(f.own(), &token, f.origin()).await;
        revoked.unwrap();
    }
    assert_eq!(rule(f.principal_of(&token).await), Rule::TokenRevoked);
    let info = f.vault.introspect_token(f.own(), &token, f.origin()).await;
    assert_eq!(info.unwrap(), None);
    let principal = f.principal_of(&other).await.unwrap();
    f.vault
        .read_secret(&principal, &identity("a"))
        .await
        .unwrap();
    f.clock.advance(HOUR);
    let info = f.vault.introspect_token(f.own(), &other, f.origin()).await;
    assert_eq!(info.unwrap(), None);
    assert_eq!(rule(f.principal_of(&other).await), Rule::TokenExpired);
}

#[tokio::test]
async fn tokens_of_others_are_neither_revoked_nor_told_of() {
    let f = Fixture::new().await;
    let mut fields = AuthorizationFields::new("sys", "dev");
    fields.allowed_ips = Some(vec!["*".to_owned()]);
    let made = f
        .vault
        .create_authorization(&f.me, f.authorization.application, fields)
        .await
        .unwrap();
    let theirs = f.vault.reveal_credentials(&f.me, made.id).await.unwrap();
    let theirs = f.token_of(&theirs.into_oauth2().unwrap()).await.unwrap();
    for token in [theirs.as_str(), "dsm_at_nothing", ""] {
        let info = f.vault.introspect_token(f.own(), token, f.origin()).await;
        assert_eq!(info.unwrap(), None, "{token}");
        f.vault
            .revoke_token(f.own(), token, f.origin())
            .await
            .unwrap();
    }
    f.principal_of(&theirs).await.unwrap();
    // Who may not have a token may not ask about one either.
    let wrong = Presented::Secret {
        client_id: &f.credentials.client_id,
        client_secret: "wrong",
    };
    let elsewhere = dsm_core::access::Origin {
        ip: "192.0.2.1".parse().ok(),
        ..f.origin()
    };
    let refused = f.vault.introspect_token(wrong, &theirs, f.origin()).await;
    assert_eq!(rule(refused), Rule::ClientSecret);
    let refused = f.vault.revoke_token(f.own(), &theirs, elsewhere).await;
    assert_eq!(rule(refused), Rule::Ip);
}

#[tokio::test]
async fn a_rotation_repeated_under_its_key_happens_once() {
    let f = Fixture::new().await;
    let mut caller = Caller::clone(&f.me);
    caller.once = Some(dsm_core::vault::Once {
        key: "k".to_owned(),
        digest: [7; 32],
    });
    let id = f.authorization.id;
    let first = f.vault.rotate_clients(&caller, id, None).await.unwrap();
    let again = f.vault.rotate_clients(&caller, id, None).await.unwrap();
    assert_eq!(first.client.id, again.client.id);
    assert_eq!(f.clients().await.len(), 2);
}
