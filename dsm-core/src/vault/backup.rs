//! Backups.

use std::io::Write;

use super::Vault;
use super::act::Caller;
use super::error::Error;
use crate::access::Permission;
use crate::audit::{ObjectKind, ObjectRef, Operation};
use crate::transfer::{BackupHeader, Contents, Progress, TransferError, write_backup};

impl Vault {
    /// Writes a backup of everything, as it is at one instant, while the vault goes on. The file is
    /// sealed under the active root key, which it does not hold; see [`transfer`](crate::transfer).
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] without the permission to; [`Error::Unavailable`] when the store or `out`
    /// fails, and what was written then is no backup.
    pub async fn backup(
        &self,
        caller: &Caller,
        out: &mut (dyn Write + Send),
        progress: impl FnMut(Progress) + Send,
    ) -> Result<(BackupHeader, Contents), Error> {
        let object = ObjectRef::new(ObjectKind::Vault, 0u64, "");
        let operation = Operation::BackupVault;
        self.view(caller, Permission::VaultBackup, operation, Some(object))
            .await?;
        let records = &self.records;
        let mut snapshot = records.store.snapshot().await?;
        let written = write_backup(
            &mut *snapshot,
            &records.sealer,
            &*self.clock,
            &*self.entropy,
            out,
            progress,
        );
        written.await.map_err(|error| match error {
            TransferError::Store(error) => error.into(),
            error => Error::Unavailable {
                reason: "the backup could not be written".to_owned(),
                source: Some(error.into()),
            },
        })
    }
}
