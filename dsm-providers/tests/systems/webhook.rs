//! Signed requests to a receiver.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dsm_core::provider::{Key, Options, Provider, ProviderError, Target};
use dsm_core::secret::SecretText;
use dsm_core::testing::provider::{FakeCall, Fault, ProviderFixture};
use dsm_providers::webhook::Webhook;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::receiver::{KEY, NAME, PATH, Receiver};
use crate::suite::{Style, System};
use crate::{NOWHERE, target};

dsm_core::provider_conformance!(Hook::new);
crate::suite::rotations!(Hook::new);
crate::suite::changes_in_place!(Hook::new);
crate::suite::accounts_for_a_while!(Hook::new);
crate::suite::refused_passwords!(Hook::new);

struct Hook(Receiver);

impl Hook {
    async fn new() -> Self {
        Self(Receiver::start().await)
    }

    /// From now on changes that `refuses` says are refused.
    fn refuse(&self, refuses: fn(FakeCall) -> bool, why: &'static str) {
        let refused = move || Fault::Refuses(why.to_owned());
        let plan = move |call| refuses(call).then(refused);
        self.0.fake.fault_when(plan);
    }
}

fn at(address: &str) -> Target {
    target(address, &[("path", PATH)], NAME, KEY)
}

#[async_trait]
impl ProviderFixture for Hook {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(Webhook::default())
    }

    fn target(&self) -> Target {
        at(&self.0.address.to_string())
    }

    fn nowhere(&self) -> Target {
        at(NOWHERE)
    }

    async fn make_account(&self, name: &str, password: &SecretText) {
        // One that is there keeps its keys.
        if !self.0.fake.accepts(name, password.expose()) {
            self.0.fake.add_account(name, password.expose());
        }
    }
}

#[async_trait]
impl System for Hook {
    fn name(&self) -> &'static str {
        "webhook"
    }

    fn styles(&self) -> &'static [Style] {
        &[Style::InPlace, Style::Pair, Style::Issued]
    }

    fn server(&self) -> SocketAddr {
        self.0.address
    }

    fn at(&self, address: SocketAddr) -> Target {
        self.0.stands_behind(address);
        at(&address.to_string())
    }

    fn change_mark(&self, style: Style) -> &'static str {
        match style {
            Style::InPlace | Style::Pair => r#""operation":"change_password""#,
            _ => r#""operation":"issue_key""#,
        }
    }

    async fn make_key(&self, account: &str) -> Key {
        let (id, secret) = (format!("first-of-{account}"), "First-secret-of-a-key-1");
        self.0.fake.add_key(account, &id, secret);
        Key {
            id,
            secret: secret.into(),
            public: None,
        }
    }

    fn creation_mark(&self) -> &'static str {
        r#""operation":"create_account""#
    }

    fn removal_mark(&self) -> &'static str {
        r#""operation":"drop_account""#
    }

    async fn set_rights(&self, has: bool) {
        if has {
            self.0.fake.heal();
        } else {
            self.refuse(FakeCall::changes, "this key may change nothing any more");
        }
    }

    async fn refuse_passwords(&self, refuses: bool) {
        if refuses {
            let is_change = |call| call == FakeCall::ChangePassword;
            self.refuse(is_change, "the password is too short");
        } else {
            self.0.fake.heal();
        }
    }

    /// What may have been changed is asked for by a second call.
    fn patience(&self) -> Duration {
        Duration::from_secs(21)
    }
}

#[tokio::test]
async fn what_the_receiver_says_is_what_is_known() {
    let hook = Hook::new().await;
    let password = SecretText::new("First-password-of-many-1");
    hook.make_account("app", &password).await;
    let provider = hook.provider();
    let passwords = provider.passwords().unwrap();
    let (target, other) = (hook.target(), SecretText::new("Second-password-of-many-2"));
    for (fault, is_known) in [
        (Fault::Refuses("too short".to_owned()), true),
        (Fault::Down, true),
        (Fault::ForgetsAfter, false),
    ] {
        let plan = fault.clone();
        hook.0
            .fake
            .fault_when(move |call| (call == FakeCall::ChangePassword).then(|| plan.clone()));
        let answer = passwords.change_password(&target, "app", &other).await;
        if is_known {
            let is_named = matches!(
                answer,
                Err(ProviderError::Refused(_) | ProviderError::Unavailable(_))
            );
            assert!(is_named, "{fault:?}: {answer:?}");
            assert!(hook.0.fake.accepts("app", password.expose()), "{fault:?}");
        } else {
            let is_unknown = matches!(answer, Err(ProviderError::OutcomeUnknown(_)));
            assert!(is_unknown, "{fault:?}: {answer:?}");
        }
    }
}

/// A server that reads a request and answers it so.
async fn answering(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 8_192];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer).await;
        }
    });
    address
}

#[tokio::test]
async fn a_lost_or_foreign_answer_to_a_change_leaves_its_outcome_unknown() {
    let endless: &'static [u8] = Box::leak(
        [
            b"HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n".as_slice(),
            &vec![b' '; 2_000_000],
        ]
        .concat()
        .into_boxed_slice(),
    );
    for answer in [
        b"".as_slice(),
        b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"done\":t",
        b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine",
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\n\r\nNot Found",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        endless,
    ] {
        let target = at(&answering(answer).await);
        let provider = Webhook::default();
        let passwords = provider.passwords().unwrap();
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(80)]).into_owned();
        let password = SecretText::new("First-password-of-many-1");
        let changed = passwords.change_password(&target, "app", &password).await;
        let is_unknown = matches!(changed, Err(ProviderError::OutcomeUnknown(_)));
        assert!(is_unknown, "{shown}: {changed:?}");
        let said = passwords.log_in(&target, "app", &password).await;
        let is_unavailable = matches!(said, Err(ProviderError::Unavailable(_)));
        assert!(is_unavailable, "{shown}: {said:?}");
    }
}

#[tokio::test]
async fn a_certificate_of_nobody_is_not_trusted() {
    let hook = Hook::new().await;
    let mut target = hook.target();
    target
        .options
        .insert("tls".to_owned(), "verify-full".to_owned());
    let error = hook.provider().test(&target).await.unwrap_err();
    assert!(matches!(error, ProviderError::Unavailable(_)), "{error}");
}

#[test]
fn every_problem_of_a_target_is_named() {
    let options: Options = [("path", "hook"), ("tls", "maybe"), ("colour", "red")]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let problems = Webhook::default().check("http://x/", &options);
    let fields: Vec<&str> = problems.iter().map(|it| it.field.as_str()).collect();
    assert_eq!(
        fields,
        ["address", "options.path", "options.tls", "options.colour"]
    );
}
