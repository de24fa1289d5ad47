use async_trait::async_trait;
use dsm_core::store::OperationId;
use sqlx::postgres::PgConnection;

use crate::database::Work;
use crate::fault::Fault;

/// How many operations are forgotten by one statement.
const AT_ONCE: i64 = 5_000;

/// Tells whether an operation took effect, or gives it up.
#[derive(Debug)]
pub(crate) struct Resolve(pub(crate) OperationId);

#[async_trait]
impl Work for Resolve {
    type Output = bool;

    async fn run(&self, connection: &mut PgConnection) -> Result<bool, Fault> {
        let done = sqlx::query_scalar!(r#"SELECT dsm.resolve($1) AS "done!""#, &self.0.0[..]);
        Ok(done.fetch_one(connection).await?)
    }
}

/// Forgets operations that nobody asks about any more; answers whether there are more of them.
#[derive(Debug)]
pub(crate) struct Prune;

#[async_trait]
impl Work for Prune {
    type Output = bool;

    async fn run(&self, connection: &mut PgConnection) -> Result<bool, Fault> {
        let done = sqlx::query!(
            "DELETE FROM dsm.operation WHERE id IN (SELECT id FROM dsm.operation \
             WHERE at < now() - interval '90 minutes' ORDER BY at LIMIT $1 FOR UPDATE SKIP LOCKED)",
            AT_ONCE,
        )
        .execute(connection)
        .await?;
        Ok(done.rows_affected() == AT_ONCE.unsigned_abs())
    }
}
