//! MariaDB.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use dsm_core::provider::{LogIn, NewAccount, Provider, ProviderError, Target, Template};
use dsm_core::secret::SecretText;
use dsm_core::testing::provider::ProviderFixture;
use dsm_providers::mysql::Mysql;
use dsm_test_servers::mariadb::Mariadb;
use tokio::sync::{Mutex, MutexGuard};

use crate::suite::{Style, System};
use crate::{NOWHERE, target};

dsm_core::provider_conformance!(Fixture::new);
crate::suite::rotations!(Fixture::new);
crate::suite::changes_in_place!(Fixture::new);
crate::suite::accounts_for_a_while!(Fixture::new);
crate::suite::refused_passwords!(Fixture::new);

const ROLE: &str = "conformance_role";
/// An admin with no more rights than changes of passwords need.
const LESSER: &str = "dsm_lesser";

/// One server for all tests of this program.
fn server() -> &'static Mariadb {
    static SERVER: OnceLock<Mariadb> = OnceLock::new();
    SERVER.get_or_init(|| {
        Mariadb::available().unwrap_or_else(|missing| panic!("{missing}"));
        let server = Mariadb::start().expect("the server starts");
        let make = format!(
            "CREATE USER {LESSER}@'%' IDENTIFIED BY '{}'; GRANT CREATE USER ON *.* TO {LESSER}@'%'; \
             GRANT SELECT, UPDATE ON mysql.* TO {LESSER}@'%'",
            server.password()
        );
        server.sql(&make).expect("a lesser admin");
        server
    })
}

struct Fixture {
    _turn: MutexGuard<'static, ()>,
}

impl Fixture {
    async fn new() -> Self {
        static TURNS: Mutex<()> = Mutex::const_new(());
        let turn = TURNS.lock().await;
        let fixture = Self { _turn: turn };
        fixture.refuse_passwords(false).await;
        fixture.set_rights(true).await;
        let stale = "SELECT User, is_role FROM mysql.user WHERE User LIKE 'conformance%' \
                     OR User LIKE 'rot\\_%'";
        let names = server().sql(stale).expect("listed");
        let drops = names.lines().map(|line| {
            let (name, is_role) = line.split_once('\t').expect("two columns");
            match is_role {
                "Y" => format!("DROP ROLE '{name}'; "),
                _ => format!("DROP USER '{name}'@'%'; "),
            }
        });
        let clean = format!(
            "{}CREATE ROLE {ROLE}; GRANT SELECT ON mysql.help_topic TO {ROLE}; \
             GRANT {ROLE} TO {}@'%' WITH ADMIN OPTION",
            drops.collect::<String>(),
            Mariadb::ADMIN
        );
        server().sql(&clean).expect("cleaned");
        fixture
    }

    fn lesser(&self) -> Target {
        let mut target = self.target();
        LESSER.clone_into(&mut target.admin.user);
        target
    }

    async fn log_in(&self, account: &str, password: &str) -> Result<LogIn, ProviderError> {
        let password = SecretText::new(password);
        let passwords: &dyn dsm_core::provider::Passwords = &Mysql;
        passwords.log_in(&self.target(), account, &password).await
    }
}

fn at(address: &str) -> Target {
    target(address, &[], Mariadb::ADMIN, server().password())
}

#[async_trait]
impl ProviderFixture for Fixture {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(Mysql)
    }

    fn target(&self) -> Target {
        at(&self.server().to_string())
    }

    fn nowhere(&self) -> Target {
        at(NOWHERE)
    }

    async fn make_account(&self, name: &str, password: &SecretText) {
        let statement = format!(
            "CREATE USER '{name}'@'%' IDENTIFIED BY '{}'",
            password.expose()
        );
        server().sql(&statement).expect("made");
    }

    fn roles(&self) -> Vec<String> {
        vec![ROLE.to_owned()]
    }
}

#[async_trait]
impl System for Fixture {
    fn name(&self) -> &'static str {
        "mysql"
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
        "SET PASSWORD FOR"
    }

    fn creation_mark(&self) -> &'static str {
        "CREATE USER"
    }

    fn removal_mark(&self) -> &'static str {
        "DROP USER"
    }

    async fn set_rights(&self, has: bool) {
        let admin = Mariadb::ADMIN;
        let statement = if has {
            format!("GRANT ALL ON *.* TO {admin}@'%' WITH GRANT OPTION")
        } else {
            format!("REVOKE ALL PRIVILEGES, GRANT OPTION FROM {admin}@'%'")
        };
        server().sql(&statement).expect("changed");
    }

    async fn refuse_passwords(&self, refuses: bool) {
        let load = "INSTALL SONAME 'simple_password_check'; \
                    SET GLOBAL simple_password_check_minimal_length = 200";
        let unload = "UNINSTALL SONAME 'simple_password_check'";
        if refuses {
            server().sql(load).expect("loaded");
        } else {
            // It is not there at first.
            let _ = server().sql(unload);
        }
    }
}

