//! The password of a RabbitMQ user, changed through the management plugin.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod rotation;

use std::sync::Arc;

use dsm_core::provider::{Login, NewAccount, Options, Proof, Provider as _, Target};
use dsm_core::secret::{Credential, Managed, OutputValue, SecretData, SecretText};
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
    let provider = RabbitMq::default();
    let password = SecretText::new("The-first-password-1");
    let account = NewAccount {
        name: "orders",
        password: Some(&password),
        roles: &["permissions / ^$ ^orders$ ^orders$".to_owned()],
        expires_at: None,
        template: None,
    };
    let accounts = provider.accounts().ok_or("it makes accounts")?;
    accounts.create_account(&target(), &account).await?;

    let credential = Credential {
        user: Some("orders".to_owned()),
        password: Some(password),
        managed: Some(Managed {
            target: rotation::TARGET.to_owned(),
            pair_user: None,
            user: None,
        }),
        ..Credential::default()
    };
    let data = SecretData {
        credentials: vec![credential],
        ..SecretData::default()
    };
    let (before, after) = rotation::rotate(Arc::new(provider.clone()), target(), data).await?;

    let passwords = provider.passwords().ok_or("it has passwords")?;
    for (when, shown) in [("before", before), ("after", after)] {
        let password = shown.value("password").and_then(OutputValue::expose);
        let password = SecretText::new(password.ok_or("a password")?);
        let said = passwords.log_in(&target(), "orders", &password).await?;
        println!("what was served {when} the rotation: {said:?}");
    }
    Ok(())
}
