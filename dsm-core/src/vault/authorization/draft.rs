//! A new authorization with its first credentials, before it is committed.

use std::collections::BTreeSet;

use super::super::Vault;
use super::super::client::NewClient;
use super::super::error::Error;
use super::super::record::Stored;
use crate::access::{Authorization, Resource, SealingFormat};
use crate::id::ApplicationId;
use crate::store::ChangeSet;

impl Vault {
    /// An authorization with everything at its default and nothing allowed.
    pub(crate) fn blank_authorization(&self, application: ApplicationId) -> Authorization {
        Authorization {
            application,
            code: data_encoding::HEXLOWER.encode(&self.entropy.array::<15>()),
            name: String::new(),
            resources: BTreeSet::from([Resource::Application, Resource::SecretManagement]),
            expires_at: None,
            enabled: true,
            revoked_at: None,
            encrypt_sensitive: true,
            encryption_format: SealingFormat::Jwe,
            allow_application_creation: false,
            // Placeholders until the required fields are written.
            environment: 0.into(),
            system: 0.into(),
            allowed_ips: Vec::new(),
            allowed_referrers: Vec::new(),
            certificate_fingerprint: None,
            read_only: false,
            unique_key: None,
            created_by_authorization: None,
        }
    }

    /// A new authorization with its first client, not committed yet.
    pub(crate) async fn draft_authorization(
        &self,
        content: Authorization,
        by: &str,
    ) -> Result<NewAuthorization, Error> {
        let authorization = self.records.draft(content, by).await?;
        let client = self.draft_client(authorization.id, by).await?;
        Ok(NewAuthorization {
            authorization,
            client,
        })
    }
}

/// An authorization and its first credentials before they are committed.
pub(crate) struct NewAuthorization {
    pub(crate) authorization: Stored<Authorization>,
    pub(crate) client: NewClient,
}

impl NewAuthorization {
    pub(crate) fn add_to(&self, vault: &Vault, set: ChangeSet) -> ChangeSet {
        set.create(vault.records.encode(&self.authorization))
            .create(vault.records.encode(&self.client.stored))
    }
}
