//! Reading the audit trail.

use std::io::Write;

use super::Vault;
use super::act::Caller;
use super::error::Error;
use crate::access::Permission;
use crate::audit::{self, AuditPage, AuditQuery, ObjectKind, ObjectRef, Operation};

impl Vault {
    /// A page of the trail as the store has it, the newest entry first. What is recorded in a
    /// folder first gets there a moment later.
    pub async fn search_audit(
        &self,
        caller: &Caller,
        query: &AuditQuery,
    ) -> Result<AuditPage, Error> {
        self.view_audit(caller, "search").await?;
        let records = &self.records;
        let store = &*records.store;
        Ok(audit::search(store, &records.sealer, &records.keyring, query).await?)
    }

    /// Writes the trail as the store has it as JSON lines; tells how many entries.
    pub async fn export_audit(
        &self,
        caller: &Caller,
        out: &mut (dyn Write + Send),
    ) -> Result<u64, Error> {
        self.view_audit(caller, "export").await?;
        let records = &self.records;
        Ok(audit::export(&*records.store, &records.sealer, None, out).await?)
    }

    async fn view_audit(&self, caller: &Caller, how: &str) -> Result<(), Error> {
        let object = ObjectRef::absent(ObjectKind::Audit, how);
        self.view(
            caller,
            Permission::AuditView,
            Operation::ViewAudit,
            Some(object),
        )
        .await
    }
}
