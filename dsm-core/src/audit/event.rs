//! What is recorded.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::id::{ApplicationId, AuthorizationId, ClientId, OperatorId};
use crate::time::{Timestamp, serialize_fixed};

/// One thing that was decided, done or refused. It never holds a value, a token or a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    #[serde(serialize_with = "serialize_fixed")]
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// From which address; none for what the vault does by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// What.
    pub operation: Operation,
    /// With what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectRef>,
    /// How it ended.
    pub outcome: Outcome,
    /// What changed, field by field; values of secrets are never among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<FieldChange>,
    /// Its part in the request that it belongs to; none in the first entry of one, and where there
    /// was no request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
}

/// What an entry is to a request besides its first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// An earlier entry stands for the request.
    Also,
    /// It says what was answered, and stands for the request from now on.
    Answer {
        /// The number by which the surface that was asked says how it ended.
        status: u16,
        /// The entry of the same server that stood for the request until now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instead_of: Option<u64>,
    },
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Actor {
    /// Somebody who did not prove who they are.
    Unknown {
        /// The client id they named, if it has the form of one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        claimed: Option<String>,
    },
    /// A client of an application's authorization.
    Authorization {
        /// The application.
        application: ApplicationId,
        /// The authorization.
        authorization: AuthorizationId,
        /// With which of its credentials.
        client: ClientId,
    },
    /// An operator.
    Operator {
        /// Its id; none for the program that embeds the vault.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<OperatorId>,
        /// Its name.
        name: String,
    },
    /// The vault itself.
    Vault,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRef {
    /// What it is.
    pub kind: ObjectKind,
    /// Its id; none where it does not exist or was not found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Its name, for a secret its identity.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The version, where it has versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

impl ObjectRef {
    /// The object of this kind, id and name.
    pub fn new(kind: ObjectKind, id: impl Into<u64>, name: impl Into<String>) -> Self {
        Self {
            kind,
            id: Some(id.into()),
            name: name.into(),
            version: None,
        }
    }

    /// Something that was asked for by a name and is not there.
    pub fn absent(kind: ObjectKind, name: impl Into<String>) -> Self {
        let mut name = name.into();
        // It is not checked yet, and the trail must not take whatever somebody sends.
        name.truncate(name.floor_char_boundary(256));
        Self {
            kind,
            id: None,
            name,
            version: None,
        }
    }

    /// With its version.
    pub fn version(mut self, version: u64) -> Self {
        self.version = Some(version);
        self
    }
}

/// Kinds of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    /// The vault as a whole.
    Vault,
    /// A secret.
    Secret,
    /// An application.
    Application,
    /// An authorization.
    Authorization,
    /// Credentials of an authorization.
    Client,
    /// The key that values of an authorization are sealed to.
    SealingKey,
    /// An operator.
    Operator,
    /// An environment.
    Environment,
    /// A system.
    System,
    /// An engine.
    Engine,
    /// An application type.
    ApplicationType,
    /// A line of business.
    LineOfBusiness,
    /// A variable of a pipeline.
    Variable,
    /// A registration of a pipeline's variables.
    Deploy,
    /// The audit trail.
    Audit,
    /// A system whose credentials are managed.
    Target,
    /// An attempt to rotate a credential.
    Attempt,
    /// How accounts that live for a while are made.
    Profile,
    /// An account that lives for a while.
    Lease,
    /// A place of the interface.
    Route,
}

impl ObjectKind {
    /// The name in the trail.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::Secret => "secret",
            Self::Application => "application",
            Self::Authorization => "authorization",
            Self::Client => "client",
            Self::SealingKey => "sealing_key",
            Self::Operator => "operator",
            Self::Environment => "environment",
            Self::System => "system",
            Self::Engine => "engine",
            Self::ApplicationType => "application_type",
            Self::LineOfBusiness => "line_of_business",
            Self::Variable => "variable",
            Self::Deploy => "deploy",
            Self::Audit => "audit",
            Self::Target => "target",
            Self::Attempt => "attempt",
            Self::Profile => "profile",
            Self::Lease => "lease",
            Self::Route => "route",
        }
    }
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "AuditOutcome")
)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Outcome {
    /// Permitted and, unless a later event says otherwise, done.
    Allowed,
    /// Refused by a rule.
    Denied {
        /// The rule's name.
        rule: String,
        /// Why, for the reader of the trail.
        reason: String,
    },
    /// Permitted but not done.
    Failed {
        /// Why.
        reason: String,
    },
}

