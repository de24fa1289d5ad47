//! Users of RabbitMQ, by its
//! [management API](https://www.rabbitmq.com/docs/management#http-api).
//!
//! The address is `host:port` of the management plugin; the usual ports are 15671 with TLS and 15672
//! without. The admin is a user with the tag `administrator`. Passwords are set as salted hashes that
//! are made here; only a login, to try a password, sends one.
//!
//! An account's roles are `tag NAME`, such as `tag monitoring`, and
//! `permissions VHOST CONFIGURE WRITE READ`, three regular expressions of names, such as
//! `permissions / ^$ ^$ ^orders-.*`. RabbitMQ has no expiry of its own.

mod api;
mod roles;

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dsm_core::entropy::{Entropy, OsEntropy};
use dsm_core::provider::{
    Accounts, LogIn, NewAccount, Options, Passwords, Problem, Provider, ProviderError, Target,
    Template, TestReport,
};
use dsm_core::secret::SecretText;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use self::api::{Api, Said, User};
use self::roles::Roles;
use crate::options::Checked;
use crate::place::Place;
use crate::tls;

/// Users of RabbitMQ.
#[derive(Debug, Clone)]
pub struct RabbitMq {
    entropy: Arc<dyn Entropy>,
}

impl Default for RabbitMq {
    fn default() -> Self {
        Self {
            entropy: Arc::new(OsEntropy),
        }
    }
}

impl RabbitMq {
    /// The same with salts from here.
    #[must_use]
    pub fn with_entropy(entropy: Arc<dyn Entropy>) -> Self {
        Self { entropy }
    }

    /// As RabbitMQ keeps a password: four bytes of salt, and the hash of it with the password.
    fn hash(&self, password: &SecretText) -> String {
        let salt: [u8; 4] = self.entropy.array();
        let digest = Sha256::new()
            .chain_update(salt)
            .chain_update(password.expose())
            .finalize();
        BASE64_STANDARD.encode([&salt[..], &digest[..]].concat())
    }

    /// A user as it is put.
    fn user(&self, password: Option<&SecretText>, tags: &[String]) -> serde_json::Value {
        match password {
            Some(password) => json!({
                "password_hash": self.hash(password),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": tags.join(","),
            }),
            // An empty hash is accepted by no login.
            None => json!({ "password_hash": "", "tags": tags.join(",") }),
        }
    }
}

#[async_trait]
impl Provider for RabbitMq {
    fn check(&self, address: &str, options: &Options) -> Vec<Problem> {
        let mut checked = Checked::new(options);
        if let Err(message) = address.parse::<Place>() {
            checked.problem("address", message);
        }
        tls::check(&mut checked);
        checked.finish()
    }

    async fn test(&self, target: &Target) -> Result<TestReport, ProviderError> {
        let api = Api::of(target)?;
        let me: User = match api.find("whoami").await? {
            Some(me) => me,
            None => return Err(api::nonsense(false)),
        };
        let may = me.tags.iter().any(|tag| tag == "administrator");
        let missing = "the admin has not the tag administrator";
        Ok(TestReport::default().with("log in", true, "").with(
            "manage users",
            may,
            if may { "" } else { missing },
        ))
    }

    fn passwords(&self) -> Option<&dyn Passwords> {
        Some(self)
    }

    fn accounts(&self) -> Option<&dyn Accounts> {
        Some(self)
    }
}

#[async_trait]
impl Passwords for RabbitMq {
    async fn log_in(
        &self,
        target: &Target,
        account: &str,
        password: &SecretText,
    ) -> Result<LogIn, ProviderError> {
        // A header cannot tell where such a name ends.
        if account.contains(':') {
            return Err(refused("a name with a colon cannot log in over HTTP"));
        }
        match Api::as_user(target, account, password)?.log_in().await? {
            Said::Welcome => Ok(LogIn::Accepted),
            Said::Wrong => Ok(LogIn::Rejected),
        }
    }

