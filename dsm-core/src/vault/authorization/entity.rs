//! An authorization as a record.

use super::super::error::Error;
use super::super::kind;
use super::super::record::{Entity, Stored, Terms};
use crate::access::Authorization;
use crate::audit::{ObjectKind, ObjectRef};
use crate::id::AuthorizationId;
use crate::store::Kind;
use crate::time::Timestamp;

pub(crate) const APPLICATION: &str = "application";
pub(crate) const ENVIRONMENT: &str = "environment";
pub(crate) const SYSTEM: &str = "system";
pub(crate) const MADE_BY: &str = "created_by_authorization";
pub(super) const ENABLED: &str = "enabled";

impl Entity for Authorization {
    type Id = AuthorizationId;

    fn kind(&self) -> Kind {
        kind::AUTHORIZATION
    }

    fn terms(&self, terms: &mut Terms<'_>) {
        terms.unique("code", &self.code);
        if let Some(key) = &self.unique_key {
            terms.unique("unique_key", key);
        }
        terms.plain(APPLICATION, self.application.0.to_be_bytes());
        terms.plain(ENVIRONMENT, self.environment.0.to_be_bytes());
        terms.plain(SYSTEM, self.system.0.to_be_bytes());
        terms.plain(ENABLED, [u8::from(self.enabled)]);
        if let Some(id) = self.created_by_authorization {
            terms.plain(MADE_BY, id.0.to_be_bytes());
        }
    }
}

impl Stored<Authorization> {
    pub(crate) fn object(&self) -> ObjectRef {
        ObjectRef::new(ObjectKind::Authorization, self.id, &self.code)
    }
}

/// The same authorization, over for good.
pub(crate) fn revoked(old: &Authorization, now: Timestamp) -> Authorization {
    Authorization {
        enabled: false,
        revoked_at: Some(now),
        ..old.clone()
    }
}

pub(crate) fn key_taken(error: Error) -> Error {
    match error {
        Error::Conflict(_) => {
            Error::Conflict("there is an authorization with this unique key".to_owned())
        }
        other => other,
    }
}
