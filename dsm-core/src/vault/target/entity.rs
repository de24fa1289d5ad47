//! What is kept of a target.

use serde::{Deserialize, Serialize};

use crate::audit::{ObjectKind, ObjectRef};
use crate::id::{SecretId, TargetId};
use crate::provider::{Login, Options, PasswordPolicy, Proof};
use crate::secret::{SecretText, sealed_form};
use crate::store::Kind;
use crate::vault::error::FieldError;
use crate::vault::kind;
use crate::vault::record::{Entity, Stored, Terms};

pub(super) const NAME: &str = "name";

/// A system whose credentials are managed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetEntry {
    /// Unique; secrets refer to it by it, so it stays.
    pub name: String,
    /// Which provider knows how to talk to it; stays.
    pub provider: String,
    /// Where it is, in the form that the provider has.
    pub address: String,
    /// What the provider needs to know besides.
    #[serde(default, skip_serializing_if = "Options::is_empty")]
    pub options: Options,
    /// Whether anything is done on it.
    pub enabled: bool,
    /// Which passwords are made for it.
    #[serde(default)]
    pub policy: PasswordPolicy,
    /// Who may change credentials there.
    pub admin: AdminCredential,
}

/// Where the admin credential of a target is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminCredential {
    /// Sealed beside the target, and never shown.
    Own {
        /// The account.
        user: String,
    },
    /// The first credential, or else the first SSH key, of a secret.
    Secret {
        /// Which one.
        secret: SecretId,
    },
}

/// An admin credential as it is given.
#[derive(Debug)]
pub enum NewAdmin {
    /// To be sealed beside the target.
    Own(Login),
    /// To be read out of this secret whenever it is needed.
    Secret(SecretId),
}

/// What to write of a target; `None` leaves a field as it is, or at its default.
#[derive(Debug, Default)]
pub struct TargetFields {
    /// Required at creation; cannot be changed.
    pub name: Option<String>,
    /// Required at creation; cannot be changed.
    pub provider: Option<String>,
    /// Required at creation.
    pub address: Option<String>,
    /// Default: none.
    pub options: Option<Options>,
    /// Default: enabled.
    pub enabled: Option<bool>,
    /// Default: 32 letters and digits.
    pub policy: Option<PasswordPolicy>,
    /// Required at creation.
    pub admin: Option<NewAdmin>,
    /// What the caller found wrong in its own input: reported with what is found here, and nothing
    /// is written.
    pub wrong: Vec<FieldError>,
}

impl Entity for TargetEntry {
    type Id = TargetId;

    fn kind(&self) -> Kind {
        kind::TARGET
    }

    fn terms(&self, terms: &mut Terms<'_>) {
        terms.unique(NAME, &self.name);
    }
}

impl Stored<TargetEntry> {
    pub(crate) fn object(&self) -> ObjectRef {
        ObjectRef::new(ObjectKind::Target, self.id, &self.name)
    }
}

/// An admin credential on its way to being sealed, and back.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OwnAdmin {
    user: String,
    #[serde(default, with = "sealed_form", skip_serializing_if = "Option::is_none")]
    password: Option<SecretText>,
    #[serde(default, with = "sealed_form", skip_serializing_if = "Option::is_none")]
    private_key: Option<SecretText>,
    #[serde(default, with = "sealed_form", skip_serializing_if = "Option::is_none")]
    passphrase: Option<SecretText>,
}

impl OwnAdmin {
    /// What is told of an admin credential, and what is sealed.
    pub(super) fn split(
        admin: NewAdmin,
        errors: &mut Vec<FieldError>,
    ) -> (AdminCredential, Option<Self>) {
        let login = match admin {
            NewAdmin::Own(login) => login,
            NewAdmin::Secret(secret) => return (AdminCredential::Secret { secret }, None),
        };
        let user = login.user;
        if user.is_empty() || user.len() > 256 || user.chars().any(char::is_control) {
            let message = "must have 1 to 256 bytes and no control characters";
            errors.push(FieldError::new("admin_credential.username", message));
        }
        let (password, private_key, passphrase) = match login.proof {
            Proof::Password(password) => (Some(password), None, None),
            Proof::PrivateKey { key, passphrase } => (None, Some(key), passphrase),
        };
        for (field, value) in [("password", &password), ("private_key", &private_key)] {
            if value
                .as_ref()
                .is_some_and(|value| value.expose().is_empty())
            {
                let field = format!("admin_credential.{field}");
                errors.push(FieldError::new(field, "must not be empty"));
            }
        }
        let own = Self {
            user: user.clone(),
            password,
            private_key,
            passphrase,
        };
        (AdminCredential::Own { user }, Some(own))
    }

    /// The login it is; none for one that proves nothing.
    pub(super) fn login(self) -> Option<Login> {
        let proof = match (self.password, self.private_key) {
            (Some(password), _) => Proof::Password(password),
            (None, Some(key)) => Proof::PrivateKey {
                key,
                passphrase: self.passphrase,
            },
            (None, None) => return None,
        };
        Some(Login {
            user: self.user,
            proof,
        })
    }
}
