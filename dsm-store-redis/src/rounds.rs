//! Rounds of asking whether the replicas have what was written.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

/// The rounds over one connection. The question holds the connection up and is about everything that
/// was written over it before, so one at a time is under way, for all who wait for it.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    begun: AtomicU64,
    /// The last round that was answered, and how many replicas confirmed.
    ended: Mutex<Option<(u64, u32)>>,
}

impl Rounds {
    /// How many replicas have what was acknowledged before this call, as `ask` or the round of
    /// another call tells.
    pub(crate) async fn join<E>(
        &self,
        ask: impl AsyncFnOnce() -> Result<u32, E>,
    ) -> Result<u32, E> {
        let before = self.begun.load(Ordering::Acquire);
        let mut ended = self.ended.lock().await;
        if let Some((round, confirmed)) = *ended
            && round > before
        {
            return Ok(confirmed);
        }
        let round = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let confirmed = ask().await?;
        *ended = Some((round, confirmed));
        Ok(confirmed)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use tokio::sync::oneshot;
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn who_comes_while_a_round_is_under_way_shares_the_next_one() {
        let rounds = Arc::new(Rounds::default());
        let (answer, answered) = oneshot::channel();
        let first = tokio::spawn({
            let rounds = Arc::clone(&rounds);
            async move {
                let ask = async || Ok::<_, Infallible>(answered.await.unwrap_or(9));
                rounds.join(ask).await
            }
        });
        yield_now().await;
        let asked = Arc::new(AtomicU64::new(0));
        let others: Vec<_> = (0..3)
            .map(|_| {
                let (rounds, asked) = (Arc::clone(&rounds), Arc::clone(&asked));
                tokio::spawn(async move {
                    let ask = async || {
                        asked.fetch_add(1, Ordering::Relaxed);
                        Ok::<_, Infallible>(2)
                    };
                    rounds.join(ask).await
                })
            })
            .collect();
        yield_now().await;
        assert_eq!(asked.load(Ordering::Relaxed), 0, "one at a time");
        answer.send(1).expect("it is waited for");
        assert_eq!(first.await.expect("it ends"), Ok(1));
        for other in others {
            assert_eq!(other.await.expect("it ends"), Ok(2), "not what was before");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_round_that_failed_answers_nobody_else() {
        let rounds = Rounds::default();
        assert_eq!(rounds.join(async || Err("lost")).await, Err("lost"));
        assert_eq!(rounds.join(async || Ok::<_, &str>(1)).await, Ok(1));
    }
}