    async fn change_password(
        &self,
        target: &Target,
        account: &str,
        password: &SecretText,
    ) -> Result<(), ProviderError> {
        let api = Api::of(target)?;
        let path = api::path(&["users", account]);
        // A put makes who is not there, and takes the tags of who is.
        let Some(user) = api.find::<User>(&path).await? else {
            return Err(refused("there is no such user"));
        };
        api.put(&path, &self.user(Some(password), &user.tags)).await
    }
}

#[async_trait]
impl Accounts for RabbitMq {
    async fn create_account(
        &self,
        target: &Target,
        account: &NewAccount<'_>,
    ) -> Result<(), ProviderError> {
        no_template(account.template)?;
        let roles = Roles::read(account.roles).map_err(ProviderError::Refused)?;
        let api = Api::of(target)?;
        // What would be refused below is found out while there is nobody yet.
        for vhost in roles.vhosts() {
            let found: Option<serde_json::Value> = api.find(&api::path(&["vhosts", vhost])).await?;
            if found.is_none() {
                return Err(refused(&format!("there is no virtual host {vhost}")));
            }
        }
        let path = api::path(&["users", account.name]);
        let is_new = api.find::<User>(&path).await?.is_none();
        let user = self.user(account.password, &roles.tags);
        api.put(&path, &user).await?;
        let given = give(&api, account.name, &roles).await;
        // What it refuses now leaves nothing behind if nothing was there before.
        if let Err(ProviderError::Refused(message)) = &given
            && is_new
            && api.delete(&path).await.is_ok()
        {
            return Err(ProviderError::Refused(message.clone()));
        }
        given.map_err(|error| api::after_a_change(&error))
    }

    async fn drop_account(
        &self,
        target: &Target,
        name: &str,
        template: Option<&Template>,
    ) -> Result<(), ProviderError> {
        no_template(template)?;
        let api = Api::of(target)?;
        api.delete(&api::path(&["users", name])).await?;
        // Whoever is connected stays so, and could go on.
        close_connections(&api, name)
            .await
            .map_err(|error| api::after_a_change(&error))
    }

    async fn list_accounts(
        &self,
        target: &Target,
        prefix: &str,
    ) -> Result<Vec<String>, ProviderError> {
        let names = Api::of(target)?.users().await?;
        Ok(names
            .into_iter()
            .filter(|name| name.starts_with(prefix))
            .collect())
    }
}

/// Gives a user these permissions and no others.
async fn give(api: &Api<'_>, name: &str, roles: &Roles) -> Result<(), ProviderError> {
    for held in api.permissions(name).await? {
        if !roles.vhosts().any(|vhost| vhost == held) {
            api.delete(&api::path(&["permissions", &held, name]))
                .await?;
        }
    }
    for permission in &roles.permissions {
        let path = api::path(&["permissions", &permission.vhost, name]);
        api.put(&path, &permission.body()).await?;
    }
    Ok(())
}

async fn close_connections(api: &Api<'_>, name: &str) -> Result<(), ProviderError> {
    for connection in api.connections(name).await? {
        api.delete(&api::path(&["connections", &connection]))
            .await?;
    }
    Ok(())
}

fn no_template(template: Option<&Template>) -> Result<(), ProviderError> {
    match template {
        Some(_) => Err(refused("RabbitMQ has no statements for a template")),
        None => Ok(()),
    }
}

fn refused(message: &str) -> ProviderError {
    ProviderError::Refused(message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fixed;

    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.copy_from_slice(&[0x90, 0x8D, 0xC6, 0x0A]);
        }
    }

    /// The example of <https://www.rabbitmq.com/docs/passwords#computing-password-hash>.
    #[test]
    fn a_password_is_hashed_as_the_documents_say() {
        let rabbit = RabbitMq::with_entropy(Arc::new(Fixed));
        let hash = rabbit.hash(&SecretText::new("test12"));
        assert_eq!(hash, "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR");
    }
}
