//! PostgreSQL.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use dsm_core::provider::{LogIn, NewAccount, Provider, ProviderError, Target, Template};
use dsm_core::secret::SecretText;
use dsm_core::testing::provider::ProviderFixture;
use dsm_providers::postgres::Postgres as PostgresProvider;
use dsm_test_servers::postgres::Postgres;
use tokio::sync::{Mutex, MutexGuard};

use crate::suite::{Style, System};
use crate::{NOWHERE, target};

dsm_core::provider_conformance!(Fixture::new);
crate::suite::rotations!(Fixture::new);
crate::suite::changes_in_place!(Fixture::new);
crate::suite::accounts_for_a_while!(Fixture::new);
// No refused passwords: the server is sent verifiers, and its password checks see no password.

const ADMIN: &str = "dsm_admin";
const ADMIN_PASSWORD: &str = "Admin-password-of-these-tests-1";
const ROLE: &str = "conformance_role";

/// One server for all tests of this program.
fn server() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(|| {
        Postgres::available().unwrap_or_else(|missing| panic!("{missing}"));
        let settings = ["fsync=off", "log_statement=all"];
        let server = Postgres::start_with(&settings).expect("the server starts");
        let make = format!("CREATE ROLE {ADMIN} LOGIN CREATEROLE PASSWORD '{ADMIN_PASSWORD}'");
        server.sql(&make).expect("an admin who is no superuser");
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
        let stale = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'conformance%' \
                     OR rolname LIKE 'rot\\_%'";
        let names = server().sql(stale).expect("listed");
        let drops = names
            .lines()
            .map(|name| format!("; DROP OWNED BY \"{name}\"; DROP ROLE \"{name}\""));
        let drops: String = drops.collect();
        let clean = format!("ALTER ROLE {ADMIN} CREATEROLE{drops}");
        server().sql(&clean).expect("cleaned");
        let fixture = Self { _turn: turn };
        // Roles that the admin made are its own to grant.
        let role = NewAccount {
            name: ROLE,
            password: None,
            roles: &[],
            expires_at: None,
            template: None,
        };
        let provider = fixture.provider();
        let accounts = provider.accounts().expect("it makes accounts");
        let made = accounts.create_account(&fixture.target(), &role).await;
        made.expect("a role");
        fixture
    }

    fn with_option(&self, name: &str, value: &str) -> Target {
        let mut target = self.target();
        target.options.insert(name.to_owned(), value.to_owned());
        target
    }

    async fn log_in(&self, account: &str, password: &str) -> Result<LogIn, ProviderError> {
        let provider = self.provider();
        let passwords = provider.passwords().expect("it has passwords");
        let password = SecretText::new(password);
        passwords.log_in(&self.target(), account, &password).await
    }

    async fn create(&self, account: &NewAccount<'_>) -> Result<(), ProviderError> {
        let provider = self.provider();
        let accounts = provider.accounts().expect("it makes accounts");
        accounts.create_account(&self.target(), account).await
    }

    async fn drop(&self, name: &str, template: Option<&Template>) -> Result<(), ProviderError> {
        let provider = self.provider();
        let accounts = provider.accounts().expect("it makes accounts");
        accounts.drop_account(&self.target(), name, template).await
    }
}

fn at(address: &str) -> Target {
    target(address, &[], ADMIN, ADMIN_PASSWORD)
}

#[async_trait]
impl ProviderFixture for Fixture {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(PostgresProvider)
    }

    fn target(&self) -> Target {
        at(&self.server().to_string())
    }

    fn nowhere(&self) -> Target {
        at(NOWHERE)
    }

    async fn make_account(&self, name: &str, password: &SecretText) {
        // By the admin, who changes it later: from version 16 on only who made a role may.
        let account = NewAccount {
            name,
            password: Some(password),
            roles: &[],
            expires_at: None,
            template: None,
        };
        self.create(&account).await.expect("made");
    }

    fn roles(&self) -> Vec<String> {
        vec![ROLE.to_owned()]
    }
}

#[async_trait]
impl System for Fixture {
    fn name(&self) -> &'static str {
        "postgresql"
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
        "ALTER ROLE"
    }

    fn creation_mark(&self) -> &'static str {
        // All that is done to make an account is one transaction.
        "COMMIT"
    }

    fn removal_mark(&self) -> &'static str {
        "COMMIT"
    }

    async fn set_rights(&self, has: bool) {
        let rights = if has { "CREATEROLE" } else { "NOCREATEROLE" };
        let statement = format!("ALTER ROLE {ADMIN} {rights}");
        server().sql(&statement).expect("changed");
    }

    fn weight(&self) -> usize {
        5
    }

    /// It hashes slowly, and makes a process for each connection.
    fn round(&self) -> Duration {
        Duration::from_millis(200)
    }
}

