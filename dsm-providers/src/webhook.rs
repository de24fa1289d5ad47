//! Whatever else there is, over signed requests to a service that does it: the *receiver*.
//!
//! The address is `host:port`, by HTTPS unless it is this machine. The option `path` is where
//! requests go, `/` unless said. The admin is the name of a key and, for a password, the key itself,
//! which both sides have.
//!
//! # Requests
//!
//! Each is a `POST` of one JSON object with the headers
//!
//! | header | value |
//! |---|---|
//! | `content-type` | `application/json` |
//! | `dsm-key` | the name of the key |
//! | `dsm-timestamp` | seconds since 1970, UTC |
//! | `dsm-nonce` | 32 hexadecimal digits by chance |
//! | `dsm-signature` | `v1=` and the signature in lower hexadecimal |
//!
//! The signature is the HMAC-SHA-256, by the key, of seven lines without a line end after the last:
//! `v1`, `POST`, the value of the header `host`, the path, the timestamp, the nonce, and the SHA-256
//! of the body in lower hexadecimal. [`signature`] makes it. A receiver compares it in constant time,
//! refuses what is more than five minutes away from its own clock, and may refuse a nonce that it has
//! seen. A request that is made again has another nonce, and has to end as the first would have.
//!
//! | `operation` | other fields | answer, beside `"done": true` |
//! |---|---|---|
//! | `test` | | `checks`: a list of `{"what", "works", "message"}` |
//! | `log_in` | `account`, `password` | `accepted`: whether it logs in |
//! | `change_password` | `account`, `password` | |
//! | `list_keys` | `account` | `keys`: a list of `{"id", "active"}` |
//! | `log_in_with_key` | `account`, `id`, `secret` | `accepted` |
//! | `issue_key` | `account` | `key`: `{"id", "secret"}` |
//! | `deactivate_key`, `delete_key` | `account`, `id` | |
//! | `create_account` | `account`, `roles`, perhaps `password`, `expires_at` (RFC 3339), `template` | |
//! | `drop_account` | `account`, perhaps `template` | |
//! | `list_accounts` | `prefix` | `accounts`: a list of names |
//!
//! They mean what [`Passwords`], [`IssuedKeys`] and [`Accounts`] say.
//!
//! # Answers
//!
//! | status | body | meaning |
//! |---|---|---|
//! | 200 | `{"done": true, …}` | done |
//! | 4xx | `{"refused": "why"}` | it will not, and nothing was changed |
//! | 503 | `{"unavailable": "why"}` | it cannot now, and nothing was changed |
//!
//! Whatever else comes back, a proxy's page for example, says nothing of what was done.

mod request;

use std::sync::Arc;

use async_trait::async_trait;
use dsm_core::entropy::{Entropy, OsEntropy};
use dsm_core::provider::{
    AccountKeys, Accounts, Capabilities, IssuedKeys, Key, KeyState, Keys, LogIn, NewAccount,
    Options, Passwords, Problem, Provider, ProviderError, Target, Template, TestReport,
};
use dsm_core::secret::SecretText;
use dsm_core::time::{Clock, SystemClock};
use serde_json::{Map, Value, json};

use self::request::{Request, nonsense};
pub use self::request::{SignedParts, signature};
use crate::options::Checked;
use crate::place::Place;
use crate::tls;

const PATH: &str = "path";

/// Whatever a receiver of signed requests manages.
#[derive(Debug, Clone)]
pub struct Webhook {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    can: Capabilities,
}

impl Default for Webhook {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock), Arc::new(OsEntropy))
    }
}

impl Webhook {
    /// Requests that are signed at the time of this clock.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            clock,
            entropy,
            can: Capabilities {
                passwords: true,
                keys: true,
                accounts: true,
            },
        }
    }

    /// The same for receivers that can do no more than this.
    #[must_use]
    pub fn only(self, can: Capabilities) -> Self {
        Self { can, ..self }
    }

    /// Asks a receiver; gives what it answers.
    async fn ask(
        &self,
        target: &Target,
        operation: &'static str,
        fields: Value,
    ) -> Result<Map<String, Value>, ProviderError> {
        let request = Request {
            target,
            operation,
            fields,
            at: self.clock.now(),
            nonce: self.entropy.array(),
        };
        request.send().await
    }

    /// Asks whether something logs in.
    async fn try_it(
        &self,
        target: &Target,
        operation: &'static str,
        fields: Value,
    ) -> Result<LogIn, ProviderError> {
        let answer = self.ask(target, operation, fields).await?;
        match answer.get("accepted") {
            Some(Value::Bool(true)) => Ok(LogIn::Accepted),
            Some(Value::Bool(false)) => Ok(LogIn::Rejected),
            _ => Err(nonsense(operation, "accepted")),
        }
    }
}

/// A field of an answer in its form.
fn field<T: serde::de::DeserializeOwned>(
    answer: &mut Map<String, Value>,
    operation: &'static str,
    name: &'static str,
) -> Result<T, ProviderError> {
    let value = answer.remove(name).unwrap_or(Value::Null);
    serde_json::from_value(value).map_err(|_| nonsense(operation, name))
}

