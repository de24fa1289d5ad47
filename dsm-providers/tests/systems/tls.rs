//! Connections to targets under TLS.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use dsm_core::provider::{Provider, ProviderError, Target};
use dsm_providers::mysql::Mysql;
use dsm_providers::postgres::Postgres as PostgresProvider;
use dsm_providers::rabbitmq::RabbitMq as RabbitMqProvider;
use dsm_providers::redis::Redis as RedisProvider;
use dsm_test_servers::authority::Authority;
use dsm_test_servers::is_there;
use dsm_test_servers::mariadb::Mariadb;
use dsm_test_servers::postgres::Postgres;
use dsm_test_servers::proxy::Proxy;
use dsm_test_servers::rabbitmq::RabbitMq;
use dsm_test_servers::redis::Redis;

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
        let other = unknown();
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let elsewhere = Proxy::start_at(Ipv4Addr::new(127, 0, 0, 2), server).expect("a proxy");
        let mut wrong = vec![(elsewhere.address().to_string(), Some(&*own))];
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
        let address = format!("127.0.0.1:{port}");
        let refused = self.log_in(&address, Some(&unknown())).await;
        let error = refused.expect_err("it would be in the clear");
        assert!(matches!(error, ProviderError::Unavailable(_)), "{error:?}");
    }

    /// The same server would have taken it.
    async fn is_let_in_without_tls(self, port: u16) {
        let address = format!("127.0.0.1:{port}");
        let clear = target(&address, &[("tls", "off")], self.user, self.password);
        self.provider.test(&clear).await.expect("in the clear");
    }
}

/// The certificate of an authority that no server here has one of.
fn unknown() -> String {
    let authority = Authority::new().expect("an authority");
    fs::read_to_string(authority.ca()).expect("PEM")
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
    admin.is_let_in_without_tls(plain.port()).await;
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
    admin.is_let_in_without_tls(server.port()).await;

    let authority = Authority::new().expect("an authority");
    let (certificate, key) = (authority.certificate(), authority.key());
    for (from, to) in [(certificate, "server.crt"), (key, "server.key")] {
        let to = server.data().join(to);
        fs::copy(from, &to).expect("copied");
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
    let plain = Mariadb::start().expect("a server");
    admin(&plain).is_not_talked_out_of_tls(plain.port()).await;
    let was_tried = || {
        let log = plain.statements().expect("a log");
        assert!(log.contains("Connect\troot@"), "{log}");
        log.contains(&format!("Connect\t{}@", Mariadb::ADMIN))
    };
    assert!(!was_tried());
    admin(&plain).is_let_in_without_tls(plain.port()).await;
    assert!(was_tried());
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
    admin.is_let_in_without_tls(plain.port()).await;
}
