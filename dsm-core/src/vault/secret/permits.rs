//! Attaching credentials to a secret needs permissions of its own.

use crate::access::Permission;
use crate::audit::{ObjectKind, ObjectRef, Operation};
use crate::id::SecretId;
use crate::secret::{DataPatch, ItemCounts};
use crate::vault::error::Error;
use crate::vault::{Caller, Vault};

impl Vault {
    /// Attaching credentials needs permissions of its own.
    pub(super) async fn permit_data(
        &self,
        caller: &Caller,
        operation: Operation,
        id: Option<SecretId>,
        data: &DataPatch,
    ) -> Result<(), Error> {
        let (accounts, cloud) = (data.brings_credentials(), data.brings_cloud_credentials());
        self.permit_kinds(caller, operation, id, accounts, cloud)
            .await
    }

    /// As [`permit_data`](Self::permit_data), for items that are there already.
    pub(crate) async fn permit_items(
        &self,
        caller: &Caller,
        operation: Operation,
        id: SecretId,
        items: ItemCounts,
    ) -> Result<(), Error> {
        let accounts = items.credentials + items.ssh_keys + items.ephemeral_credentials > 0;
        let cloud = items.access_keys > 0;
        self.permit_kinds(caller, operation, Some(id), accounts, cloud)
            .await
    }

    async fn permit_kinds(
        &self,
        caller: &Caller,
        operation: Operation,
        id: Option<SecretId>,
        accounts: bool,
        cloud: bool,
    ) -> Result<(), Error> {
        let object = || id.map(|id| ObjectRef::new(ObjectKind::Secret, id, ""));
        for (needed, permission) in [
            (accounts, Permission::CredentialsWrite),
            (cloud, Permission::CloudCredentialsWrite),
        ] {
            if needed {
                drop(self.permit(caller, permission, operation, object()).await?);
            }
        }
        Ok(())
    }
}
