use std::collections::BTreeMap;

use crate::secret::SecretText;

/// What a provider is told besides the address, by name.
pub type Options = BTreeMap<String, String>;

/// A system whose credentials are managed, opened for one call.
#[derive(Debug)]
pub struct Target {
    /// What people call it.
    pub name: String,
    /// Where it is, in the form that its provider has.
    pub address: String,
    /// What its provider needs to know.
    pub options: Options,
    /// Who may change credentials there.
    pub admin: Login,
}

/// An account and what proves that somebody may use it.
#[derive(Debug, PartialEq, Eq)]
pub struct Login {
    /// The account; for keys that stand for an account, the key's id.
    pub user: String,
    /// What proves it.
    pub proof: Proof,
}

/// What proves that somebody may use an account.
#[derive(Debug, PartialEq, Eq)]
pub enum Proof {
    /// A password, or the secret part of an access key.
    Password(SecretText),
    /// A private key, usually PEM.
    PrivateKey {
        /// The key.
        key: SecretText,
        /// What opens it.
        passphrase: Option<SecretText>,
    },
}

impl Proof {
    /// Every value of it, to be kept out of messages.
    pub fn values(&self) -> Vec<&SecretText> {
        match self {
            Self::Password(password) => vec![password],
            Self::PrivateKey { key, passphrase } => {
                std::iter::once(key).chain(passphrase).collect()
            }
        }
    }
}

/// Something that is wrong with a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `address`, or `options.NAME`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl Problem {
    /// A field and what is wrong with it.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

/// What the test of a target found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TestReport {
    /// Each thing that was looked at.
    pub checks: Vec<Tested>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tested {
    /// What, such as `log in` or `change passwords`.
    pub what: String,
    /// Whether it works.
    pub works: bool,
    /// What the target said, without values.
    pub message: String,
}

impl TestReport {
    /// Adds what was found.
    pub fn with(mut self, what: &str, works: bool, message: impl Into<String>) -> Self {
        self.checks.push(Tested {
            what: what.to_owned(),
            works,
            message: message.into(),
        });
        self
    }

    /// Whether everything works that was looked at.
    pub fn works(&self) -> bool {
        self.checks.iter().all(|check| check.works)
    }
}
