//! What to write of a secret, and which to list.

use crate::secret::{DataPatch, RenewalInterval, SecretData};
use crate::time::Timestamp;
use crate::vault::error::FieldError;

/// What to write of a secret; `None` leaves a field as it is, or at its default.
#[derive(Debug, Default)]
pub struct SecretFields {
    /// Required at creation.
    pub name: Option<String>,
    /// Default: enabled.
    pub enabled: Option<bool>,
    /// A registered name; default `Generic`.
    pub engine: Option<String>,
    /// A registered name, or none.
    pub environment: Option<Option<String>>,
    /// When it ends, or never.
    pub expires_at: Option<Option<Timestamp>>,
    /// Free labels.
    pub tags: Option<Vec<String>>,
    /// What it is for.
    pub description: Option<String>,
    /// The three timers.
    pub renew: RenewalFields,
    /// Its values, by kind.
    pub data: DataPatch,
    /// What the caller found wrong in its own input: reported with what is found here, and nothing
    /// is written.
    pub wrong: Vec<FieldError>,
}

/// The timers to write: `None` leaves one as it is, `Some(None)` turns it off.
#[derive(Debug, Clone, Copy, Default)]
pub struct RenewalFields {
    /// For cloud access keys.
    pub cloud: Option<Option<RenewalInterval>>,
    /// For credentials and SSH keys.
    pub credential: Option<Option<RenewalInterval>>,
    /// For ephemeral credentials.
    pub ephemeral: Option<Option<RenewalInterval>>,
}

impl SecretFields {
    /// A new secret with these values.
    pub fn new(name: impl Into<String>, data: SecretData) -> Self {
        Self {
            name: Some(name.into()),
            data: data.into(),
            ..Self::default()
        }
    }
}

/// Which secrets to list.
#[derive(Debug, Clone, Default)]
pub struct SecretFilter {
    /// With this identity.
    pub identity: Option<String>,
    /// With exactly this name.
    pub name: Option<String>,
    /// Of this registered engine.
    pub engine: Option<String>,
    /// Of this registered environment.
    pub environment: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
    /// Enabled or disabled ones.
    pub enabled: Option<bool>,
    /// With or without an error history.
    pub has_error: Option<bool>,
    /// That expire at this instant or later.
    pub expires_from: Option<Timestamp>,
    /// That expire at this instant or before.
    pub expires_until: Option<Timestamp>,
}
