use super::Resource;
use crate::id::{ApplicationId, AuthorizationId, SecretId};
use crate::time::Timestamp;

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    resource: Option<Resource>,
    action: Action,
}

impl Request {
    /// A token: every rule about the authorization and the origin holds, none about resources.
    pub fn authenticate() -> Self {
        Self {
            resource: None,
            action: Action::Authenticate,
        }
    }

    /// An action through a part of the interface.
    pub fn new(resource: Resource, action: Action) -> Self {
        Self {
            resource: Some(resource),
            action,
        }
    }

    /// The part of the interface; none when a token is asked for.
    pub fn resource(&self) -> Option<Resource> {
        self.resource
    }

    /// The action.
    pub fn action(&self) -> Action {
        self.action
    }
}

/// What a client wants to do.
///
/// Secrets in a list are decided one by one, as [`Action::ReadSecret`]: the permit for the list
/// opens none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Get a token.
    Authenticate,
    /// See its application.
    ReadApplication,
    /// Create or change an application, and find or make an authorization of it.
    WriteApplication(Option<ApplicationTarget>),
    /// Revoke the authorization that it uses.
    RevokeSelf,
    /// List the secrets attached to the authorization.
    ListSecrets,
    /// Read a secret, if there is one by that name.
    ReadSecret(Option<SecretTarget>),
    /// Change a secret, or create it if there is none by that name.
    WriteSecret(Option<SecretTarget>),
    /// Delete a secret, if there is one by that name.
    DeleteSecret(Option<SecretTarget>),
    /// Have new credentials made and put in a secret, if there is one by that name.
    ProvisionSecret(Option<SecretTarget>),
    /// Register variables of a pipeline.
    WriteVariables,
}

impl Action {
    /// The secret that the action is about, if it exists.
    pub fn secret(&self) -> Option<SecretTarget> {
        match *self {
            Self::ReadSecret(target)
            | Self::WriteSecret(target)
            | Self::DeleteSecret(target)
            | Self::ProvisionSecret(target) => target,
            Self::Authenticate
            | Self::ReadApplication
            | Self::WriteApplication(_)
            | Self::RevokeSelf
            | Self::ListSecrets
            | Self::WriteVariables => None,
        }
    }

    /// Whether it changes anything.
    pub fn is_write(&self) -> bool {
        match self {
            Self::WriteApplication(_)
            | Self::RevokeSelf
            | Self::WriteSecret(_)
            | Self::DeleteSecret(_)
            | Self::ProvisionSecret(_)
            | Self::WriteVariables => true,
            Self::Authenticate
            | Self::ReadApplication
            | Self::ListSecrets
            | Self::ReadSecret(_) => false,
        }
    }
}

/// What a decision needs to know of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretTarget {
    /// Its id.
    pub id: SecretId,
    /// The authorization that it was found attached to, which is looked up for the one that asks.
    pub attached_to: Option<AuthorizationId>,
    /// Number and revision of that attachment, which a change that was decided on it checks.
    pub attachment: Option<(u64, u64)>,
    /// Whether applications may have it.
    pub enabled: bool,
    /// From this instant on it is refused.
    pub expires_at: Option<Timestamp>,
}

/// What a decision needs to know of an application that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApplicationTarget {
    /// Its id.
    pub id: ApplicationId,
    /// Whether the calling authorization made any authorization of this application.
    pub made_by_caller: bool,
    /// The authorization of it that the request matches; none if one would be made.
    pub authorization: Option<AuthorizationTarget>,
}

/// What a decision needs to know of an authorization that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthorizationTarget {
    /// Its id.
    pub id: AuthorizationId,
    /// The authorization whose client made it; none if an operator did.
    pub created_by: Option<AuthorizationId>,
}
