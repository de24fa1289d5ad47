//! The job that destroys a secret's values in time.

use crate::secret::Secret;
use crate::store::{ChangeSet, Job, JobKey};
use crate::time::Timestamp;
use crate::vault::kind;
use crate::vault::record::Stored;

/// Puts or removes the job that destroys the values in time.
pub(super) fn schedule_expiry(
    secret: &Stored<Secret>,
    before: Option<Timestamp>,
    set: ChangeSet,
) -> ChangeSet {
    let key = JobKey {
        topic: kind::EXPIRE_SECRET,
        subject: secret.id.into(),
    };
    match secret.content.expires_at {
        after if after == before => set,
        Some(due_at) => set.put_job(Job {
            key,
            due_at,
            body: Vec::new(),
        }),
        None => set.remove_job(key),
    }
}
