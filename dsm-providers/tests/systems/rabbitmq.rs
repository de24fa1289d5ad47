//! RabbitMQ.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dsm_core::provider::{LogIn, NewAccount, Provider, ProviderError, Target};
use dsm_core::secret::SecretText;
use dsm_core::testing::provider::ProviderFixture;
use dsm_providers::rabbitmq::RabbitMq;
use dsm_test_servers::rabbitmq::RabbitMq as Server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, MutexGuard};

use crate::suite::{Style, System};
use crate::{NOWHERE, plain_http, target};

dsm_core::provider_conformance!(
    if dsm_test_servers::is_there(Server::available()),
    Rabbit::fresh
);
crate::suite::rotations!(
    if dsm_test_servers::is_there(Server::available()),
    Rabbit::fresh
);
crate::suite::changes_in_place!(
    if dsm_test_servers::is_there(Server::available()),
    Rabbit::fresh
);
crate::suite::accounts_for_a_while!(
    if dsm_test_servers::is_there(Server::available()),
    Rabbit::fresh
);
// No refused passwords: the server is sent hashes, and its credential validator sees no password.

/// Who manages the users, beside [`Server::ADMIN`], who gives rights and takes them.
const ADMIN: &str = "dsm_admin";
/// A server takes seconds to start, so one has to do; users belong to all of it.
static TURN: Mutex<()> = Mutex::const_new(());

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start().expect("the server starts"))
}

/// The server without the users of the test before.
struct Rabbit {
    _turn: MutexGuard<'static, ()>,
}

impl Rabbit {
    async fn fresh() -> Self {
        let fresh = Self {
            _turn: TURN.lock().await,
        };
        fresh.set_rights(true).await;
        for prefix in ["conformance", "rot_"] {
            for user in fresh.list(prefix).await {
                let path = format!("users/{user}");
                assert_eq!(api("DELETE", &path, "").0, 204, "{user}");
            }
        }
        fresh
    }

    async fn list(&self, prefix: &str) -> Vec<String> {
        let provider = RabbitMq::default();
        let accounts = provider.accounts().expect("it has accounts");
        accounts
            .list_accounts(&there(), prefix)
            .await
            .expect("listed")
    }
}

/// A request past the provider.
fn api(method: &str, path: &str, body: &str) -> (u16, String) {
    let login = format!("{}:{}", Server::ADMIN, Server::PASSWORD);
    let login = format!("Basic {}", BASE64_STANDARD.encode(login));
    let headers = [
        ("authorization", &*login),
        ("content-type", "application/json"),
    ];
    let path = format!("/api/{path}");
    plain_http::ask(&server().address(), method, &path, &headers, body)
}

fn at(address: &str) -> Target {
    target(address, &[], ADMIN, Server::PASSWORD)
}

fn there() -> Target {
    at(&server().address())
}

#[async_trait]
impl ProviderFixture for Rabbit {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(RabbitMq::default())
    }

    fn target(&self) -> Target {
        there()
    }

    fn nowhere(&self) -> Target {
        at(NOWHERE)
    }

    async fn make_account(&self, name: &str, password: &SecretText) {
        let body = serde_json::json!({ "password": password.expose(), "tags": "" });
        let (status, said) = api("PUT", &format!("users/{name}"), &body.to_string());
        assert!([201, 204].contains(&status), "{said}");
    }

    fn roles(&self) -> Vec<String> {
        let roles = ["tag management", "permissions / ^$ ^conf|x$ .*"];
        roles.map(str::to_owned).to_vec()
    }
}

#[async_trait]
impl System for Rabbit {
    fn name(&self) -> &'static str {
        "rabbitmq"
    }

    fn styles(&self) -> &'static [Style] {
        &[Style::InPlace, Style::Pair]
    }

    fn server(&self) -> SocketAddr {
        server().address().parse().expect("an address")
    }

    fn at(&self, address: SocketAddr) -> Target {
        at(&address.to_string())
    }

    fn change_mark(&self, _: Style) -> &'static str {
        "PUT /api/users/"
    }

    fn creation_mark(&self) -> &'static str {
        "PUT /api/users/"
    }

    fn removal_mark(&self) -> &'static str {
        "DELETE /api/users/"
    }

    async fn set_rights(&self, has: bool) {
        let tags = if has { "administrator" } else { "monitoring" };
        let body = serde_json::json!({ "password": Server::PASSWORD, "tags": tags });
        let (status, said) = api("PUT", &format!("users/{ADMIN}"), &body.to_string());
        assert!([201, 204].contains(&status), "{said}");
    }
}

/// An AMQP connection up to the point where the server says whether the login is good.
async fn connect_by_amqp(user: &str, password: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", server().port()))
        .await
        .ok()?;
    stream.write_all(b"AMQP\0\0\x09\x01").await.ok()?;
    read_method(&mut stream).await?;
    let response = format!("\0{user}\0{password}");
    let mut start_ok = vec![0, 10, 0, 11, 0, 0, 0, 0, 5];
    start_ok.extend_from_slice(b"PLAIN");
    start_ok.extend_from_slice(&u32::try_from(response.len()).ok()?.to_be_bytes());
    start_ok.extend_from_slice(response.as_bytes());
    start_ok.extend_from_slice(b"\x05en_US");
    write_method(&mut stream, &start_ok).await?;
    // Connection.Tune, or Connection.Close.
    if !read_method(&mut stream).await?.starts_with(&[0, 10, 0, 30]) {
        return None;
    }
    // No heartbeat, so that the connection ends by nothing but the server.
    write_method(&mut stream, &[0, 10, 0, 31, 7, 255, 0, 2, 0, 0, 0, 0]).await?;
    write_method(&mut stream, &[0, 10, 0, 40, 1, b'/', 0, 0]).await?;
    let opened = read_method(&mut stream).await?;
    opened.starts_with(&[0, 10, 0, 41]).then_some(stream)
}