fn account<'a>(name: &'a str, password: &'a SecretText, roles: &'a [String]) -> NewAccount<'a> {
    NewAccount {
        name,
        password: Some(password),
        roles,
        expires_at: None,
        template: None,
    }
}

#[tokio::test]
async fn no_password_is_in_the_servers_log() {
    let fixture = Fixture::new().await;
    let (first, second) = ("Logged-password-1", "Logged-password-2");
    fixture
        .make_account("conformance_a", &SecretText::new(first))
        .await;
    let provider = fixture.provider();
    let passwords = provider.passwords().expect("it has passwords");
    let new = SecretText::new(second);
    let target = fixture.target();
    let changed = passwords
        .change_password(&target, "conformance_a", &new)
        .await;
    changed.expect("changed");
    assert_eq!(
        fixture.log_in("conformance_a", second).await,
        Ok(LogIn::Accepted)
    );
    let log = server().log().expect("a log");
    assert!(
        log.contains("ALTER ROLE \"conformance_a\""),
        "it logs statements"
    );
    assert!(
        !log.contains(first) && !log.contains(second),
        "and no password"
    );
}

#[tokio::test]
async fn a_name_that_the_server_would_cut_off_reaches_nobody() {
    let fixture = Fixture::new().await;
    let cut = format!("conformance_{}", "x".repeat(51));
    assert_eq!(cut.len(), 63);
    let first = SecretText::new("First-password-1");
    fixture.make_account(&cut, &first).await;
    let provider = fixture.provider();
    let passwords = provider.passwords().expect("it has passwords");
    let long = format!("{cut}y");
    let second = SecretText::new("Second-password-2");
    let target = fixture.target();
    let refused = passwords.change_password(&target, &long, &second).await;
    assert!(matches!(refused, Err(ProviderError::Refused(_))));
    assert_eq!(
        fixture.log_in(&cut, "First-password-1").await,
        Ok(LogIn::Accepted)
    );
    assert_eq!(
        fixture.log_in(&long, "First-password-1").await,
        Ok(LogIn::Rejected)
    );
}

#[tokio::test]
async fn a_right_password_is_known_where_the_database_may_not_be_entered() {
    let fixture = Fixture::new().await;
    let password = SecretText::new("First-password-1");
    fixture.make_account("conformance_a", &password).await;
    let close = "CREATE DATABASE closed_db; REVOKE CONNECT ON DATABASE closed_db FROM PUBLIC";
    for statement in close.split("; ") {
        server().sql(statement).expect("made");
    }
    let target = fixture.with_option("database", "closed_db");
    let provider = fixture.provider();
    let passwords = provider.passwords().expect("it has passwords");
    let right = passwords.log_in(&target, "conformance_a", &password).await;
    let wrong = SecretText::new("Wrong-password-1");
    let wrong = passwords.log_in(&target, "conformance_a", &wrong).await;
    server().sql("DROP DATABASE closed_db").expect("dropped");
    assert_eq!((right, wrong), (Ok(LogIn::Accepted), Ok(LogIn::Rejected)));
}

#[tokio::test]
async fn the_server_itself_refuses_an_account_that_is_over() {
    let fixture = Fixture::new().await;
    let password = SecretText::new("First-password-1");
    for (at, answer) in [
        ("2001-01-01T00:00:00Z", LogIn::Rejected),
        ("2101-01-01T00:00:00Z", LogIn::Accepted),
    ] {
        let account = NewAccount {
            expires_at: Some(at.parse().expect("an instant")),
            ..account("conformance_e1", &password, &[])
        };
        fixture.create(&account).await.expect("made");
        let found = fixture.log_in("conformance_e1", password.expose()).await;
        assert_eq!(found, Ok(answer), "{at}");
    }
}

#[tokio::test]
async fn an_account_has_the_roles_that_it_was_given_last() {
    let fixture = Fixture::new().await;
    let password = SecretText::new("First-password-1");
    let roles = fixture.roles();
    let query = "SELECT count(*) FROM pg_auth_members WHERE member = \
                 (SELECT oid FROM pg_roles WHERE rolname = 'conformance_e1')";
    for (roles, count) in [(&roles[..], "1"), (&[], "0"), (&roles, "1")] {
        let account = account("conformance_e1", &password, roles);
        fixture.create(&account).await.expect("made");
        assert_eq!(server().sql(query).expect("counted"), count);
    }
    let unknown = ["conformance_none".to_owned()];
    let account = account("conformance_e2", &password, &unknown);
    let refused = fixture.create(&account).await;
    assert!(
        matches!(refused, Err(ProviderError::Refused(_))),
        "{refused:?}"
    );
    let found = fixture.log_in("conformance_e2", password.expose()).await;
    assert_eq!(found, Ok(LogIn::Rejected), "all of it or nothing");
}

