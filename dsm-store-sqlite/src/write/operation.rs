use async_trait::async_trait;
use dsm_core::store::{OperationId, StoreError};
use sqlx::SqliteConnection;

use super::Work;
use crate::fault::Fault;

/// Tells whether an operation took effect, which from then on it does not if it did not before.
#[derive(Debug)]
pub(crate) struct Resolve(pub(crate) OperationId);

#[async_trait]
impl Work for Resolve {
    type Output = bool;

    async fn run(&self, connection: &mut SqliteConnection) -> Result<bool, Fault> {
        remember(connection, self.0, false).await
    }
}

/// How an operation is met by a commit.
pub(super) enum Met {
    /// For the first time.
    New,
    /// It took effect before.
    Done,
}

/// Remembers that an operation takes effect with this transaction.
pub(super) async fn begin(
    connection: &mut SqliteConnection,
    operation: OperationId,
) -> Result<Met, Fault> {
    let id = operation.0.as_slice();
    let done = sqlx::query!(
        "INSERT INTO operation (id, done) VALUES (?, TRUE) ON CONFLICT (id) DO NOTHING",
        id
    )
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() == 1 {
        forget(connection).await?;
        return Ok(Met::New);
    }
    if remember(connection, operation, true).await? {
        Ok(Met::Done)
    } else {
        Err(StoreError::GivenUp(operation).into())
    }
}

/// Remembers what became of an operation, unless that is known, and tells it.
async fn remember(
    connection: &mut SqliteConnection,
    operation: OperationId,
    done: bool,
) -> Result<bool, Fault> {
    let id = operation.0.as_slice();
    sqlx::query!(
        "INSERT INTO operation (id, done) VALUES (?, ?) ON CONFLICT (id) DO NOTHING",
        id,
        done
    )
    .execute(&mut *connection)
    .await?;
    let known = sqlx::query_scalar!(
        r#"SELECT done AS "done: bool" FROM operation WHERE id = ?"#,
        id
    )
    .fetch_one(connection)
    .await?;
    Ok(known)
}

/// Forgets a few of those that nobody asks about any more, more than are added.
async fn forget(connection: &mut SqliteConnection) -> Result<(), Fault> {
    sqlx::query!(
        "DELETE FROM operation WHERE id IN \
         (SELECT id FROM operation WHERE at < unixepoch() - 3600 ORDER BY at LIMIT 4)"
    )
    .execute(connection)
    .await?;
    Ok(())
}
