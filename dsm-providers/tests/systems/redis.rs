//! Redis, with an `aclfile`.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use dsm_core::provider::{LogIn, NewAccount, Provider, ProviderError, Target};
use dsm_core::secret::SecretText;
use dsm_core::testing::provider::ProviderFixture;
use dsm_providers::redis::Redis as RedisProvider;
use dsm_test_servers::redis::Redis;
use tokio::sync::{Mutex, MutexGuard};

use crate::suite::{Style, System};
use crate::{NOWHERE, target};

dsm_core::provider_conformance!(Fixture::new);
crate::suite::rotations!(Fixture::new);
crate::suite::changes_in_place!(Fixture::new);
crate::suite::accounts_for_a_while!(Fixture::new);
// No refused passwords: Redis has no policy for them.

const ADMIN: &str = "dsm_admin";
const ADMIN_PASSWORD: &str = "Admin-password-of-these-tests-1";
const ADMIN_RULES: [&str; 4] = ["+acl", "+client|kill", "+config|get", "+auth"];

/// One server for all tests of this program.
fn server() -> &'static Redis {
    static SERVER: OnceLock<Redis> = OnceLock::new();
    SERVER.get_or_init(|| start(&[("aclfile", "users.acl")]))
}

fn start(settings: &[(&str, &str)]) -> Redis {
    Redis::available().unwrap_or_else(|missing| panic!("{missing}"));
    let mut all = vec![("appendonly", "no")];
    all.extend(settings);
    let server = Redis::start_with(&all).expect("the server starts");
    make_admin(&server);
    server
}

fn make_admin(server: &Redis) {
    let password = format!(">{ADMIN_PASSWORD}");
    let make = ["acl", "setuser", ADMIN, "reset", "on", &password];
    let make = [&make[..], &ADMIN_RULES].concat();
    server.cli(&make).expect("an admin");
}

struct Fixture {
    _turn: MutexGuard<'static, ()>,
}

impl Fixture {
    async fn new() -> Self {
        static TURNS: Mutex<()> = Mutex::const_new(());
        let turn = TURNS.lock().await;
        make_admin(server());
        let users = server().cli(&["acl", "users"]).expect("listed");
        for user in users.lines() {
            if user.starts_with("conformance") || user.starts_with("rot_") {
                server().cli(&["acl", "deluser", user]).expect("deleted");
            }
        }
        Self { _turn: turn }
    }
}

fn at(address: &str) -> Target {
    target(address, &[], ADMIN, ADMIN_PASSWORD)
}

#[async_trait]
impl ProviderFixture for Fixture {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(RedisProvider)
    }

    fn target(&self) -> Target {
        at(&self.server().to_string())
    }

    fn nowhere(&self) -> Target {
        at(NOWHERE)
    }

    async fn make_account(&self, name: &str, password: &SecretText) {
        let password = format!(">{}", password.expose());
        let make = ["acl", "setuser", name, "reset", "on", &password];
        server().cli(&make).expect("made");
    }

    fn roles(&self) -> Vec<String> {
        vec!["+@read".to_owned(), "~app:*".to_owned()]
    }
}

#[async_trait]
impl System for Fixture {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn styles(&self) -> &'static [Style] {
        &[Style::InPlace, Style::Pair]
    }

    fn server(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], server().port()))
    }

    fn at(&self, address: SocketAddr) -> Target {
        at(&address.to_string())
    }

    fn change_mark(&self, _: Style) -> &'static str {
        "SETUSER"
    }

    fn creation_mark(&self) -> &'static str {
        "SETUSER"
    }

    fn removal_mark(&self) -> &'static str {
        "DELUSER"
    }

    async fn set_rights(&self, has: bool) {
        if has {
            make_admin(server());
        } else {
            let take = ["acl", "setuser", ADMIN, "-acl|setuser"];
            server().cli(&take).expect("changed");
        }
    }
}

#[tokio::test]
async fn what_redis_would_forget_is_refused_unless_it_is_wanted() {
    let server = start(&[]);
    let mut target = at(&format!("127.0.0.1:{}", server.port()));
    let make = [
        "acl",
        "setuser",
        "conformance_a",
        "reset",
        "on",
        ">First-password-1",
    ];
    server.cli(&make).expect("made");
    let report = RedisProvider.test(&target).await.expect("it is up");
    let kept = report
        .checks
        .iter()
        .find(|check| check.what == "keep changes");
    assert!(kept.is_some_and(|check| !check.works), "{report:?}");
    let passwords = RedisProvider.passwords().expect("it has passwords");
    let (first, second) = (
        SecretText::new("First-password-1"),
        SecretText::new("Second-2"),
    );
    let refused = passwords
        .change_password(&target, "conformance_a", &second)
        .await;
    assert!(
        matches!(refused, Err(ProviderError::Refused(_))),
        "{refused:?}"
    );
    let found = passwords.log_in(&target, "conformance_a", &first).await;
    assert_eq!(found, Ok(LogIn::Accepted), "nothing was changed");
    target
        .options
        .insert("persist".to_owned(), "none".to_owned());
    let changed = passwords
        .change_password(&target, "conformance_a", &second)
        .await;
    changed.expect("changed");
    let found = passwords.log_in(&target, "conformance_a", &second).await;
    assert_eq!(found, Ok(LogIn::Accepted));
    assert!(RedisProvider.test(&target).await.expect("it is up").works());
}

#[tokio::test]
async fn changes_survive_a_restart() {
    let mut server = start(&[("aclfile", "users.acl")]);
    let target = at(&format!("127.0.0.1:{}", server.port()));
    let password = SecretText::new("First-password-1");
    let account = NewAccount {
        name: "conformance_e1",
        password: Some(&password),
        roles: &["+@read".to_owned()],
        expires_at: None,
        template: None,
    };
    let accounts = RedisProvider.accounts().expect("it makes accounts");
    accounts
        .create_account(&target, &account)
        .await
        .expect("made");
    server.kill9().expect("killed");
    server.start_again().expect("started");
    let passwords = RedisProvider.passwords().expect("it has passwords");
    let found = passwords.log_in(&target, "conformance_e1", &password).await;
    assert_eq!(found, Ok(LogIn::Accepted));
}

#[tokio::test]
async fn rules_are_roles_and_nothing_else() {
    let fixture = Fixture::new().await;
    let password = SecretText::new("First-password-1");
    let accounts = RedisProvider.accounts().expect("it makes accounts");
    for bad in ["nopass", "off", ">known", "reset"] {
        let account = NewAccount {
            name: "conformance_e1",
            password: Some(&password),
            roles: &[bad.to_owned()],
            expires_at: None,
            template: None,
        };
        let refused = accounts.create_account(&fixture.target(), &account).await;
        assert!(matches!(refused, Err(ProviderError::Refused(_))), "{bad}");
    }
    let names = accounts
        .list_accounts(&fixture.target(), "conformance")
        .await;
    assert_eq!(names, Ok(Vec::new()));
}
