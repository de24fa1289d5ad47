use async_trait::async_trait;
use dsm_core::store::LogRecord;
use dsm_core::time::to_micros;
use sqlx::SqliteConnection;

use super::Work;
use crate::encoding::{encode_terms, signed};
use crate::fault::Fault;

/// Appends to the log.
#[derive(Debug)]
pub(crate) struct Append(pub(crate) Vec<LogRecord>);

#[async_trait]
impl Work for Append {
    type Output = ();

    async fn run(&self, connection: &mut SqliteConnection) -> Result<(), Fault> {
        for record in &self.0 {
            append(connection, record).await?;
        }
        Ok(())
    }
}

async fn append(connection: &mut SqliteConnection, record: &LogRecord) -> Result<(), Fault> {
    let server = record.server.0.as_slice();
    let sequence = signed(record.sequence)?;
    let last_sequence = signed(record.last_sequence)?;
    let from_at = to_micros(record.from);
    let until_at = to_micros(record.until);
    let terms = encode_terms(&record.terms);
    let body = record.body.as_slice();
    let position = sqlx::query_scalar!(
        r#"INSERT INTO log (server, sequence, last_sequence, from_at, until_at, terms, body)
           VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (server, sequence) DO NOTHING
           RETURNING position AS "position: i64""#,
        server,
        sequence,
        last_sequence,
        from_at,
        until_at,
        terms,
        body
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(position) = position.filter(|_| !terms.is_empty()) else {
        return Ok(());
    };
    sqlx::query!(
        "WITH RECURSIVE place (at) AS \
             (SELECT 1 UNION ALL SELECT at + 16 FROM place WHERE at + 16 < length(?2)) \
         INSERT OR IGNORE INTO log_term (term, position) SELECT substr(?2, at, 16), ?1 FROM place",
        position,
        terms
    )
    .execute(connection)
    .await?;
    Ok(())
}
