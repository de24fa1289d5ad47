use async_trait::async_trait;
use dsm_core::store::Kind;
use sqlx::postgres::PgConnection;

use crate::database::Work;
use crate::encoding::{signed, unsigned};
use crate::fault::Fault;

/// How many numbers are reserved at once.
pub(crate) const BLOCK: u64 = 32;

/// Reserves [`BLOCK`] numbers and answers with the last of them.
#[derive(Debug)]
pub(crate) struct Reserve(pub(crate) Kind);

#[async_trait]
impl Work for Reserve {
    type Output = u64;

    async fn run(&self, connection: &mut PgConnection) -> Result<u64, Fault> {
        let last = sqlx::query_scalar!(
            "INSERT INTO dsm.sequence (kind, last) VALUES ($1, $2) \
             ON CONFLICT (kind) DO UPDATE SET last = sequence.last + excluded.last RETURNING last",
            i32::from(self.0.0),
            signed(BLOCK)?,
        )
        .fetch_one(connection)
        .await?;
        Ok(unsigned(last)?)
    }
}

/// Makes later numbers greater than what is given.
#[derive(Debug)]
pub(crate) struct Advance(pub(crate) Kind, pub(crate) u64);

#[async_trait]
impl Work for Advance {
    type Output = ();

    async fn run(&self, connection: &mut PgConnection) -> Result<(), Fault> {
        sqlx::query!(
            "INSERT INTO dsm.sequence (kind, last) VALUES ($1, $2) \
             ON CONFLICT (kind) DO UPDATE SET last = greatest(sequence.last, excluded.last)",
            i32::from(self.0.0),
            signed(self.1)?,
        )
        .execute(connection)
        .await?;
        Ok(())
    }
}
