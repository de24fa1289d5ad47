use async_trait::async_trait;
use dsm_core::store::{LogRecord, StoreError};
use dsm_core::time::to_micros;
use sqlx::postgres::PgConnection;

use crate::database::Work;
use crate::encoding::{encode_terms, signed};
use crate::fault::Fault;

/// Names the advisory lock under which positions are given: "dsm log".
const LOCK: i64 = 0x64_736d_206c_6f67;

/// Appends to the log, column by column.
#[derive(Debug, Default)]
pub(crate) struct Append {
    servers: Vec<Vec<u8>>,
    sequences: Vec<i64>,
    last_sequences: Vec<i64>,
    from: Vec<i64>,
    until: Vec<i64>,
    terms: Vec<Vec<u8>>,
    bodies: Vec<Vec<u8>>,
}

impl Append {
    /// Records that were checked.
    pub(crate) fn new(records: Vec<LogRecord>) -> Result<Self, StoreError> {
        let mut append = Self::default();
        for record in records {
            append.servers.push(record.server.0.to_vec());
            append.sequences.push(signed(record.sequence)?);
            append.last_sequences.push(signed(record.last_sequence)?);
            append.from.push(to_micros(record.from));
            append.until.push(to_micros(record.until));
            append.terms.push(encode_terms(&record.terms));
            append.bodies.push(record.body);
        }
        Ok(append)
    }
}

#[async_trait]
impl Work for Append {
    type Output = ();

    async fn run(&self, connection: &mut PgConnection) -> Result<(), Fault> {
        sqlx::query!(
            r#"SELECT dsm.append($1, $2, $3, $4, $5, $6, $7, $8) AS "nothing: ()""#,
            LOCK,
            &self.servers,
            &self.sequences,
            &self.last_sequences,
            &self.from,
            &self.until,
            &self.terms,
            &self.bodies,
        )
        .execute(connection)
        .await?;
        Ok(())
    }
}
