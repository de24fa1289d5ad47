//! Connections to targets under TLS.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use dsm_core::provider::{Provider, ProviderError, Target};
use dsm_providers::mysql::Mysql;
use dsm_providers::postgres::Postgres as PostgresProvider;
use dsm_providers::rabbitmq::RabbitMq as RabbitMqProvider;
use dsm_providers::redis::Redis as RedisProvider;
use dsm_test_servers::is_there;
use dsm_test_servers::mariadb::Mariadb;
use dsm_test_servers::postgres::Postgres;
use dsm_test_servers::rabbitmq::RabbitMq;
use dsm_test_servers::redis::Redis;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::target;

const ADMIN: &str = "dsm_admin";
const PASSWORD: &str = "Admin-password-of-these-tests-1";

/// Somebody who may log in.
#[derive(Clone, Copy)]
struct Admin<'a> {
    provider: &'a dyn Provider,
    user: &'a str,
    password: &'a str,
}

impl Admin<'_> {
    /// Logs in under TLS, trusting this authority, or those of the system.
    async fn log_in(self, address: &str, authority: Option<&str>) -> Result<(), ProviderError> {
        let mut options = vec![("tls", "verify-full")];
        options.extend(authority.map(|pem| ("tls_ca", pem)));
        let target: Target = target(address, &options, self.user, self.password);
        assert_eq!(self.provider.check(address, &target.options), []);
        self.provider.test(&target).await.map(|_| ())
    }

    /// Only a certificate of a trusted authority, and for the name in the address, is good.
    async fn checks_certificates(self, port: u16, own: &Path) {
        let own = fs::read_to_string(own).expect("PEM");
        let other = Redis::start_tls().expect("another authority");
        let other = fs::read_to_string(other.ca()).expect("PEM");
        let mut wrong = vec![(elsewhere(port).await, Some(&*own))];
        for host in ["127.0.0.1", "localhost"] {
            let address = format!("{host}:{port}");
            self.log_in(&address, Some(&own)).await.expect("known");
            wrong.extend([Some(&*other), None].map(|authority| (address.clone(), authority)));
        }
        for (address, authority) in wrong {
            let refused = self.log_in(&address, authority).await;
            let error = refused.expect_err("nobody known vouches for it");
            assert!(matches!(error, ProviderError::Unavailable(_)), "{error:?}");
            let said = error.message().to_lowercase();
            assert!(said.contains("certificate"), "{said}");
        }
    }

    /// A server that speaks no TLS is not spoken to in the clear.
    async fn is_not_talked_out_of_tls(self, port: u16) {
        let authority = Redis::start_tls().expect("an authority");
        let authority = fs::read_to_string(authority.ca()).expect("PEM");
        let address = format!("127.0.0.1:{port}");
        let refused = self.log_in(&address, Some(&authority)).await;
        let error = refused.expect_err("it would be in the clear");
        assert!(matches!(error, ProviderError::Unavailable(_)), "{error:?}");
    }
}

/// The same server at an address that its certificate is not for.
async fn elsewhere(port: u16) -> String {
    let listener = TcpListener::bind("127.0.0.2:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(("127.0.0.1", port)).await.expect("up");
            // Whoever hangs up first ends it.
            let _ = copy_bidirectional(&mut client, &mut server).await;
        }
    });
    address
}

#[tokio::test]
async fn redis_is_reached_under_tls() {
    let admin = Admin {
        provider: &RedisProvider,
        user: ADMIN,
        password: PASSWORD,
    };
    let password = format!(">{PASSWORD}");
    let make = ["acl", "setuser", ADMIN, "reset", "on", &password, "+@all"];
    let server = Redis::start_tls().expect("a server");
    server.cli(&make).expect("an admin");
    admin.checks_certificates(server.port(), &server.ca()).await;

    let plain = Redis::start().expect("a server");
    plain.cli(&make).expect("an admin");
    admin.is_not_talked_out_of_tls(plain.port()).await;
}

#[tokio::test]
async fn postgres_is_reached_under_tls() {
    let admin = Admin {
        provider: &PostgresProvider,
        user: ADMIN,
        password: PASSWORD,
    };
    let server = Postgres::start_with(&[]).expect("a server");
    let make = format!("CREATE ROLE {ADMIN} LOGIN CREATEROLE PASSWORD '{PASSWORD}'");
    server.sql(&make).expect("an admin");
    admin.is_not_talked_out_of_tls(server.port()).await;

    let authority = Redis::start_tls().expect("an authority");
    for (from, to) in [("server.pem", "server.crt"), ("server.key", "server.key")] {
        let to = server.data().join(to);
        fs::copy(authority.folder().join(from), &to).expect("copied");
        server.give(&to).expect("its own");
    }
    for statement in ["ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()"] {
        server.sql(statement).expect("done");
    }
    while server.sql("SHOW ssl").expect("a setting") != "on" {
        tokio::task::yield_now().await;
    }
    admin
        .checks_certificates(server.port(), &authority.ca())
        .await;
}

#[tokio::test]
async fn mariadb_is_reached_under_tls() {
    let server = Mariadb::start_tls().expect("a server");
    let admin = |server| Admin {
        provider: &Mysql,
        user: Mariadb::ADMIN,
        password: Mariadb::password(server),
    };
    admin(&server)
        .checks_certificates(server.port(), &server.ca())
        .await;
    // What was tried in the clear would be in the log of a server that takes both.
    let plain = Mariadb::start().expect("a server");
    admin(&plain).is_not_talked_out_of_tls(plain.port()).await;
    let log = plain.statements().expect("a log");
    assert!(log.contains("Connect\troot@"), "{log}");
    assert!(
        !log.contains(&format!("Connect\t{}@", Mariadb::ADMIN)),
        "{log}"
    );
}

#[tokio::test]
async fn rabbitmq_is_reached_under_tls() {
    if !is_there(RabbitMq::available()) {
        return;
    }
    let server = RabbitMq::start().expect("a server");
    let admin = Admin {
        provider: &RabbitMqProvider::default(),
        user: RabbitMq::ADMIN,
        password: RabbitMq::PASSWORD,
    };
    admin
        .checks_certificates(server.tls_port(), &server.ca())
        .await;
    let plain: SocketAddr = server.address().parse().expect("an address");
    admin.is_not_talked_out_of_tls(plain.port()).await;
}
