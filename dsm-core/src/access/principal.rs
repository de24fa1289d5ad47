use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::permit::Basis;
use super::{Application, AuthenticationMethod, Authorization, CertificateDigests};
use crate::audit::Actor;
use crate::id::{ApplicationId, AuthorizationId, ClientId};

/// Where a request comes from.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// The client's address, forwarding by trusted proxies resolved. None if it could not be
    /// determined, which no list of addresses allows.
    pub ip: Option<IpAddr>,
    /// The `Referer` header as it was sent.
    pub referrer: Option<String>,
    /// The certificate that the client has proved to hold.
    pub certificate: Option<CertificateDigests>,
}

impl fmt::Debug for Origin {
    /// Leaves out the referrer, whose query may hold anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("ip", &self.ip)
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// An authenticated client of an application: whose it is, by which authorization, from where.
///
/// Only the vault makes one, after the client has proved who it is. That says nothing about what
/// it may do: [`decide`](super::decide) does.
#[derive(Debug, Clone)]
pub struct Principal {
    application: Arc<Application>,
    authorization_id: AuthorizationId,
    authorization: Arc<Authorization>,
    client_id: ClientId,
    method: AuthenticationMethod,
    origin: Origin,
    basis: Basis,
}

impl Principal {
    /// A client of `authorization`, which belongs to `application`, and how it has proved who it is.
    pub(crate) fn new(
        application: Arc<Application>,
        authorization_id: AuthorizationId,
        authorization: Arc<Authorization>,
        (client_id, method): (ClientId, AuthenticationMethod),
        origin: Origin,
    ) -> Self {
        Self {
            application,
            authorization_id,
            authorization,
            client_id,
            method,
            origin,
            basis: Basis::default(),
        }
    }

    /// Ties what is decided for it to these revisions.
    pub(crate) fn at(self, basis: Basis) -> Self {
        Self { basis, ..self }
    }

    pub(super) fn basis(&self) -> Basis {
        self.basis
    }

    /// The id of its application.
    pub fn application_id(&self) -> ApplicationId {
        self.authorization.application
    }

    /// Its application.
    pub fn application(&self) -> &Application {
        &self.application
    }

    /// The id of its authorization.
    pub fn authorization_id(&self) -> AuthorizationId {
        self.authorization_id
    }

    /// Its authorization.
    pub fn authorization(&self) -> &Authorization {
        &self.authorization
    }

    /// The credentials it used.
    pub fn client_id(&self) -> ClientId {
        self.client_id
    }

    /// How it has proved who it is.
    pub fn method(&self) -> AuthenticationMethod {
        self.method
    }

    /// Where it comes from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// How it stands in the audit trail.
    pub fn actor(&self) -> Actor {
        Actor::Authorization {
            application: self.application_id(),
            authorization: self.authorization_id,
            client: self.client_id,
        }
    }
}