#[tokio::test]
async fn whoever_is_dropped_is_out_and_what_it_owned_is_kept() {
    let fixture = Fixture::new().await;
    let password = SecretText::new("First-password-1");
    let port = server().port();
    server().sql("CREATE DATABASE other_db").expect("made");
    let made = account("conformance_e1", &password, &[]);
    fixture.create(&made).await.expect("made");
    for database in ["postgres", "other_db"] {
        // What others have given to it, only they can take; this is the admin's.
        let place = "CREATE SCHEMA left_there AUTHORIZATION dsm_admin; SET ROLE dsm_admin; \
                     GRANT CREATE, USAGE ON SCHEMA left_there TO conformance_e1";
        server().sql_in(database, place).expect("granted");
        let table = "SET ROLE conformance_e1; CREATE TABLE left_there.behind AS SELECT 7 AS it";
        server().sql_in(database, table).expect("made");
    }
    let url = format!("host=127.0.0.1 port={port} user=conformance_e1 dbname=postgres");
    let mut config: tokio_postgres::Config = url.parse().expect("a place");
    config.password("First-password-1");
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.expect("in");
    let ended = tokio::spawn(connection);
    fixture.drop("conformance_e1", None).await.expect("dropped");
    assert!(
        client.simple_query("SELECT 1").await.is_err(),
        "the session is over"
    );
    assert!(ended.await.expect("it ran").is_err());
    for database in ["postgres", "other_db"] {
        let owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'behind'";
        assert_eq!(
            server().sql_in(database, owner).expect("found"),
            ADMIN,
            "{database}"
        );
    }
    for statement in ["DROP SCHEMA left_there CASCADE", "DROP DATABASE other_db"] {
        server().sql(statement).expect("cleaned");
    }
}

#[tokio::test]
async fn a_template_makes_and_removes_an_account() {
    let fixture = Fixture::new().await;
    let password = SecretText::new("First'; DROP ROLE dsm_admin; --");
    let make: Template = "CREATE ROLE [#USERNAME#] LOGIN PASSWORD [#NEW_PASSWORD#] \
                          VALID UNTIL [#EXPIRES_AT#] CONNECTION LIMIT 3\n\
                          GRANT [#ROLES#] TO [#USERNAME#]"
        .parse()
        .expect("a template");
    let roles = fixture.roles();
    for _ in 0..2 {
        let account = NewAccount {
            template: Some(&make),
            ..account("conformance_e1", &password, &roles)
        };
        fixture.create(&account).await.expect("made, again as well");
        let found = fixture.log_in("conformance_e1", password.expose()).await;
        assert_eq!(found, Ok(LogIn::Accepted));
    }
    let limit = "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'conformance_e1'";
    assert_eq!(server().sql(limit).expect("found"), "3");
    let nothing: Template = "SELECT 1".parse().expect("a template");
    let left = fixture.drop("conformance_e1", Some(&nothing)).await;
    assert!(matches!(left, Err(ProviderError::Refused(_))), "{left:?}");
    let remove: Template = "DROP ROLE [#USERNAME#]".parse().expect("a template");
    for _ in 0..2 {
        let dropped = fixture.drop("conformance_e1", Some(&remove)).await;
        dropped.expect("dropped, and gone");
    }
    let bad: Template = "DROP ROLE [#USERNAME#] [#NEW_PASSWORD#]"
        .parse()
        .expect("one");
    fixture
        .create(&account("conformance_e1", &password, &[]))
        .await
        .expect("made");
    let refused = fixture.drop("conformance_e1", Some(&bad)).await;
    assert!(
        matches!(refused, Err(ProviderError::Refused(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn what_the_admin_may_not_do_is_told_by_the_test() {
    let fixture = Fixture::new().await;
    fixture.set_rights(false).await;
    let report = fixture.provider().test(&fixture.target()).await;
    fixture.set_rights(true).await;
    let report = report.expect("it logs in");
    let lacking: Vec<&str> = report
        .checks
        .iter()
        .filter(|check| !check.works)
        .map(|check| check.what.as_str())
        .collect();
    assert_eq!(lacking, ["change passwords", "make accounts"]);
}
