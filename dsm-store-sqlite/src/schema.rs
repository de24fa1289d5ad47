use dsm_core::store::StoreError;
use sqlx::{Connection as _, SqliteConnection};

use crate::fault::Fault;

/// Each step brings the schema from the version that is its index to the next, which it sets as
/// `user_version`.
const MIGRATIONS: [&str; 2] = [
    include_str!("../migrations/0001_initial.sql"),
    include_str!("../migrations/0002_operations.sql"),
];

/// The `application_id` that the first step sets.
const APPLICATION: i64 = 0x6473_6d31;

/// Brings the schema up to date.
///
/// # Errors
///
/// [`StoreError::NewerSchema`] for a file of a later version, [`StoreError::Corrupt`] for a database
/// of another program; both are left as they are.
pub(crate) async fn migrate(connection: &mut SqliteConnection) -> Result<(), Fault> {
    if usize::try_from(version(connection).await?) == Ok(MIGRATIONS.len()) {
        return check_application(connection).await;
    }
    // Immediate, so that of two processes that open the file one waits for the other's steps.
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let found = version(&mut transaction).await?;
    if found == 0 {
        let objects = sqlx::query_scalar!("SELECT count(*) FROM sqlite_schema");
        if objects.fetch_one(&mut *transaction).await? > 0 {
            return Err(foreign().into());
        }
    } else {
        check_application(&mut transaction).await?;
    }
    let known = MIGRATIONS.len();
    let steps = usize::try_from(found)
        .ok()
        .and_then(|found| MIGRATIONS.get(found..));
    let Some(steps) = steps else {
        return Err(StoreError::NewerSchema {
            found,
            known: i64::try_from(known).unwrap_or(i64::MAX),
        }
        .into());
    };
    for step in steps {
        sqlx::raw_sql(*step).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(())
}

async fn version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(connection)
        .await
}

async fn check_application(connection: &mut SqliteConnection) -> Result<(), Fault> {
    let found: i64 = sqlx::query_scalar("PRAGMA application_id")
        .fetch_one(connection)
        .await?;
    if found == APPLICATION {
        Ok(())
    } else {
        Err(foreign().into())
    }
}

fn foreign() -> StoreError {
    StoreError::Corrupt("the file is a database of another program".into())
}
