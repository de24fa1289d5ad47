//! A change set as the arguments of `commit.lua`.

use dsm_core::store::{Change, ChangeSet, JobChange, OperationId, Settlement, StoreError};
use redis::Value;

use crate::encoding::{encode_job, encode_record, instant, job_key, number, record_key};
use crate::read::{array, bytes, integer, next, refusal};
use crate::scripts::{COMMIT, COMMIT_REMOVALS, Script};

/// For how long it is remembered what became of an operation. It is asked within an hour.
const REMEMBERED_MILLIS: u32 = 2 * 60 * 60 * 1000;

/// The script for a set: one that only removes runs without room as well.
pub(crate) fn script(set: &ChangeSet) -> &'static Script {
    let removes = |change: &Change| matches!(change, Change::Delete { .. } | Change::Check { .. });
    let ends = |job: &JobChange| matches!(job, JobChange::Remove(_));
    if set.records.iter().all(removes) && set.jobs.iter().all(ends) {
        &COMMIT_REMOVALS
    } else {
        &COMMIT
    }
}

pub(crate) fn commit_arguments(set: &ChangeSet) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut arguments = match set.operation {
        Some(operation) => operation_arguments(operation),
        None => vec![Vec::new(), Vec::new()],
    };
    for count in [set.settled.len(), set.records.len(), set.jobs.len()] {
        arguments.push(count.to_string().into_bytes());
    }
    for (lease, settlement) in &set.settled {
        arguments.push(job_key(lease.job.key).to_vec());
        arguments.push(number(lease.generation).to_vec());
        arguments.push(match settlement {
            Settlement::Done => Vec::new(),
            Settlement::RetryAt(due_at) => instant(*due_at).to_vec(),
            Settlement::Held => b"held".to_vec(),
        });
    }
    for change in &set.records {
        let expected = |expected: &u64| number(*expected).to_vec();
        let (what, expected, record) = match change {
            Change::Create(record) => ("create", Vec::new(), Some(record)),
            Change::Update {
                record,
                expected: at,
            } => ("update", expected(at), Some(record)),
            Change::Delete { expected: at, .. } => ("delete", expected(at), None),
            Change::Check { expected: at, .. } => ("check", expected(at), None),
        };
        arguments.push(what.as_bytes().to_vec());
        arguments.push(record_key(change.key()).to_vec());
        arguments.push(expected);
        arguments.push(record.map(encode_record).transpose()?.unwrap_or_default());
    }
    for change in &set.jobs {
        let (key, job) = match change {
            JobChange::Put(job) => (job.key, encode_job(job)),
            JobChange::Remove(key) => (*key, Vec::new()),
        };
        arguments.push(job_key(key).to_vec());
        arguments.push(job);
    }
    Ok(arguments)
}

/// The arguments of `resolve.lua`, with which those of `commit.lua` begin.
pub(crate) fn operation_arguments(operation: OperationId) -> Vec<Vec<u8>> {
    vec![
        operation.to_string().into_bytes(),
        REMEMBERED_MILLIS.to_string().into_bytes(),
    ]
}

/// What became of the set: the number of the change that it made, 0 for none.
pub(crate) fn outcome(answer: Value, operation: Option<OperationId>) -> Result<i64, StoreError> {
    let mut values = array(answer)?;
    let status = bytes(next(&mut values)?)?;
    match (status.as_slice(), operation) {
        (b"ok", _) => integer(&next(&mut values)?),
        (b"given up", Some(operation)) => Err(StoreError::GivenUp(operation)),
        _ => {
            let key = bytes(next(&mut values)?)?;
            Err(refusal(&status, &key)?)
        }
    }
}
