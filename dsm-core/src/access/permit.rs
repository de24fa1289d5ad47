use super::{Action, Operator, Permission, Principal, Request, SealingFormat};
use crate::audit::Actor;
use crate::id::{ApplicationId, AuthorizationId, OperatorId, SecretId};

/// The proof that somebody may do one thing, once.
///
/// Only [`decide`](super::decide), [`permit`](super::permit()) and
/// [`permit_secret`](super::permit_secret) make one. It cannot be copied: what takes it uses it
/// up.
///
/// ```compile_fail
/// fn twice(permit: dsm_core::access::Permit) {
///     let _again = permit.clone();
/// }
/// ```
#[derive(Debug)]
#[must_use = "a permit that is not used has decided nothing"]
pub struct Permit {
    actor: Actor,
    grant: Grant,
    secret: Option<SecretId>,
    sealing: Option<SealingFormat>,
    basis: Basis,
}

/// The policy that a decision was made on, by the revisions of its objects. What is decided holds as
/// long as they are where they were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Basis {
    pub(crate) application: Option<(ApplicationId, u64)>,
    pub(crate) authorization: Option<(AuthorizationId, u64)>,
    pub(crate) operator: Option<(OperatorId, u64)>,
    /// By which the secret is attached to the authorization.
    pub(crate) attachment: Option<(u64, u64)>,
}

#[derive(Debug)]
enum Grant {
    Request(Request),
    Permission(Permission),
}

impl Permit {
    pub(super) fn for_principal(principal: &Principal, request: Request) -> Self {
        Self {
            actor: principal.actor(),
            grant: Grant::Request(request),
            secret: request.action().secret().map(|target| target.id),
            sealing: principal.authorization().sealing(),
            basis: Basis {
                attachment: request
                    .action()
                    .secret()
                    .and_then(|target| target.attachment),
                ..principal.basis()
            },
        }
    }

    pub(super) fn for_operator(
        operator: &Operator,
        permission: Permission,
        secret: Option<SecretId>,
    ) -> Self {
        Self {
            actor: operator.actor(),
            grant: Grant::Permission(permission),
            secret,
            sealing: None,
            basis: Basis {
                operator: operator.id.map(|id| (id, operator.revision)),
                ..Basis::default()
            },
        }
    }

    /// Who may, as they stand in the audit trail.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// What a client of an application may do; none for an operator.
    pub fn action(&self) -> Option<Action> {
        match &self.grant {
            Grant::Request(request) => Some(request.action()),
            Grant::Permission(_) => None,
        }
    }

    /// Which permission an operator used; none for a client of an application.
    pub fn permission(&self) -> Option<Permission> {
        match &self.grant {
            Grant::Request(_) => None,
            Grant::Permission(permission) => Some(*permission),
        }
    }

    /// The secret it is for; none where it is for no secret, or for one yet to be made.
    pub fn secret(&self) -> Option<SecretId> {
        self.secret
    }

    /// The secret whose values may be shown with it. Seeing a secret's metadata, disabling or
    /// deleting it does not show them; who writes or provisions a secret gets it back.
    pub fn discloses(&self) -> Option<SecretId> {
        let shows = match &self.grant {
            Grant::Request(request) => matches!(
                request.action(),
                Action::ReadSecret(_) | Action::WriteSecret(_) | Action::ProvisionSecret(_)
            ),
            Grant::Permission(permission) => *permission == Permission::SecretsReveal,
        };
        self.secret.filter(|_| shows)
    }

    /// What the decision was made on.
    pub(crate) fn basis(&self) -> Basis {
        self.basis
    }

    /// How sensitive values have to be sealed before they leave; none if they leave as they are.
    pub fn sealing(&self) -> Option<SealingFormat> {
        self.sealing
    }
}
