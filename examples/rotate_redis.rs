//! The password of an ACL user of Redis, changed in place.

mod rotation;

use std::sync::Arc;

use dsm_core::provider::{Login, Options, Proof, Target};
use dsm_providers::redis::Redis;
use dsm_test_servers::redis::Redis as Server;

const ADMIN: &str = "dsm_admin";
const ADMIN_PASSWORD: &str = "Admin-password-of-the-example-1";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    if !dsm_test_servers::is_there(Server::available()) {
        return Ok(());
    }
    // A throwaway server with a file of its users, so that they last. Elsewhere the address is that
    // of yours.
    let server = Server::start_with(&[("aclfile", "users.acl")])?;
    let password = format!(">{ADMIN_PASSWORD}");
    let rights = ["+acl", "+client|kill", "+config|get", "+auth"];
    let make = ["acl", "setuser", ADMIN, "reset", "on", &password];
    server.cli(&[&make[..], &rights].concat())?;
    let target = || Target {
        name: "cache".to_owned(),
        address: format!("127.0.0.1:{}", server.port()),
        options: Options::new(),
        admin: Login {
            user: ADMIN.to_owned(),
            proof: Proof::Password(ADMIN_PASSWORD.into()),
        },
    };
    let rules = ["~orders:*".to_owned(), "+@read".to_owned()];
    rotation::rotate_password(Arc::new(Redis), target, &["orders"], &rules).await
}
