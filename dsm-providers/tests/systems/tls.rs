//! Connections to targets under TLS.

use std::fs;

use dsm_core::provider::{Provider, ProviderError, Target};
use dsm_providers::postgres::Postgres as PostgresProvider;
use dsm_providers::redis::Redis as RedisProvider;
use dsm_test_servers::postgres::Postgres;
use dsm_test_servers::redis::Redis;

use crate::target;

const ADMIN: &str = "dsm_admin";
const PASSWORD: &str = "Admin-password-of-these-tests-1";

/// Logs in as somebody who trusts this authority, or those of the system.
async fn log_in(
    provider: &dyn Provider,
    address: &str,
    authority: Option<&str>,
) -> Result<(), ProviderError> {
    let mut options = vec![("tls", "verify-full")];
    options.extend(authority.map(|pem| ("tls_ca", pem)));
    let target: Target = target(address, &options, ADMIN, PASSWORD);
    assert_eq!(provider.check(address, &target.options), []);
    provider.test(&target).await.map(|_| ())
}

/// Only a certificate of a trusted authority is good.
async fn certificates_are_checked(provider: &dyn Provider, port: u16, own: &str, other: &str) {
    for host in ["127.0.0.1", "localhost"] {
        let address = format!("{host}:{port}");
        log_in(provider, &address, Some(own)).await.expect("known");
        for authority in [Some(other), None] {
            let refused = log_in(provider, &address, authority).await;
            let error = refused.expect_err("nobody known vouches for it");
            assert!(matches!(error, ProviderError::Unavailable(_)), "{error:?}");
            let said = error.message().to_lowercase();
            assert!(said.contains("certificate"), "{said}");
        }
    }
}

#[tokio::test]
async fn certificates_of_targets_are_checked() {
    let redis = Redis::start_tls().expect("a server");
    let password = format!(">{PASSWORD}");
    let make = ["acl", "setuser", ADMIN, "reset", "on", &password, "+@all"];
    redis.cli(&make).expect("an admin");
    let other = Redis::start_tls().expect("another authority");
    let [own, other] = [&redis, &other].map(|it| fs::read_to_string(it.ca()).expect("PEM"));
    certificates_are_checked(&RedisProvider, redis.port(), &own, &other).await;

    let postgres = Postgres::start_with(&[]).expect("a server");
    for (from, to) in [("server.pem", "server.crt"), ("server.key", "server.key")] {
        let to = postgres.data().join(to);
        fs::copy(redis.folder().join(from), &to).expect("copied");
        postgres.give(&to).expect("its own");
    }
    let make = format!("CREATE ROLE {ADMIN} LOGIN CREATEROLE PASSWORD '{PASSWORD}'");
    for statement in [
        &*make,
        "ALTER SYSTEM SET ssl = on",
        "SELECT pg_reload_conf()",
    ] {
        postgres.sql(statement).expect("done");
    }
    while postgres.sql("SHOW ssl").expect("a setting") != "on" {
        tokio::task::yield_now().await;
    }
    certificates_are_checked(&PostgresProvider, postgres.port(), &own, &other).await;
}
