//! What may be written of an authorization, and what is wrong with it.

use super::super::error::{Error, FieldError};
use super::super::registry::Registry;
use super::super::{Vault, check, kind};
use super::entity::{ENVIRONMENT, SYSTEM};
use crate::access::{Authorization, Fingerprint, IpRule, ReferrerRule, Resource, SealingFormat};
use crate::id::SecretId;
use crate::secret::Secret;
use crate::time::Timestamp;

/// The most addresses, referrers or resources; a decision goes through all of them.
const MAX_ENTRIES: usize = 256;
/// The most secrets that one call attaches.
const MAX_SECRETS: usize = 1000;

/// What to write of an authorization; `None` leaves a field as it is, or at its default.
#[derive(Clone, Default)]
pub struct AuthorizationFields {
    /// For people.
    pub name: Option<String>,
    /// Required at creation.
    pub enabled: Option<bool>,
    /// When it ends, or never.
    pub expires_at: Option<Option<Timestamp>>,
    /// Required at creation.
    pub encrypt_sensitive: Option<bool>,
    /// Default: JWE.
    pub encryption_format: Option<SealingFormat>,
    /// Required at creation.
    pub allow_application_creation: Option<bool>,
    /// Required at creation: a registered name.
    pub environment: Option<String>,
    /// Required at creation: a registered name.
    pub system: Option<String>,
    /// Addresses, networks, `192.168.1.*`, `*`. Default: none, which refuses everything.
    pub allowed_ips: Option<Vec<String>>,
    /// URLs. Default: none, which allows any.
    pub allowed_referrers: Option<Vec<String>>,
    /// SHA-1 or SHA-256 in hexadecimal, or none.
    pub certificate_fingerprint: Option<Option<String>>,
    /// Default: Application and Secret Management.
    pub resources: Option<Vec<String>>,
    /// Default: off.
    pub read_only: Option<bool>,
    /// A key to look it up by, or none.
    pub unique_key: Option<Option<String>>,
    /// The attached secrets.
    pub secrets: Option<Vec<SecretId>>,
    /// What the caller found wrong in its own input: reported with what is found here, and nothing
    /// is written.
    pub wrong: Vec<FieldError>,
}

impl AuthorizationFields {
    /// An enabled authorization for a system and an environment: values unsealed, no creation of
    /// applications, and no address allowed yet.
    pub fn new(system: impl Into<String>, environment: impl Into<String>) -> Self {
        Self {
            enabled: Some(true),
            encrypt_sensitive: Some(false),
            allow_application_creation: Some(false),
            system: Some(system.into()),
            environment: Some(environment.into()),
            ..Self::default()
        }
    }
}

impl std::fmt::Debug for AuthorizationFields {
    /// Leaves out the unique key, which is a credential.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthorizationFields")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Vault {
    pub(super) async fn new_authorization(
        &self,
        blank: Authorization,
        mut fields: AuthorizationFields,
    ) -> Result<Authorization, Error> {
        let mut errors = std::mem::take(&mut fields.wrong);
        let required = [
            ("enabled", fields.enabled.is_some()),
            ("encrypt_sensitive", fields.encrypt_sensitive.is_some()),
            (
                "allow_application_creation",
                fields.allow_application_creation.is_some(),
            ),
            ("environment", fields.environment.is_some()),
            ("system", fields.system.is_some()),
        ];
        let missing = required.iter().filter(|(_, present)| !present);
        errors.extend(missing.map(|(field, _)| FieldError::new(*field, "is required")));
        let content = self.write_authorization(blank, fields, &mut errors).await?;
        check::finish(errors)?;
        Ok(content)
    }

    pub(crate) async fn write_authorization(
        &self,
        mut content: Authorization,
        fields: AuthorizationFields,
        errors: &mut Vec<FieldError>,
    ) -> Result<Authorization, Error> {
        errors.extend(fields.wrong);
        if let Some(name) = fields.name {
            // An authorization needs no name.
            if !name.is_empty() {
                check::name(errors, "name", &name);
            }
            content.name = name;
        }
        content.enabled = fields.enabled.unwrap_or(content.enabled);
        content.encrypt_sensitive = fields
            .encrypt_sensitive
            .unwrap_or(content.encrypt_sensitive);
        content.encryption_format = fields
            .encryption_format
            .unwrap_or(content.encryption_format);
        content.allow_application_creation = fields
            .allow_application_creation
            .unwrap_or(content.allow_application_creation);
        content.read_only = fields.read_only.unwrap_or(content.read_only);
        if let Some(at) = fields.expires_at {
            check::future(errors, "expires_at", at, self.clock.now());
            content.expires_at = at;
        }
        if let Some(name) = fields.environment {
            let found = self
                .registered_or(errors, Registry::Environment, ENVIRONMENT, &name)
                .await?;
            content.environment = found.unwrap_or(content.environment);
        }
        if let Some(name) = fields.system {
            let found = self
                .registered_or(errors, Registry::System, SYSTEM, &name)
                .await?;
            content.system = found.unwrap_or(content.system);
        }
        if let Some(ips) = fields.allowed_ips {
            content.allowed_ips = parse_all::<IpRule>(errors, "allowed_ips", &ips);
        }
        if let Some(referrers) = fields.allowed_referrers {
            let parsed = parse_all::<ReferrerRule>(errors, "allowed_referrers", &referrers);
            content.allowed_referrers = parsed;
        }
        if let Some(fingerprint) = fields.certificate_fingerprint {
            content.certificate_fingerprint = None;
            match fingerprint.as_deref().map(str::parse::<Fingerprint>) {
                Some(Ok(parsed)) => content.certificate_fingerprint = Some(parsed),
                Some(Err(error)) => {
                    let message = error.to_string();
                    errors.push(FieldError::new("certificate_fingerprint", message));
                }
                None => {}
            }
        }
        if let Some(resources) = fields.resources {
            let parsed = parse_all::<Resource>(errors, "resources", &resources);
            content.resources = parsed.into_iter().collect();
        }
        if let Some(key) = fields.unique_key {
            if let Some(key) = &key {
                check::name(errors, "unique_key", key);
            }
            content.unique_key = key;
        }
        let secrets = fields.secrets.unwrap_or_default();
        if secrets.len() > MAX_SECRETS {
            errors.push(FieldError::new(
                "secrets",
                format!("must be at most {MAX_SECRETS} at once"),
            ));
            return Ok(content);
        }
        for id in secrets {
            if self
                .records
                .cached::<Secret>(kind::SECRET, id)
                .await?
                .is_none()
            {
                errors.push(FieldError::new(
                    "secrets",
                    format!("there is no secret {id}"),
                ));
            }
        }
        Ok(content)
    }
}

fn parse_all<T: std::str::FromStr<Err: std::fmt::Display>>(
    errors: &mut Vec<FieldError>,
    field: &str,
    texts: &[String],
) -> Vec<T> {
    if texts.len() > MAX_ENTRIES {
        errors.push(FieldError::new(
            field,
            format!("must be at most {MAX_ENTRIES}"),
        ));
        return Vec::new();
    }
    let mut parsed = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match text.parse() {
            Ok(rule) => parsed.push(rule),
            Err(error) => {
                let message = T::Err::to_string(&error);
                errors.push(FieldError::new(format!("{field}[{index}]"), message));
            }
        }
    }
    parsed
}