async fn write_method(stream: &mut TcpStream, payload: &[u8]) -> Option<()> {
    let mut frame = vec![1, 0, 0];
    frame.extend_from_slice(&u32::try_from(payload.len()).ok()?.to_be_bytes());
    frame.extend_from_slice(payload);
    frame.push(0xCE);
    stream.write_all(&frame).await.ok()
}

async fn read_method(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = [0; 7];
    stream.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes(head[3..7].try_into().ok()?);
    let mut payload = vec![0; usize::try_from(length).ok()? + 1];
    stream.read_exact(&mut payload).await.ok()?;
    Some(payload)
}

fn account<'a>(password: &'a SecretText, roles: &'a [String]) -> NewAccount<'a> {
    NewAccount {
        name: "conformance_e1",
        password: Some(password),
        roles,
        expires_at: None,
        template: None,
    }
}

#[tokio::test]
async fn a_dropped_account_is_connected_no_longer() {
    if !dsm_test_servers::is_there(Server::available()) {
        return;
    }
    let rabbit = Rabbit::fresh().await;
    let provider = rabbit.provider();
    let accounts = provider.accounts().unwrap();
    let password = SecretText::new("First-password-of-many-1");
    let roles = rabbit.roles();
    accounts
        .create_account(&there(), &account(&password, &roles))
        .await
        .unwrap();
    let user = "conformance_e1";
    assert!(connect_by_amqp(user, "wrong").await.is_none());
    let mut connection = connect_by_amqp(user, password.expose())
        .await
        .expect("it logs in");
    accounts.drop_account(&there(), user, None).await.unwrap();
    // The server says that it closes the connection, or just does.
    let mut rest = Vec::new();
    let closed = async {
        if let Some(method) = read_method(&mut connection).await {
            assert!(method.starts_with(&[0, 10, 0, 50]), "{method:?}");
            write_method(&mut connection, &[0, 10, 0, 51]).await;
        }
        connection.read_to_end(&mut rest).await
    };
    let closed = tokio::time::timeout(Duration::from_secs(30), closed).await;
    closed.expect("the connection is closed").ok();
    assert!(connect_by_amqp(user, password.expose()).await.is_none());
}

#[tokio::test]
async fn an_account_has_its_roles_and_no_others() {
    if !dsm_test_servers::is_there(Server::available()) {
        return;
    }
    let rabbit = Rabbit::fresh().await;
    let provider = rabbit.provider();
    let accounts = provider.accounts().unwrap();
    let password = SecretText::new("First-password-of-many-1");
    let held = || {
        let (_, body) = api("GET", "users/conformance_e1/permissions", "");
        let (_, user) = api("GET", "users/conformance_e1", "");
        let user: serde_json::Value = serde_json::from_str(&user).unwrap();
        (body, user["tags"].to_string())
    };
    let roles = rabbit.roles();
    accounts
        .create_account(&there(), &account(&password, &roles))
        .await
        .unwrap();
    let (permissions, tags) = held();
    assert!(
        permissions.contains(r#""write":"^conf|x$""#),
        "{permissions}"
    );
    assert_eq!(tags, r#"["management"]"#);
    accounts
        .create_account(&there(), &account(&password, &[]))
        .await
        .unwrap();
    assert_eq!(held(), ("[]".to_owned(), "[]".to_owned()));
}

#[tokio::test]
async fn roles_that_cannot_be_given_leave_no_account() {
    if !dsm_test_servers::is_there(Server::available()) {
        return;
    }
    let rabbit = Rabbit::fresh().await;
    let provider = rabbit.provider();
    let accounts = provider.accounts().unwrap();
    let password = SecretText::new("First-password-of-many-1");
    for role in [
        "permissions nowhere .* .* .*",
        "permissions / [ .* .*",
        "superuser",
    ] {
        let roles = [role.to_owned()];
        let made = accounts
            .create_account(&there(), &account(&password, &roles))
            .await;
        assert!(
            matches!(made, Err(ProviderError::Refused(_))),
            "{role}: {made:?}"
        );
        assert!(rabbit.list("conformance_e").await.is_empty(), "{role}");
    }
}

#[tokio::test]
async fn a_changed_password_keeps_tags_and_connects_by_amqp() {
    if !dsm_test_servers::is_there(Server::available()) {
        return;
    }
    let rabbit = Rabbit::fresh().await;
    let provider = rabbit.provider();
    let passwords = provider.passwords().unwrap();
    let body = r#"{"password":"First-password-of-many-1","tags":"monitoring,management"}"#;
    assert_eq!(api("PUT", "users/conformance_a", body).0, 201);
    let grant = r#"{"configure":"","write":"","read":""}"#;
    assert_eq!(api("PUT", "permissions/%2F/conformance_a", grant).0, 201);
    let second = SecretText::new("Zweites-Paßwort-2");
    passwords
        .change_password(&there(), "conformance_a", &second)
        .await
        .unwrap();
    let (_, user) = api("GET", "users/conformance_a", "");
    assert!(
        user.contains(r#""tags":["monitoring","management"]"#),
        "{user}"
    );
    assert!(!user.contains(second.expose()));
    assert!(
        connect_by_amqp("conformance_a", second.expose())
            .await
            .is_some()
    );
    let said = passwords.log_in(&there(), "conformance_a", &second).await;
    assert_eq!(said, Ok(LogIn::Accepted));
}
