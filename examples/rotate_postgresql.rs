//! Two roles of PostgreSQL that take turns: whoever has read the one that is served goes on with it.

mod rotation;

use std::sync::Arc;

use dsm_core::provider::{Login, Options, Proof, Target};
use dsm_providers::postgres::Postgres;
use dsm_test_servers::postgres::Postgres as Server;

const ADMIN: &str = "dsm_admin";
const ADMIN_PASSWORD: &str = "Admin-password-of-the-example-1";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    if !dsm_test_servers::is_there(Server::available()) {
        return Ok(());
    }
    // A throwaway server. Elsewhere the address is that of yours, and the options say how TLS is
    // checked. The admin needs no more than CREATEROLE.
    let server = Server::start()?;
    server.sql(&format!(
        "CREATE ROLE {ADMIN} LOGIN CREATEROLE PASSWORD '{ADMIN_PASSWORD}'"
    ))?;
    let target = || Target {
        name: "orders-db".to_owned(),
        address: format!("127.0.0.1:{}", server.port()),
        options: Options::new(),
        admin: Login {
            user: ADMIN.to_owned(),
            proof: Proof::Password(ADMIN_PASSWORD.into()),
        },
    };
    rotation::rotate_password(Arc::new(Postgres), target, &["orders_a", "orders_b"], &[]).await
}
