//! Variables of pipelines: which of them are secrets that nobody manages.
//!
//! A pipeline registers its [`Assignments`], and with a [`Mapping`] which of them are secrets. What
//! is mapped becomes secrets of its authorization, the rest is kept as variables for
//! [`review`](review()).

mod assignments;
mod mapping;
mod review;

use serde::{Deserialize, Serialize};

pub use self::assignments::{Assignments, AssignmentsError};
pub use self::mapping::{
    MappedAccessKey, MappedCredential, MappedKeyValues, MappedSecret, Mapping, MappingFault,
};
pub use self::review::{Review, review};
use crate::id::{ApplicationId, AuthorizationId, RegistryId, SecretId};

/// A variable of a pipeline, without its value, which is sealed apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name, unique within application, system and environment.
    pub name: String,
    /// Whose pipeline.
    pub application: ApplicationId,
    /// Of which system.
    pub system: RegistryId,
    /// Of which environment.
    pub environment: RegistryId,
    /// What is thought of it.
    pub status: ReviewStatus,
    /// Whether it looks as if it were a secret.
    pub sensitive: bool,
    /// Whether it still counts; operators set it.
    pub enabled: bool,
    /// The secret that holds its value, if it is mapped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretId>,
    /// The revision that brought the value.
    pub value_of: u64,
}

/// What is thought of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReviewStatus {
    /// An operator has looked at it and it may stay as it is.
    ApprovedManually,
    /// It is managed as a secret.
    ApprovedAutomatically,
    /// It belongs to a tool and is of no interest.
    RejectedAutomatically,
    /// An operator has looked at it and it must go.
    RejectedManually,
    /// Nobody has looked at it.
    PendingReview,
}

impl ReviewStatus {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::ApprovedManually,
        Self::ApprovedAutomatically,
        Self::RejectedAutomatically,
        Self::RejectedManually,
        Self::PendingReview,
    ];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ApprovedManually => "approved_manually",
            Self::ApprovedAutomatically => "approved_automatically",
            Self::RejectedAutomatically => "rejected_automatically",
            Self::RejectedManually => "rejected_manually",
            Self::PendingReview => "pending_review",
        }
    }

    /// Whether an operator said so, which no rule overrules but that it is managed now.
    pub fn is_manual(self) -> bool {
        matches!(self, Self::ApprovedManually | Self::RejectedManually)
    }
}

/// One registration of a pipeline's variables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deploy {
    /// Whose pipeline.
    pub application: ApplicationId,
    /// Of which system.
    pub system: RegistryId,
    /// Of which environment.
    pub environment: RegistryId,
    /// Through which authorization.
    pub authorization: AuthorizationId,
    /// How many variables it brought.
    pub variables: usize,
    /// The secrets that it mapped variables to.
    pub secrets: Vec<SecretId>,
}
