use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::decide::instant;
use super::rule::Verdict;
use super::{Denial, Permit, Rule};
use crate::audit::Actor;
use crate::id::{OperatorId, SecretId};
use crate::time::Timestamp;

/// A person or program that manages the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// Its id; none for the program that embeds the vault. Kept beside the rest, so it is not part
    /// of the serialised form and none after reading that.
    #[serde(skip)]
    pub id: Option<OperatorId>,
    /// The revision of its account, kept and lost like the id.
    #[serde(skip)]
    pub revision: u64,
    /// Its name.
    pub name: String,
    /// What it may do.
    pub permissions: Permissions,
    /// From this instant on it is refused.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked, which is for good.
    pub revoked_at: Option<Timestamp>,
}

impl Operator {
    /// The program that embeds the vault: every permission, for as long as it runs.
    pub fn embedded(name: impl Into<String>) -> Self {
        Self {
            id: None,
            revision: 0,
            name: name.into(),
            permissions: Permissions::all(),
            expires_at: None,
            revoked_at: None,
        }
    }

    /// How it stands in the audit trail.
    pub fn actor(&self) -> Actor {
        Actor::Operator {
            id: self.id,
            name: self.name.clone(),
        }
    }
}

/// Declares [`Permission`] with the name of each on the wire.
macro_rules! permissions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// Something that operators may be allowed to do. None of them implies another.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub enum Permission {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)+
        }

        impl Permission {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

permissions! {
    /// See metadata, versions and error history of secrets, never values.
    SecretsView = "Secrets.View",
    /// Create, change, enable, disable, expire and restore secrets.
    SecretsWrite = "Secrets.Write",
    /// See the values of secrets.
    SecretsReveal = "Secrets.Reveal",
    /// Have the credentials in secrets renewed.
    SecretsRotate = "Secrets.Rotate",
    /// Destroy secrets with their history.
    SecretsPurge = "Secrets.Purge",
    /// See applications.
    ApplicationsView = "Applications.View",
    /// Create, change and delete applications.
    ApplicationsWrite = "Applications.Write",
    /// See authorizations, their clients, and why a request would be refused.
    AuthorizationsView = "Authorizations.View",
    /// Create, change and revoke authorizations, attach secrets, and issue and revoke clients.
    AuthorizationsWrite = "Authorizations.Write",
    /// See the credentials of authorizations.
    AuthorizationsReveal = "Authorizations.Reveal",
    /// Attach managed credentials to secrets.
    CredentialsWrite = "Credentials.Write",
    /// Attach managed cloud credentials to secrets.
    CloudCredentialsWrite = "CloudCredentials.Write",
    /// Download the private keys of authorizations.
    KeysDownload = "Keys.Download",
    /// Wrap everything anew under another root key.
    KeysRotate = "Keys.Rotate",
    /// See environments, systems, engines, application types and lines of business.
    RegistriesView = "Registries.View",
    /// Create and change them.
    RegistriesWrite = "Registries.Write",
    /// See the systems whose credentials are managed.
    TargetsView = "Targets.View",
    /// Create, change and test them.
    TargetsWrite = "Targets.Write",
    /// See the profiles that credentials are provisioned by.
    ProfilesView = "Profiles.View",
    /// Create and change them.
    ProfilesWrite = "Profiles.Write",
    /// See leases of ephemeral credentials.
    LeasesView = "Leases.View",
    /// Revoke them.
    LeasesWrite = "Leases.Write",
    /// See variables of pipelines and deploys, never values.
    VariablesView = "Variables.View",
    /// Review variables of pipelines and destroy them.
    VariablesWrite = "Variables.Write",
    /// See the values of variables of pipelines.
    VariablesReveal = "Variables.Reveal",
    /// See operators.
    OperatorsView = "Operators.View",
    /// Create and revoke them.
    OperatorsWrite = "Operators.Write",
    /// Read the audit trail and the logs.
    AuditView = "Audit.View",
    /// Take a backup of everything, sealed.
    VaultBackup = "Vault.Backup",
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is none of a [`Permission`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such permission")]
pub struct UnknownPermission;

impl FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(text: &str) -> Result<Self, UnknownPermission> {
        Self::ALL
            .iter()
            .copied()
            .find(|permission| permission.as_str() == text)
            .ok_or(UnknownPermission)
    }
}

/// A set of permissions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Permissions(BTreeSet<Permission>);

impl Permissions {
    /// Every permission.
    pub fn all() -> Self {
        Permission::ALL.iter().copied().collect()
    }

    /// No permission.
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether this one is among them.
    pub fn contains(&self, permission: Permission) -> bool {
        self.0.contains(&permission)
    }

    /// Whether `other` has all of them: nobody hands out what they do not have.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// All of them, in the order of their declaration.
    pub fn iter(&self) -> impl Iterator<Item = Permission> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        Self(permissions.into_iter().collect())
    }
}

type Check = fn(&Operator, Permission, Timestamp) -> Verdict<'static>;

/// The rules for operators, in the order in which they are tried.
pub(super) const RULES: &[(Rule, Check)] = &[
    (Rule::OperatorRevoked, revoked),
    (Rule::OperatorExpired, expired),
    (Rule::Permission, permission),
];

/// Decides whether an operator may use a permission on anything but a given secret.
///
/// # Errors
///
/// The first rule that failed.
pub fn permit(
    operator: &Operator,
    permission: Permission,
    now: Timestamp,
) -> Result<Permit, Denial> {
    permit_for(operator, permission, None, now)
}

/// Decides whether an operator may use a permission on this secret. The permit is for no other.
///
/// # Errors
///
/// The first rule that failed.
pub fn permit_secret(
    operator: &Operator,
    permission: Permission,
    secret: SecretId,
    now: Timestamp,
) -> Result<Permit, Denial> {
    permit_for(operator, permission, Some(secret), now)
}

fn permit_for(
    operator: &Operator,
    permission: Permission,
    secret: Option<SecretId>,
    now: Timestamp,
) -> Result<Permit, Denial> {
    for &(rule, check) in RULES {
        if let Verdict::Failed(reason) = check(operator, permission, now) {
            return Err(Denial::new(rule, reason, rule.class(None)));
        }
    }
    Ok(Permit::for_operator(operator, permission, secret))
}

fn revoked(operator: &Operator, _: Permission, _: Timestamp) -> Verdict<'static> {
    match operator.revoked_at {
        Some(at) => Verdict::Failed(format!("the operator was revoked at {}", instant(at))),
        None => Verdict::passed("the operator has not been revoked"),
    }
}

fn expired(operator: &Operator, _: Permission, now: Timestamp) -> Verdict<'static> {
    match operator.expires_at {
        Some(at) if now >= at => {
            Verdict::Failed(format!("the operator expired at {}", instant(at)))
        }
        _ => Verdict::passed("the operator has not expired"),
    }
}

fn permission(operator: &Operator, permission: Permission, _: Timestamp) -> Verdict<'static> {
    if operator.permissions.contains(permission) {
        Verdict::passed("the operator has the permission")
    } else {
        Verdict::Failed(format!("the operator does not have {permission}"))
    }
}
