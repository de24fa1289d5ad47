//! AWS IAM as moto plays it, signatures and rights checked.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use dsm_core::provider::{IssuedKeys, Key, Keys, LogIn, Provider, ProviderError, Target};
use dsm_core::secret::SecretText;
use dsm_core::testing::provider::ProviderFixture;
use dsm_providers::aws_iam::AwsIam;
use dsm_test_servers::moto::Moto;
use tokio::sync::{Mutex, MutexGuard};

use crate::suite::{Style, System};
use crate::{NOWHERE, plain_http, target};

dsm_core::provider_conformance!(
    if dsm_test_servers::is_there(Moto::available()),
    Account::fresh
);
crate::suite::rotations!(
    if dsm_test_servers::is_there(Moto::available()),
    Account::fresh
);
// Nothing in place, no refused passwords and no leases: users of AWS have two keys, which AWS makes, and
// the provider makes no users.

/// One server for all; each test has an empty account for itself.
static TURN: Mutex<()> = Mutex::const_new(());

fn address() -> String {
    static SERVER: OnceLock<Moto> = OnceLock::new();
    let server = SERVER.get_or_init(|| Moto::start(0).expect("moto starts"));
    server.address().to_string()
}

/// An account with one user, who may do everything.
struct Account {
    _turn: MutexGuard<'static, ()>,
    admin: (String, String),
}

impl Account {
    async fn fresh() -> Self {
        let turn = TURN.lock().await;
        plain_http::ask(&address(), "POST", "/moto-api/reset", &[], "");
        let made = make_user("admin", "%2A");
        Self {
            _turn: turn,
            admin: made,
        }
    }

    fn at_address(&self, address: &str) -> Target {
        let (id, secret) = &self.admin;
        target(address, &[("sts", address)], id, secret)
    }

    fn there(&self) -> Target {
        self.at_address(&address())
    }
}

/// A call that nobody has to have signed.
fn call(form: &str) -> (u16, String) {
    plain_http::ask(&address(), "POST", "/moto-api/reset-auth", &[], "1");
    let unsigned = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/iam/aws4_request, \
                    SignedHeaders=host, Signature=x";
    let headers = [
        ("authorization", unsigned),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let form = format!("{form}&Version=2010-05-08");
    plain_http::ask(&address(), "POST", "/", &headers, &form)
}

/// Makes a user who may do this; gives its key.
fn make_user(name: &str, action: &str) -> (String, String) {
    let (status, said) = call(&format!("Action=CreateUser&UserName={name}"));
    assert_eq!(status, 200, "{said}");
    allow(name, action);
    issue(name)
}

/// Allows a user this and nothing else.
fn allow(name: &str, action: &str) {
    let policy = format!(
        "%7B%22Version%22:%222012-10-17%22,%22Statement%22:%5B%7B%22Effect%22:%22Allow%22,\
         %22Action%22:%22{action}%22,%22Resource%22:%22%2A%22%7D%5D%7D"
    );
    let put = "Action=PutUserPolicy&PolicyName=all";
    let (status, said) = call(&format!("{put}&UserName={name}&PolicyDocument={policy}"));
    assert_eq!(status, 200, "{said}");
}

/// Makes a key of a user; gives its id and its secret.
fn issue(name: &str) -> (String, String) {
    let (status, said) = call(&format!("Action=CreateAccessKey&UserName={name}"));
    assert_eq!(status, 200, "{said}");
    let text = |name: &str| {
        let (_, rest) = said.split_once(&format!("<{name}>")).expect("it is there");
        rest.split_once('<').expect("it ends").0.to_owned()
    };
    (text("AccessKeyId"), text("SecretAccessKey"))
}

#[async_trait]
impl ProviderFixture for Account {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(AwsIam::default())
    }

    fn target(&self) -> Target {
        self.there()
    }

    fn nowhere(&self) -> Target {
        self.at_address(NOWHERE)
    }

    async fn make_account(&self, name: &str, _: &SecretText) {
        let (status, said) = call(&format!("Action=CreateUser&UserName={name}"));
        assert!(
            status == 200 || said.contains("EntityAlreadyExists"),
            "{said}"
        );
    }
}

