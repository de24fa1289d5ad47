//! What is kept of a profile, and what to write of one.

use crate::audit::{ObjectKind, ObjectRef};
use crate::id::ProfileId;
use crate::provision::{Profile, ProfileKind};
use crate::store::Kind;
use crate::vault::error::FieldError;
use crate::vault::kind;
use crate::vault::record::{Entity, Stored, Terms};

pub(super) const IDENTIFIER: &str = "identifier";
pub(crate) const TARGET: &str = "target";

impl Entity for Profile {
    type Id = ProfileId;

    fn kind(&self) -> Kind {
        kind::PROFILE
    }

    fn terms(&self, terms: &mut Terms<'_>) {
        terms.unique(IDENTIFIER, &self.identifier);
        terms.plain(TARGET, &self.target);
    }
}

impl Stored<Profile> {
    pub(crate) fn object(&self) -> ObjectRef {
        ObjectRef::new(ObjectKind::Profile, self.id, &self.identifier)
    }
}

/// What to write of a profile; `None` leaves a field as it is, or at its default.
#[derive(Debug, Default)]
pub struct ProfileFields {
    /// Required at creation; cannot be changed.
    pub identifier: Option<String>,
    /// Required at creation; cannot be changed.
    pub kind: Option<ProfileKind>,
    /// The name of a target. Required at creation; cannot be changed.
    pub target: Option<String>,
    /// Statements with tags, one a line; none for the provider's own way.
    pub creation_template: Option<Option<String>>,
    /// Statements with tags, one a line; none for the provider's own way.
    pub removal_template: Option<Option<String>>,
    /// Default: none.
    pub roles: Option<Vec<String>>,
    /// At most ten. Default: none.
    pub policies: Option<Vec<String>>,
    /// 60 to 2,592,000. Default: 3,600.
    pub ttl_seconds: Option<i64>,
    /// Default: enabled.
    pub enabled: Option<bool>,
    /// What the caller found wrong in its own input: reported with what is found here, and nothing
    /// is written.
    pub wrong: Vec<FieldError>,
}

/// Which profiles to list.
#[derive(Debug, Clone, Default)]
pub struct ProfileFilter {
    /// With this identifier.
    pub identifier: Option<String>,
    /// Of this target.
    pub target: Option<String>,
}