/// One changed field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FieldChange {
    /// Its name.
    pub field: String,
    /// What it was, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What it is now, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// Declares [`Operation`] with the name of each as it stands in the trail.
macro_rules! operations {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// What was asked for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub enum Operation {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)+
        }

        impl Operation {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name in the trail.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

operations! {
    /// The vault was made.
    Initialise = "vault.initialise",
    /// A root key was put in use, or records were rewrapped.
    RotateKey = "vault.key.rotate",
    /// A server started to serve.
    Start = "vault.start",
    /// A backup of everything was taken.
    BackupVault = "vault.backup",
    /// A server stopped serving.
    Stop = "vault.stop",
    /// A client asked for a token.
    IssueToken = "token.issue",
    /// A token was checked.
    UseToken = "token.use",
    /// A client asked for the end of a token.
    RevokeToken = "token.revoke",
    /// A client asked what a token is good for.
    IntrospectToken = "token.introspect",
    /// The signature of a request was checked.
    UseSignature = "signature.use",
    /// Expired tokens were removed.
    SweepTokens = "token.sweep",
    /// A value left the vault to an authorized application.
    ReadSecret = "secret.read",
    /// A value left the vault to an operator.
    RevealSecret = "secret.reveal",
    /// Metadata was looked at.
    ViewSecret = "secret.view",
    /// A secret was made.
    CreateSecret = "secret.create",
    /// A secret was changed; a new version.
    UpdateSecret = "secret.update",
    /// A secret was enabled.
    EnableSecret = "secret.enable",
    /// A secret was disabled.
    DisableSecret = "secret.disable",
    /// An older version was made the newest.
    RestoreSecret = "secret.restore",
    /// A secret's time ended and its values were destroyed.
    ExpireSecret = "secret.expire",
    /// A secret was destroyed with its history.
    PurgeSecret = "secret.purge",
    /// Versions beyond the limit were destroyed.
    TrimVersions = "secret.versions.trim",
    /// An entry of the error history.
    RecordError = "secret.error",
    /// Somebody asked for new credentials of a secret.
    RotateSecret = "secret.rotate",
    /// A worker went on with a rotation: it opens what it needs and touches the target.
    RenewSecret = "secret.renew",
    /// A rotated credential came to be served; a new version.
    PromoteSecret = "secret.promote",
    /// Somebody settled a rotation.
    SettleRotation = "secret.rotation.settle",
    /// Accounts were asked for that live for a while, to be served by a secret.
    ProvisionSecret = "secret.provision",
    /// A provisioned account came to be served; a new version.
    ServeSecret = "secret.serve",
    /// Accounts of a secret were given back.
    DeprovisionSecret = "secret.deprovision",
    /// Profiles were looked at.
    ViewProfile = "profile.view",
    /// A profile was made.
    CreateProfile = "profile.create",
    /// A profile was changed.
    UpdateProfile = "profile.update",
    /// A profile was deleted.
    DeleteProfile = "profile.delete",
    /// Leases were looked at.
    ViewLease = "lease.view",
    /// A lease began: its account is made on the target.
    CreateLease = "lease.create",
    /// Somebody asked for the end of a lease.
    EndLease = "lease.end",
    /// A worker removes the account of a lease from its target.
    RevokeLease = "lease.revoke",
    /// An account without a lease was found on a target and is removed.
    RemoveLeftover = "lease.leftover.remove",
    /// Targets were looked at.
    ViewTarget = "target.view",
    /// A target was made.
    CreateTarget = "target.create",
    /// A target was changed.
    UpdateTarget = "target.update",
    /// A target was deleted.
    DeleteTarget = "target.delete",
    /// The admin credential of a target was tried.
    TestTarget = "target.test",
    /// Applications were looked at.
    ViewApplication = "application.view",
    /// An application was made.
    CreateApplication = "application.create",
    /// An application was changed.
    UpdateApplication = "application.update",
    /// An application was removed.
    DeleteApplication = "application.delete",
    /// Authorizations were looked at.
    ViewAuthorization = "authorization.view",
    /// An authorization was made.
    CreateAuthorization = "authorization.create",
    /// An authorization was changed.
    UpdateAuthorization = "authorization.update",
    /// An authorization was revoked for good.
    RevokeAuthorization = "authorization.revoke",
    /// A secret was attached to an authorization.
    AttachSecret = "authorization.attach",
    /// A secret was detached from an authorization.
    DetachSecret = "authorization.detach",
    /// The credentials of an authorization were shown.
    RevealCredentials = "authorization.credentials.reveal",
    /// A key pair was made for an authorization.
    CreateKey = "authorization.key.create",
    /// A key that a client made was registered for an authorization.
    RegisterKey = "authorization.key.register",
    /// The public key of an authorization was seen.
    DownloadPublicKey = "authorization.public_key.download",
    /// The private key of an authorization was given out.
    DownloadPrivateKey = "authorization.private_key.download",
    /// The clients of an authorization were looked at.
    ViewClients = "client.view",
    /// New credentials were issued in place of others.
    RotateClients = "client.rotate",
    /// Credentials were revoked for good.
    RevokeClient = "client.revoke",
    /// It was written when clients were last used.
    RecordUse = "client.use",
    /// A decision was explained.
    Explain = "authorization.explain",
    /// A registry was looked at.
    ViewRegistry = "registry.view",
    /// A registry entry was made.
    CreateRegistryEntry = "registry.create",
    /// A registry entry was changed.
    UpdateRegistryEntry = "registry.update",
    /// A pipeline registered its variables.
    RegisterVariables = "variable.register",
    /// Variables of pipelines were looked at, without their values.
    ViewVariable = "variable.view",
    /// An operator said what is thought of a variable.
    ReviewVariable = "variable.review",
    /// The value of a variable left the vault to an operator.
    RevealVariable = "variable.reveal",
    /// A variable was destroyed.
    DeleteVariable = "variable.delete",
    /// Deploys were looked at.
    ViewDeploy = "deploy.view",
    /// Operators were looked at.
    ViewOperator = "operator.view",
    /// An operator was made.
    CreateOperator = "operator.create",
    /// An operator was revoked.
    RevokeOperator = "operator.revoke",
    /// An operator asked who they are, or their token was refused.
    UseOperatorToken = "operator.token.use",
    /// The trail was read.
    ViewAudit = "audit.view",
    /// A request that ended before anything was decided.
    Request = "request",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_in_the_trail() {
        for operation in Operation::ALL {
            let json = serde_json::to_string(operation).unwrap();
            assert_eq!(json, format!("\"{}\"", operation.as_str()));
        }
        let mut kind = Some(ObjectKind::Vault);
        while let Some(this) = kind {
            let json = serde_json::to_string(&this).unwrap();
            assert_eq!(json, format!("\"{}\"", this.as_str()));
            // Spelled out so that a new kind does not compile without its test.
            kind = match this {
                ObjectKind::Vault => Some(ObjectKind::Secret),
                ObjectKind::Secret => Some(ObjectKind::Application),
                ObjectKind::Application => Some(ObjectKind::Authorization),
                ObjectKind::Authorization => Some(ObjectKind::Client),
                ObjectKind::Client => Some(ObjectKind::SealingKey),
                ObjectKind::SealingKey => Some(ObjectKind::Operator),
                ObjectKind::Operator => Some(ObjectKind::Environment),
                ObjectKind::Environment => Some(ObjectKind::System),
                ObjectKind::System => Some(ObjectKind::Engine),
                ObjectKind::Engine => Some(ObjectKind::ApplicationType),
                ObjectKind::ApplicationType => Some(ObjectKind::LineOfBusiness),
                ObjectKind::LineOfBusiness => Some(ObjectKind::Variable),
                ObjectKind::Variable => Some(ObjectKind::Deploy),
                ObjectKind::Deploy => Some(ObjectKind::Audit),
                ObjectKind::Audit => Some(ObjectKind::Target),
                ObjectKind::Target => Some(ObjectKind::Attempt),
                ObjectKind::Attempt => Some(ObjectKind::Profile),
                ObjectKind::Profile => Some(ObjectKind::Lease),
                ObjectKind::Lease => Some(ObjectKind::Route),
                ObjectKind::Route => None,
            };
        }
    }
}