#[async_trait]
impl System for Account {
    fn name(&self) -> &'static str {
        "aws_iam"
    }

    fn styles(&self) -> &'static [Style] {
        &[Style::Issued]
    }

    fn server(&self) -> SocketAddr {
        address().parse().expect("an address")
    }

    fn at(&self, address: SocketAddr) -> Target {
        self.at_address(&address.to_string())
    }

    fn change_mark(&self, _: Style) -> &'static str {
        "Action=CreateAccessKey"
    }

    async fn make_key(&self, account: &str) -> Key {
        let (id, secret) = issue(account);
        Key {
            id,
            secret: secret.into(),
            public: None,
        }
    }

    async fn set_rights(&self, has: bool) {
        // A policy that allows nothing it is asked for.
        allow("admin", if has { "%2A" } else { "s3:GetObject" });
    }

    async fn accounts(&self) -> Vec<String> {
        let (status, said) = call("Action=ListUsers");
        assert_eq!(status, 200, "{said}");
        let names = said.split("<UserName>").skip(1);
        let names = names.filter_map(|rest| rest.split('<').next());
        names.map(str::to_owned).collect()
    }
}

fn keys(provider: &AwsIam) -> &dyn IssuedKeys {
    match provider.keys() {
        Some(Keys::Issued(_)) => provider,
        other => panic!("AWS makes the keys, not {other:?}"),
    }
}

#[tokio::test]
async fn a_third_key_is_refused_and_none_is_made() {
    if !dsm_test_servers::is_there(Moto::available()) {
        return;
    }
    let account = Account::fresh().await;
    account.make_account("ann", &"".into()).await;
    let provider = AwsIam::default();
    let keys = keys(&provider);
    for _ in 0..2 {
        keys.issue_key(&account.there(), "ann").await.unwrap();
    }
    let third = keys.issue_key(&account.there(), "ann").await;
    let Err(ProviderError::Refused(why)) = third else {
        panic!("a third key: {third:?}");
    };
    assert!(why.starts_with("LimitExceeded"), "{why}");
    let listed = keys.list_keys(&account.there(), "ann").await.unwrap();
    assert_eq!(listed.len(), 2);
}

#[tokio::test]
async fn a_key_of_somebody_else_does_not_count() {
    if !dsm_test_servers::is_there(Moto::available()) {
        return;
    }
    let account = Account::fresh().await;
    account.make_account("ann", &"".into()).await;
    account.make_account("bob", &"".into()).await;
    let provider = AwsIam::default();
    let key = keys(&provider)
        .issue_key(&account.there(), "ann")
        .await
        .unwrap();
    let target = account.there();
    let own = keys(&provider).log_in(&target, "ann", &key).await;
    assert_eq!(own, Ok(LogIn::Accepted));
    let other = keys(&provider).log_in(&target, "bob", &key).await;
    assert_eq!(other, Ok(LogIn::Rejected));
    let unknown = Key {
        id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
        secret: key.secret.duplicate(),
        public: None,
    };
    let unknown = keys(&provider).log_in(&target, "ann", &unknown).await;
    assert_eq!(unknown, Ok(LogIn::Rejected));
}

#[tokio::test]
async fn an_admin_without_rights_is_told_so() {
    if !dsm_test_servers::is_there(Moto::available()) {
        return;
    }
    let account = Account::fresh().await;
    account.make_account("ann", &"".into()).await;
    let (id, secret) = make_user("weak", "s3:GetObject");
    let address = address();
    let weak = target(&address, &[("sts", &address)], &id, &secret);
    let provider = AwsIam::default();
    let report = provider.test(&weak).await.unwrap();
    let works: Vec<_> = report
        .checks
        .iter()
        .map(|it| (&*it.what, it.works))
        .collect();
    assert_eq!(works, [("log in", true), ("list access keys", false)]);
    let issued = keys(&provider).issue_key(&weak, "ann").await;
    assert!(
        matches!(issued, Err(ProviderError::Refused(_))),
        "{issued:?}"
    );
    let listed = keys(&provider).list_keys(&account.there(), "ann").await;
    assert_eq!(listed, Ok(Vec::new()));
}
