//! The authorized key of an account on a host, whose own key is pinned.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod rotation;

use std::sync::Arc;

use dsm_core::entropy::OsEntropy;
use dsm_core::provider::{InstalledKeys as _, Key, Login, Options, Proof, Provider as _, Target};
use dsm_core::secret::{OutputValue, SecretData, SecretText, SshKey};
use dsm_providers::ssh::Ssh;
use dsm_test_servers::sshd::Sshd;

const ACCOUNT: &str = "rot_example";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    if !dsm_test_servers::is_there(Sshd::available()) {
        return Ok(());
    }
    // A throwaway server with an account. Elsewhere the address is that of your host, and the key is
    // the one that `ssh-keyscan` shows.
    let server = Sshd::start()?;
    server.make_account(ACCOUNT, "not-used-here-1")?;
    let target = || Target {
        name: "host".to_owned(),
        address: server.address(),
        options: Options::from([("host_key".to_owned(), server.host_key().to_owned())]),
        admin: Login {
            user: Sshd::ADMIN.to_owned(),
            proof: Proof::PrivateKey {
                key: server.admin_key().into(),
                passphrase: None,
            },
        },
    };
    let first = Ssh.draft_key(ACCOUNT, &OsEntropy);
    Ssh.install_key(&target(), ACCOUNT, &first).await?;

    let key = SshKey {
        user: Some(ACCOUNT.to_owned()),
        private_key: Some(first.secret),
        public_key: first.public,
        managed: Some(rotation::managed(None)),
        ..SshKey::default()
    };
    let data = SecretData {
        ssh_keys: vec![key],
        ..SecretData::default()
    };
    let (before, after) = rotation::rotate(Arc::new(Ssh), target(), data).await?;

    let keys = Ssh.keys().ok_or("it has keys")?;
    for (when, shown) in [("before", before), ("after", after)] {
        let private = shown.value("private_key").and_then(OutputValue::expose);
        let key = Key {
            id: String::new(),
            secret: SecretText::new(private.ok_or("a key")?),
            public: None,
        };
        // Both, as long as the overlap lasts.
        let said = keys.common().log_in(&target(), ACCOUNT, &key).await?;
        println!("what was served {when} the rotation: {said:?}");
    }
    Ok(())
}
