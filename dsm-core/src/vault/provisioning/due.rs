//! The ephemeral timer of a secret: new accounts in place of those that an interval is over for.

use super::plan::Which;
use super::run::Order;
use super::who::Who;
use crate::id::SecretId;
use crate::renewal::schedule::{next_due, next_try};
use crate::renewal::{Failure, MAX_REFUSALS};
use crate::secret::{Secret, Status};
use crate::store::Settlement;
use crate::vault::error::Error;
use crate::vault::rotation::{Ended, Held};
use crate::vault::{Vault, kind};

impl Vault {
    /// Provisions what a secret's ephemeral timer is due for. Without a timer, as after a
    /// registration, what has no account yet.
    pub(in crate::vault) async fn provision_due(
        &self,
        held: &Held,
        id: SecretId,
    ) -> Result<Ended, Error> {
        let now = self.clock.now();
        let found = self.records.find::<Secret>(kind::SECRET, id).await?;
        let Some(secret) = found.filter(|it| it.status(now) != Status::Expired) else {
            return self.settle_idle(held, Settlement::Done).await;
        };
        let interval = secret.renew.ephemeral;
        let next = interval.map(|interval| next_due(now, interval, self.chance()));
        let settlement = next.map_or(Settlement::Done, Settlement::RetryAt);
        if secret.items.ephemeral_credentials == 0 {
            return self.settle_idle(held, settlement).await;
        }
        let order = Order {
            who: Who::Worker(held),
            which: interval.map_or(Which::Missing, Which::Due),
            added: Vec::new(),
            overlap: None,
            settlement: Some(settlement),
        };
        let done = self.provision(secret, order).await?;
        if done.failures.is_empty() {
            return if done.served > 0 {
                Ok(Ended::Promoted)
            } else {
                // What lasts may be due before a whole interval is over.
                let at = done.again_at.or(next);
                let settlement = at.map_or(Settlement::Done, Settlement::RetryAt);
                self.settle_idle(held, settlement).await
            };
        }
        let count = 1 + self.failures_in_a_row(&done.secret).await?;
        let refused = done
            .failures
            .iter()
            .all(|failure| failure.kind == Failure::Refused);
        // What is refused again and again is left until the next time, or until somebody asks.
        let try_at = if refused && count >= MAX_REFUSALS {
            next
        } else {
            Some(next_try(now, count, self.chance()))
        };
        held.check()?;
        self.record_failures(&done.secret, &done.failures, try_at)
            .await?;
        let settlement = try_at.map_or(Settlement::Done, Settlement::RetryAt);
        self.settle_idle(held, settlement).await?;
        Ok(Ended::Failed)
    }
}
