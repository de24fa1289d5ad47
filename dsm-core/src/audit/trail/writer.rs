use std::sync::Arc;

use super::Shared;
use super::pending::Events;
use crate::audit::{AuditError, AuditSink, Batch, Head};

/// Writes batch after batch until the trail is closed.
pub(super) async fn run(
    shared: Arc<Shared>,
    sink: Arc<dyn AuditSink>,
    mut head: Head,
    followed: bool,
) {
    // However this ends, by a panic or with the runtime, nobody waits for ever.
    let _end = End(Arc::clone(&shared));
    let mut spare = Events::default();
    let mut certain = true;
    while let Some(taken) = shared.take(spare).await {
        let written = if certain {
            Ok(())
        } else {
            look_again(&shared, &*sink, &mut head).await
        };
        let result = match written {
            Ok(()) => {
                let batch = Batch::chain(head, &taken.events.bytes, &taken.events.ends);
                let batch = Arc::new(batch);
                sink.append(Arc::clone(&batch)).await.map(|()| batch)
            }
            Err(error) => Err(error),
        };
        match result {
            Ok(batch) => {
                if !certain {
                    tracing::info!(head = batch.last(), "the audit trail is written again");
                    certain = true;
                }
                head = *batch.head();
                shared.advance(head);
                spare = taken.complete(Ok(batch.first()));
                if followed {
                    shared.queue.push(batch);
                }
            }
            Err(error) => {
                if certain {
                    tracing::error!(%error, "the audit trail cannot be written");
                    certain = false;
                }
                spare = taken.complete(Err(error));
            }
        }
    }
}

/// After a failure the batch may be there or not, and may have been taken back. The chain goes on
/// from what is there: a record without its effect does no harm, a number given twice would.
async fn look_again(
    shared: &Shared,
    sink: &dyn AuditSink,
    head: &mut Head,
) -> Result<(), AuditError> {
    let found = sink
        .head(head.server)
        .await?
        .unwrap_or_else(|| Head::start(head.server));
    let same = found.sequence == head.sequence && found.link == head.link;
    let ahead = found.sequence > head.sequence && continues(sink, head).await?;
    if !same && !ahead {
        return Err(AuditError::Diverged {
            server: head.server,
            sequence: head.sequence,
        });
    }
    *head = found;
    shared.advance(found);
    Ok(())
}

async fn continues(sink: &dyn AuditSink, head: &Head) -> Result<bool, AuditError> {
    let next = sink.read(head.server, head.sequence + 1, 1).await?;
    Ok(next.is_some_and(|batch| batch.after() == head))
}

struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