#[async_trait]
impl Provider for Webhook {
    fn check(&self, address: &str, options: &Options) -> Vec<Problem> {
        let mut checked = Checked::new(options);
        if let Err(message) = address.parse::<Place>() {
            checked.problem("address", message);
        }
        checked.parsed(PATH, request::path);
        tls::check(&mut checked);
        checked.finish()
    }

    async fn test(&self, target: &Target) -> Result<TestReport, ProviderError> {
        #[derive(serde::Deserialize)]
        struct Check {
            what: String,
            works: bool,
            #[serde(default)]
            message: String,
        }
        let mut answer = self.ask(target, "test", json!({})).await?;
        let checks: Vec<Check> = field(&mut answer, "test", "checks")?;
        let report = TestReport::default().with("sign requests", true, "");
        Ok(checks.into_iter().fold(report, |report, check| {
            report.with(&check.what, check.works, check.message)
        }))
    }

    fn passwords(&self) -> Option<&dyn Passwords> {
        self.can.passwords.then_some(self)
    }

    fn keys(&self) -> Option<Keys<'_>> {
        self.can.keys.then_some(Keys::Issued(self))
    }

    fn accounts(&self) -> Option<&dyn Accounts> {
        self.can.accounts.then_some(self)
    }
}

#[async_trait]
impl Passwords for Webhook {
    async fn log_in(
        &self,
        target: &Target,
        account: &str,
        password: &SecretText,
    ) -> Result<LogIn, ProviderError> {
        let fields = json!({ "account": account, "password": password.expose() });
        self.try_it(target, "log_in", fields).await
    }

    async fn change_password(
        &self,
        target: &Target,
        account: &str,
        password: &SecretText,
    ) -> Result<(), ProviderError> {
        let fields = json!({ "account": account, "password": password.expose() });
        self.ask(target, "change_password", fields).await.map(drop)
    }
}

#[async_trait]
impl AccountKeys for Webhook {
    async fn list_keys(
        &self,
        target: &Target,
        account: &str,
    ) -> Result<Vec<KeyState>, ProviderError> {
        #[derive(serde::Deserialize)]
        struct Listed {
            id: String,
            active: bool,
        }
        let fields = json!({ "account": account });
        let mut answer = self.ask(target, "list_keys", fields).await?;
        let keys: Vec<Listed> = field(&mut answer, "list_keys", "keys")?;
        let keys = keys.into_iter();
        Ok(keys
            .map(|Listed { id, active }| KeyState { id, active })
            .collect())
    }

    async fn log_in(
        &self,
        target: &Target,
        account: &str,
        key: &Key,
    ) -> Result<LogIn, ProviderError> {
        let fields = json!({ "account": account, "id": key.id, "secret": key.secret.expose() });
        self.try_it(target, "log_in_with_key", fields).await
    }

    async fn deactivate_key(
        &self,
        target: &Target,
        account: &str,
        id: &str,
    ) -> Result<(), ProviderError> {
        let fields = json!({ "account": account, "id": id });
        self.ask(target, "deactivate_key", fields).await.map(drop)
    }

    async fn delete_key(
        &self,
        target: &Target,
        account: &str,
        id: &str,
    ) -> Result<(), ProviderError> {
        let fields = json!({ "account": account, "id": id });
        self.ask(target, "delete_key", fields).await.map(drop)
    }
}

#[async_trait]
impl IssuedKeys for Webhook {
    async fn issue_key(&self, target: &Target, account: &str) -> Result<Key, ProviderError> {
        #[derive(serde::Deserialize)]
        struct Issued {
            id: String,
            secret: String,
        }
        let fields = json!({ "account": account });
        let mut answer = self.ask(target, "issue_key", fields).await?;
        let key: Issued = field(&mut answer, "issue_key", "key")?;
        if key.id.is_empty() || key.secret.is_empty() {
            return Err(nonsense("issue_key", "key"));
        }
        Ok(Key {
            id: key.id,
            secret: SecretText::new(key.secret),
            public: None,
        })
    }
}

#[async_trait]
impl Accounts for Webhook {
    async fn create_account(
        &self,
        target: &Target,
        account: &NewAccount<'_>,
    ) -> Result<(), ProviderError> {
        let mut fields = json!({ "account": account.name, "roles": account.roles });
        if let Some(password) = account.password {
            fields["password"] = password.expose().into();
        }
        if let Some(at) = account.expires_at {
            fields["expires_at"] = at.to_rfc3339().into();
        }
        if let Some(template) = account.template {
            fields["template"] = template.to_string().into();
        }
        self.ask(target, "create_account", fields).await.map(drop)
    }

    async fn drop_account(
        &self,
        target: &Target,
        name: &str,
        template: Option<&Template>,
    ) -> Result<(), ProviderError> {
        let mut fields = json!({ "account": name });
        if let Some(template) = template {
            fields["template"] = template.to_string().into();
        }
        self.ask(target, "drop_account", fields).await.map(drop)
    }

    async fn list_accounts(
        &self,
        target: &Target,
        prefix: &str,
    ) -> Result<Vec<String>, ProviderError> {
        let fields = json!({ "prefix": prefix });
        let mut answer = self.ask(target, "list_accounts", fields).await?;
        field(&mut answer, "list_accounts", "accounts")
    }
}
