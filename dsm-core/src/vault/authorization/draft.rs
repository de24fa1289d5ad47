//! A new authorization with its first credentials, before it is committed.

use std::collections::BTreeSet;

use super::super::Vault;
use super::super::client::NewClient;
use super::super::error::Error;
use super::super::record::Stored;
use super::super::sealing::NewKey;
use crate::access::{AuthenticationMethod, Authorization, Resource, SealingFormat};
use crate::audit::Operation;
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

    /// A new authorization with its first client, and with a key pair where it seals, not committed
    /// yet.
    pub(crate) async fn draft_authorization(
        &self,
        mut content: Authorization,
        method: AuthenticationMethod,
        by: &str,
    ) -> Result<NewAuthorization, Error> {
        // Its clients have to name one.
        if method == AuthenticationMethod::Aws && content.unique_key.is_none() {
            content.unique_key = Some(self.random_unique_key());
        }
        let authorization = self.records.draft(content, by).await?;
        let client = self.draft_client(&authorization, method, by).await?;
        let id = authorization.id;
        let key = self.draft_missing_key(id, &authorization, by).await?;
        Ok(NewAuthorization {
            authorization,
            client,
            key,
        })
    }
}

/// An authorization and its first credentials before they are committed.
pub(crate) struct NewAuthorization {
    pub(crate) authorization: Stored<Authorization>,
    pub(crate) client: NewClient,
    pub(crate) key: Option<NewKey>,
}

impl NewAuthorization {
    pub(crate) fn add_to(&self, vault: &Vault, set: ChangeSet) -> ChangeSet {
        let set = set
            .create(vault.records.encode(&self.authorization))
            .create(vault.records.encode(&self.client.stored));
        match &self.key {
            Some(key) => set.create(vault.records.encode(&key.stored)),
            None => set,
        }
    }

    /// What is recorded of its key, beside its own creation.
    pub(crate) fn key_operations(&self) -> &'static [Operation] {
        self.key.as_ref().map_or(&[], NewKey::operations)
    }
}
