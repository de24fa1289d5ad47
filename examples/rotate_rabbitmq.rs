//! The password of a RabbitMQ user, changed in place through the management plugin.

mod rotation;

use std::sync::Arc;

use dsm_core::provider::{Login, Options, Proof, Target};
use dsm_providers::rabbitmq::RabbitMq;
use dsm_test_servers::rabbitmq::RabbitMq as Server;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    if !dsm_test_servers::is_there(Server::available()) {
        return Ok(());
    }
    // A throwaway server. Elsewhere the address is that of yours, such as `rabbit.internal`, and
    // TLS is on.
    let server = Server::start()?;
    let target = || Target {
        name: "rabbit".to_owned(),
        address: server.address(),
        options: Options::new(),
        admin: Login {
            user: Server::ADMIN.to_owned(),
            proof: Proof::Password(Server::PASSWORD.into()),
        },
    };
    let roles = ["permissions / ^$ ^orders$ ^orders$".to_owned()];
    let provider = Arc::new(RabbitMq::default());
    rotation::rotate_password(provider, target, &["orders"], &roles).await
}
