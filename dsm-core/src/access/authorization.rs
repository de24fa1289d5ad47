use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Fingerprint, IpRule, ReferrerRule, Resource};
use crate::crypto::sealing::SealingFormat;
use crate::id::{ApplicationId, AuthorizationId, RegistryId};
use crate::time::Timestamp;

/// What clients of an application may do, from where, and until when.
///
/// It is the content only; id, revision, stamps, credentials and keys are kept beside it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorization {
    /// The application it belongs to.
    pub application: ApplicationId,
    /// Opaque hexadecimal text that stands for it in logs.
    pub code: String,
    /// For people; no decision reads it.
    pub name: String,
    /// The parts of the interface it may use.
    pub resources: BTreeSet<Resource>,
    /// From this instant on it is refused.
    pub expires_at: Option<Timestamp>,
    /// Whether it may be used; disabling suspends.
    pub enabled: bool,
    /// When it was revoked, which is for good.
    pub revoked_at: Option<Timestamp>,
    /// Whether sensitive values leave the vault only sealed to its key.
    pub encrypt_sensitive: bool,
    /// How they are sealed, once they are.
    pub encryption_format: SealingFormat,
    /// Whether its clients may create applications.
    pub allow_application_creation: bool,
    /// For grouping and searching; it neither permits nor denies.
    pub environment: RegistryId,
    /// For grouping and searching; it neither permits nor denies.
    pub system: RegistryId,
    /// Where its clients may come from; empty refuses everything.
    pub allowed_ips: Vec<IpRule>,
    /// Which pages may have sent them; empty allows any, and none at all.
    pub allowed_referrers: Vec<ReferrerRule>,
    /// The certificate its clients have to show.
    pub certificate_fingerprint: Option<Fingerprint>,
    /// Whether every write is refused.
    pub read_only: bool,
    /// A key of the client's choice that it is looked up by. A credential for AWS clients.
    pub unique_key: Option<String>,
    /// The authorization whose client made it; none if an operator did.
    pub created_by_authorization: Option<AuthorizationId>,
}

impl Authorization {
    /// Whether it gives anything to anybody: enabled, not revoked, and not expired.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.enabled
            && self.revoked_at.is_none()
            && self.expires_at.is_none_or(|expires_at| now < expires_at)
    }

    /// How sensitive values have to be sealed; none if they leave as they are.
    pub fn sealing(&self) -> Option<SealingFormat> {
        self.encrypt_sensitive.then_some(self.encryption_format)
    }

    /// The fields, by their names on the wire, in which this one allows more than `other`.
    ///
    /// A client may make authorizations, but none that is wider than its own. An address or
    /// referrer entry is covered when one entry of `other` covers all of it; entries that only
    /// cover it together do not count. A certificate is covered only by the same fingerprint,
    /// since a SHA-1 and a SHA-256 of one certificate cannot be told from those of two.
    pub fn wider_than(&self, other: &Self) -> Vec<&'static str> {
        let ips = self.allowed_ips.iter().any(|mine| {
            !other
                .allowed_ips
                .iter()
                .any(|theirs| mine.is_within(theirs))
        });
        let referrers = !other.allowed_referrers.is_empty()
            && (self.allowed_referrers.is_empty()
                || self.allowed_referrers.iter().any(|mine| {
                    !other
                        .allowed_referrers
                        .iter()
                        .any(|theirs| mine.is_within(theirs))
                }));
        let fingerprint = other.certificate_fingerprint.is_some()
            && self.certificate_fingerprint != other.certificate_fingerprint;
        let expiry = other
            .expires_at
            .is_some_and(|theirs| self.expires_at.is_none_or(|mine| mine > theirs));
        [
            ("allowed_ips", ips),
            ("allowed_http_referers", referrers),
            ("certificate_fingerprint", fingerprint),
            (
                "authorized_resources",
                !self.resources.is_subset(&other.resources),
            ),
            (
                "encryption_enabled",
                other.encrypt_sensitive && !self.encrypt_sensitive,
            ),
            ("expiration_date", expiry),
            (
                "allow_application_creation",
                self.allow_application_creation && !other.allow_application_creation,
            ),
            ("read_only", other.read_only && !self.read_only),
        ]
        .into_iter()
        .filter_map(|(field, wider)| wider.then_some(field))
        .collect()
    }
}

impl fmt::Debug for Authorization {
    /// Leaves out the unique key, which is a credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorization")
            .field("application", &self.application)
            .field("code", &self.code)
            .field("name", &self.name)
            .field("resources", &self.resources)
            .field("expires_at", &self.expires_at)
            .field("enabled", &self.enabled)
            .field("revoked_at", &self.revoked_at)
            .field("allowed_ips", &self.allowed_ips)
            .field("allowed_referrers", &self.allowed_referrers)
            .field("certificate_fingerprint", &self.certificate_fingerprint)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}
