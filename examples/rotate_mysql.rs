//! Two accounts of MariaDB or MySQL that take turns.

mod rotation;

use std::sync::Arc;

use dsm_core::provider::{Login, Options, Proof, Target};
use dsm_providers::mysql::Mysql;
use dsm_test_servers::mariadb::Mariadb;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    if !dsm_test_servers::is_there(Mariadb::available()) {
        return Ok(());
    }
    // A throwaway server. Elsewhere the address is that of yours, and the options say how TLS is
    // checked.
    let server = Mariadb::start()?;
    let target = || Target {
        name: "orders-db".to_owned(),
        address: format!("127.0.0.1:{}", server.port()),
        options: Options::new(),
        admin: Login {
            user: Mariadb::ADMIN.to_owned(),
            proof: Proof::Password(server.password().into()),
        },
    };
    rotation::rotate_password(Arc::new(Mysql), target, &["orders_a", "orders_b"], &[]).await
}
