use std::time::Duration;

use dsm_core::store::{SchemaChanges, StoreError};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::time::timeout;

use crate::fault::{Fault, unavailable};

/// Each step brings the schema from the version that is its index to the next, which it writes.
const MIGRATIONS: [&str; 1] = [include_str!("../migrations/0001_initial.sql")];

/// Names the advisory lock under which the schema changes: "dsm mig".
const LOCK: i64 = 0x64_736d_206d_6967;

/// How long the server has to tell the version of the schema.
const ANSWER: Duration = Duration::from_secs(4);

/// How long a server waits for the steps of another one, and takes for its own.
const LIMIT: Duration = Duration::from_mins(1);

/// Brings the schema up to date.
///
/// # Errors
///
/// [`StoreError::NewerSchema`] for a schema of a later version, [`StoreError::OlderSchema`] for one
/// that is not to be changed, [`StoreError::Corrupt`] for one of another program; all are left as they
/// are.
pub(crate) async fn migrate(
    connection: &mut PgConnection,
    changes: SchemaChanges,
) -> Result<(), Fault> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let found = timeout(ANSWER, version(connection)).await;
    let found =
        found.map_err(|_| unavailable("the database did not tell the version of its schema"))??;
    changes.check(found, known)?;
    if found == known {
        return Ok(());
    }
    let steps = timeout(LIMIT, step(connection, changes, known)).await;
    steps.unwrap_or_else(|_| Err(unavailable("the schema could not be brought up to date").into()))
}

async fn step(
    connection: &mut PgConnection,
    changes: SchemaChanges,
    known: i64,
) -> Result<(), Fault> {
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql(
        "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; \
         SET LOCAL idle_in_transaction_session_timeout = 0",
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *transaction)
        .await?;
    let found = version(&mut transaction).await?;
    changes.check(found, known)?;
    let steps = usize::try_from(found)
        .ok()
        .and_then(|found| MIGRATIONS.get(found..));
    if found == 0 {
        prepare(&mut transaction).await?;
    }
    for step in steps.unwrap_or_default() {
        sqlx::raw_sql(*step).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Makes the schema, unless the administrator has, and refuses one that is in use.
async fn prepare(connection: &mut PgConnection) -> Result<(), Fault> {
    let (present, used): (bool, bool) = sqlx::query_as(
        "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = 'dsm'), \
         EXISTS (SELECT 1 FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace \
         WHERE nspname = 'dsm')",
    )
    .fetch_one(&mut *connection)
    .await?;
    if used {
        let what = "the schema dsm of the database belongs to another program";
        return Err(StoreError::Corrupt(what.into()).into());
    }
    if !present {
        sqlx::raw_sql("CREATE SCHEMA dsm")
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// 0 where there is no schema.
async fn version(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    // Not by `to_regclass`, whose cache does not hear of what was done while this session waited.
    let present: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace \
         WHERE nspname = 'dsm' AND relname = 'schema_version')",
    )
    .fetch_one(&mut *connection)
    .await?;
    if !present {
        return Ok(0);
    }
    sqlx::query_scalar!("SELECT version FROM dsm.schema_version")
        .fetch_one(connection)
        .await
}