#[tokio::test]
async fn no_password_is_in_the_servers_log() {
    let fixture = Fixture::new().await;
    for (name, target) in [("quiet", fixture.target()), ("loud", fixture.lesser())] {
        let made = SecretText::new(format!("Made-password-1-{name}"));
        let changed = SecretText::new(format!("Changed-password-2-{name}"));
        let account_name = format!("conformance_{name}");
        let account = NewAccount {
            name: &account_name,
            password: Some(&made),
            roles: &[],
            expires_at: None,
            template: None,
        };
        let accounts = Mysql.accounts().expect("it makes accounts");
        accounts
            .create_account(&target, &account)
            .await
            .expect("made");
        let found = fixture.log_in(&account_name, made.expose()).await;
        assert_eq!(found, Ok(LogIn::Accepted), "{name}");
        let passwords = Mysql.passwords().expect("it has passwords");
        let change = passwords.change_password(&target, &account_name, &changed);
        change.await.expect("changed");
        let found = fixture.log_in(&account_name, changed.expose()).await;
        assert_eq!(found, Ok(LogIn::Accepted), "{name}");
        let log = server().statements().expect("a log");
        assert!(!log.contains(made.expose()), "{name}");
        assert!(!log.contains(changed.expose()), "{name}");
    }
    let log = server().statements().expect("a log");
    assert!(
        log.contains("SET PASSWORD FOR 'conformance_loud'@'%' = '*"),
        "it logs"
    );
}

#[tokio::test]
async fn an_account_may_use_its_roles_and_is_out_when_it_is_dropped() {
    let fixture = Fixture::new().await;
    let password = SecretText::new("First-password-1");
    let account = NewAccount {
        name: "conformance_e1",
        password: Some(&password),
        roles: &fixture.roles(),
        expires_at: Some("2101-01-01T00:00:00Z".parse().expect("an instant")),
        template: None,
    };
    let accounts = Mysql.accounts().expect("it makes accounts");
    let made = accounts.create_account(&fixture.target(), &account).await;
    made.expect("made");
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(server().port())
        .user(Some("conformance_e1"))
        .pass(Some("First-password-1"))
        .prefer_socket(false);
    let mut inside = mysql_async::Conn::new(options).await.expect("in");
    let query = "SELECT COUNT(*) FROM mysql.help_topic";
    let read = mysql_async::prelude::Queryable::query_drop(&mut inside, query).await;
    read.expect("the role is active");
    let dropped = accounts
        .drop_account(&fixture.target(), "conformance_e1", None)
        .await;
    dropped.expect("dropped");
    let read = mysql_async::prelude::Queryable::query_drop(&mut inside, query).await;
    assert!(read.is_err(), "the session is over");
}

#[tokio::test]
async fn a_template_makes_and_removes_an_account() {
    let fixture = Fixture::new().await;
    let password = SecretText::new(r"First\'; DROP USER dsm_admin; --");
    let make: Template = "CREATE USER [#USERNAME#] IDENTIFIED BY [#NEW_PASSWORD#]\n\
                          GRANT [#ROLES#] TO [#USERNAME#]"
        .parse()
        .expect("a template");
    let account = NewAccount {
        name: "conformance_e1",
        password: Some(&password),
        roles: &fixture.roles(),
        expires_at: None,
        template: Some(&make),
    };
    let accounts = Mysql.accounts().expect("it makes accounts");
    let target = fixture.target();
    for _ in 0..2 {
        let made = accounts.create_account(&target, &account).await;
        made.expect("made, again as well");
        let found = fixture.log_in("conformance_e1", password.expose()).await;
        assert_eq!(found, Ok(LogIn::Accepted));
    }
    let nothing: Template = "DO 0".parse().expect("a template");
    let left = accounts
        .drop_account(&target, "conformance_e1", Some(&nothing))
        .await;
    assert!(matches!(left, Err(ProviderError::Refused(_))), "{left:?}");
    let remove: Template = "DROP USER [#USERNAME#]".parse().expect("a template");
    for _ in 0..2 {
        let dropped = accounts
            .drop_account(&target, "conformance_e1", Some(&remove))
            .await;
        dropped.expect("dropped, and gone");
    }
}
