//! Pages that take more than one script.

use std::time::{Duration, Instant};

use dsm_core::store::StoreError;

use crate::read::End;

/// Puts a page of at most `limit` items together from what `ask` answers for a place to go on after
/// and a limit, and tells where the next page starts. When looking for it took as long as `search`
/// the page ends with what was found, which may be nothing, and the next one goes on there.
pub(crate) async fn gather<T, A>(
    mut after: Option<u64>,
    limit: usize,
    search: Duration,
    place: impl Fn(&T) -> u64,
    ask: impl Fn(Option<u64>, usize) -> A,
) -> Result<(Vec<T>, Option<u64>), StoreError>
where
    A: Future<Output = Result<(Vec<T>, End), StoreError>>,
{
    let limit = limit.max(1);
    let begun = Instant::now();
    let mut items = Vec::new();
    loop {
        let (found, end) = ask(after, limit - items.len()).await?;
        items.extend(found);
        let next = match end {
            End::Last => None,
            End::Full => items.last().map(&place),
            End::Part(at) if begun.elapsed() < search => {
                after = Some(at);
                continue;
            }
            End::Part(at) => Some(at),
        };
        return Ok((items, next));
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, ready};

    use super::*;

    const ENTRIES: u64 = 1_000;
    /// One in so many matches.
    const SPARSE: u64 = 300;
    /// How many entries one answer looks through.
    const WORK: u64 = 100;

    fn ask(after: Option<u64>, limit: usize) -> Ready<Result<(Vec<u64>, End), StoreError>> {
        let first = after.map_or(0, |after| after + 1);
        let last = (first + WORK).min(ENTRIES);
        let mut found: Vec<u64> = (first..last).filter(|n| n % SPARSE == 0).collect();
        let end = if found.len() > limit {
            found.truncate(limit);
            End::Full
        } else if last == ENTRIES {
            End::Last
        } else {
            End::Part(last - 1)
        };
        ready(Ok((found, end)))
    }

    async fn page(after: Option<u64>, limit: usize, search: Duration) -> (Vec<u64>, Option<u64>) {
        let page = gather(after, limit, search, |item| *item, ask).await;
        page.expect("it answers")
    }

    #[tokio::test]
    async fn a_page_goes_on_until_it_is_whole() {
        let all = (vec![0, 300, 600, 900], None);
        assert_eq!(page(None, 10, Duration::MAX).await, all);
    }

    #[tokio::test]
    async fn without_time_pages_are_short_and_together_everything() {
        let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let (items, next) = page(after, 10, Duration::ZERO).await;
            found.extend(items);
            pages += 1;
            if next.is_none() {
                break;
            }
            assert!(next > after, "it goes on");
            after = next;
        }
        assert_eq!(found, [0, 300, 600, 900]);
        assert_eq!(pages, ENTRIES / WORK);
    }
}
