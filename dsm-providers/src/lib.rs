//! Systems whose credentials `dsm-core` manages, one module for each, behind a feature of its name.
//!
//! | feature | name of the provider | passwords | keys | accounts |
//! |---|---|---|---|---|
//! | `aws-iam` | `aws_iam` | | two at a time, made by AWS | |
//! | `mysql` | `mysql` | yes | | yes |
//! | `postgres` | `postgresql` | yes | | yes |
//! | `rabbitmq` | `rabbitmq` | yes | | yes |
//! | `redis` | `redis` | yes | | yes |
//! | `ssh` | `ssh` | yes | made here | yes |
//! | `webhook` | `webhook` | yes | made there | yes |
//!
//! [`all`] has those that are compiled in. Each is an ordinary
//! [`Provider`](dsm_core::provider::Provider) and can be handed to a vault by itself.
//!
//! # Where a target is
//!
//! An address is `host:port`; the port may be left out. A name is resolved once for each call; every
//! address that it stands for has to pass [`check_address`](dsm_core::provider::check_address), and
//! the connection is made to one of those and to no other.
//!
//! # Encryption
//!
//! The option `tls` is `verify-full` (the certificate has to be good for the name in the address) or
//! `off`. It is `verify-full` unless the address is `localhost` or one of this machine's loopback
//! addresses. `tls_ca` has the certificates to trust, as PEM text, in place of those of the system.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

#[cfg(feature = "aws-iam")]
pub mod aws_iam;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "mysql")]
pub mod mysql;
#[cfg(any(feature = "ssh", feature = "tls"))]
#[allow(dead_code, reason = "not every provider uses all of it")]
mod options;
#[cfg(any(
    feature = "http",
    feature = "mysql",
    feature = "postgres",
    feature = "ssh"
))]
#[allow(dead_code, reason = "not every provider uses all of it")]
mod outcome;
#[cfg(any(feature = "ssh", feature = "tls"))]
#[allow(dead_code, reason = "not every provider uses all of it")]
mod place;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "ssh")]
pub mod ssh;
#[cfg(feature = "tls")]
#[allow(dead_code, reason = "not every provider uses all of it")]
mod tls;
#[cfg(feature = "webhook")]
pub mod webhook;

use dsm_core::provider::Providers;

/// Every provider that is compiled in, by the name under which targets choose it.
pub fn all() -> Providers {
    let providers = Providers::default();
    #[cfg(feature = "aws-iam")]
    let providers = providers.with("aws_iam", std::sync::Arc::new(aws_iam::AwsIam::default()));
    #[cfg(feature = "mysql")]
    let providers = providers.with("mysql", std::sync::Arc::new(mysql::Mysql));
    #[cfg(feature = "postgres")]
    let providers = providers.with("postgresql", std::sync::Arc::new(postgres::Postgres));
    #[cfg(feature = "rabbitmq")]
    let providers = providers.with(
        "rabbitmq",
        std::sync::Arc::new(rabbitmq::RabbitMq::default()),
    );
    #[cfg(feature = "redis")]
    let providers = providers.with("redis", std::sync::Arc::new(redis::Redis));
    #[cfg(feature = "ssh")]
    let providers = providers.with("ssh", std::sync::Arc::new(ssh::Ssh));
    #[cfg(feature = "webhook")]
    let providers = providers.with("webhook", std::sync::Arc::new(webhook::Webhook::default()));
    providers
}
