//! The providers against real servers, which the tests start themselves.
//!
//! A system is one file: how its server is started ([`suite::System`]), the conformance suite of
//! providers over it, and the rotations of `suite`, both stamped by a macro, with what else holds for
//! that system alone.

#[cfg(feature = "aws-iam")]
mod aws_iam;
#[cfg(feature = "mysql")]
mod mariadb;
#[cfg(any(feature = "aws-iam", feature = "rabbitmq"))]
mod plain_http;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
#[cfg(feature = "webhook")]
mod receiver;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "ssh")]
mod ssh;
mod suite;
#[cfg(all(
    feature = "mysql",
    feature = "postgres",
    feature = "rabbitmq",
    feature = "redis"
))]
mod tls;
#[cfg(feature = "webhook")]
mod webhook;

use dsm_core::provider::{Login, Options, Proof, Target};

/// A target at an address, with an admin that has a password.
fn target(address: &str, options: &[(&str, &str)], user: &str, password: &str) -> Target {
    let options = options.iter();
    Target {
        name: "under-test".to_owned(),
        address: address.to_owned(),
        options: options
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<Options>(),
        admin: Login {
            user: user.to_owned(),
            proof: Proof::Password(password.into()),
        },
    }
}

/// Where nothing listens.
const NOWHERE: &str = "127.0.0.1:1";
