use dsm_core::store::{SchemaChanges, StoreError};
use sqlx::{Connection as _, SqliteConnection};

use crate::fault::Fault;

/// A part of a step.
#[derive(Debug, Clone, Copy)]
enum Part {
    Once(&'static str),
    /// Run again as long as it changes rows.
    Repeated(&'static str),
}

/// Each step brings the schema from the version that is its index to the next, which it sets as
/// `user_version`.
const MIGRATIONS: [&[Part]; 3] = [
    &[Part::Once(include_str!("../migrations/0001_initial.sql"))],
    &[Part::Once(include_str!(
        "../migrations/0002_operations.sql"
    ))],
    &[
        Part::Once(include_str!("../migrations/0003_places_begin.sql")),
        Part::Repeated(include_str!("../migrations/0003_places_records.sql")),
        Part::Repeated(include_str!("../migrations/0003_places_terms.sql")),
        Part::Once(include_str!("../migrations/0003_places_end.sql")),
    ],
];

/// The `application_id` that the first step sets.
const APPLICATION: i64 = 0x6473_6d31;

/// Brings the schema up to date.
///
/// # Errors
///
/// [`StoreError::NewerSchema`] for a file of a later version, [`StoreError::OlderSchema`] for one that
/// is not to be changed, [`StoreError::Corrupt`] for a database of another program; all are left as
/// they are.
pub(crate) async fn migrate(
    connection: &mut SqliteConnection,
    changes: SchemaChanges,
) -> Result<(), Fault> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    // One state of the file, and without a lock for who is refused.
    let mut transaction = connection.begin().await?;
    let found = check(&mut transaction, changes, known).await?;
    drop(transaction);
    if found == known {
        return Ok(());
    }
    // Immediate, so that of two processes that open the file one waits for the other's steps.
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let found = check(&mut transaction, changes, known).await?;
    // A file that is new has nothing to be moved.
    let moves = (1..known).contains(&found);
    if moves {
        tracing::info!(
            from = found,
            to = known,
            "the schema of the store changes; a million records take minutes"
        );
    }
    let steps = usize::try_from(found)
        .ok()
        .and_then(|found| MIGRATIONS.get(found..));
    for step in steps.unwrap_or_default() {
        for part in *step {
            run(&mut transaction, *part).await?;
        }
    }
    transaction.commit().await?;
    if moves {
        tracing::info!(version = known, "the schema of the store is up to date");
    }
    Ok(())
}

async fn run(connection: &mut SqliteConnection, part: Part) -> Result<(), sqlx::Error> {
    match part {
        Part::Once(sql) => {
            sqlx::raw_sql(sql).execute(connection).await?;
        }
        Part::Repeated(sql) => {
            let mut changed = 1;
            while changed > 0 {
                let done = sqlx::raw_sql(sql).execute(&mut *connection).await?;
                changed = done.rows_affected();
            }
        }
    }
    Ok(())
}

/// The version of the schema, if it is one that may be used or brought up to date.
async fn check(
    connection: &mut SqliteConnection,
    changes: SchemaChanges,
    known: i64,
) -> Result<i64, Fault> {
    let found = version(connection).await?;
    if found == 0 {
        let objects = sqlx::query_scalar!("SELECT count(*) FROM sqlite_schema");
        if objects.fetch_one(connection).await? > 0 {
            return Err(foreign().into());
        }
    } else {
        check_application(connection).await?;
    }
    changes.check(found, known)?;
    Ok(found)
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
