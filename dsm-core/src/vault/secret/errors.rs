//! The error history of a secret.

use super::entity::{OF_SECRET, SecretErrorEntry};
use crate::access::Permission;
use crate::audit::{Actor, ObjectKind, ObjectRef, Operation};
use crate::id::SecretId;
use crate::secret::{Secret, SecretError};
use crate::store::{ChangeSet, Page, Query};
use crate::vault::act::event;
use crate::vault::error::Error;
use crate::vault::record::{Listing, Stored};
use crate::vault::{Caller, Vault, kind};

impl Vault {
    /// A page of a secret's error history, newest first.
    pub async fn list_secret_errors(
        &self,
        caller: &Caller,
        id: SecretId,
        page: Page,
    ) -> Result<Listing<SecretError>, Error> {
        let object = ObjectRef::new(ObjectKind::Secret, id, "");
        self.view(
            caller,
            Permission::SecretsView,
            Operation::ViewSecret,
            Some(object),
        )
        .await?;
        self.secret(id).await?;
        self.secret_errors(id, page).await
    }

    /// The newest entry of a secret's error history.
    pub(crate) async fn newest_secret_error(
        &self,
        id: SecretId,
    ) -> Result<Option<SecretError>, Error> {
        let newest = self.secret_errors(id, Page::first(1)).await?;
        Ok(newest.items.into_iter().next())
    }

    pub(crate) async fn secret_errors(
        &self,
        id: SecretId,
        page: Page,
    ) -> Result<Listing<SecretError>, Error> {
        let term = self
            .records
            .term(kind::SECRET_ERROR, OF_SECRET, id.0.to_be_bytes());
        let query = Query::new(kind::SECRET_ERROR).with(term);
        let found = self.records.list::<SecretErrorEntry>(&query, page).await?;
        Ok(found.map(|entry| entry.content.error.clone()))
    }

    /// Adds an entry to a secret's error history. It makes no version.
    pub(crate) async fn record_secret_error(
        &self,
        old: &Stored<Secret>,
        error: SecretError,
    ) -> Result<(), Error> {
        let entry = SecretErrorEntry {
            secret: old.id,
            error,
        };
        let entry = self.records.draft(entry, "vault").await?;
        let mut set = ChangeSet::default().create(self.records.encode(&entry));
        if !old.has_error {
            let content = Secret {
                has_error: true,
                ..Secret::clone(old)
            };
            let new = self.records.revise(old, content, "vault");
            set = set.update(self.records.encode(&new), old.revision);
        }
        let event = event(
            self,
            Actor::Vault,
            None,
            Operation::RecordError,
            Some(old.object()),
        );
        let act = self.act_alone(vec![event]).await?;
        self.commit(act, set).await
    }
}
