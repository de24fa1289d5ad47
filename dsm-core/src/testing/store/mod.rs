//! The conformance suite: what [`Store`] promises, one rule to a case.
//!
//! A backend's test file stamps the suite with [`store_conformance!`](crate::store_conformance) and
//! compares itself with the memory store by [`compare`](fn@compare).

pub mod changes;
pub mod compare;
pub mod ids;
pub mod listing;
pub mod log;
pub mod operations;
pub mod queue;
pub mod records;
pub mod restart;
pub mod snapshot;
pub mod terms;

use std::sync::Arc;

use async_trait::async_trait;

pub use self::compare::{Op, compare, ops};
use crate::store::{
    ChangeSet, IndexTerm, Kind, MemoryStore, Record, RecordKey, Store, StoreError, Term,
};
use crate::time::{Timestamp, from_micros};

/// Where a case gets its store from. It guards what the store needs, such as a temporary folder,
/// and is dropped after the case.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The store, empty at first.
    async fn store(&self) -> Arc<dyn Store>;

    /// Abandons the store, without [`Store::close`], and opens what it kept; `None` when it keeps
    /// nothing.
    async fn reopen(&self) -> Option<Arc<dyn Store>>;
}

#[async_trait]
impl Fixture for Arc<MemoryStore> {
    async fn store(&self) -> Arc<dyn Store> {
        self.clone()
    }

    async fn reopen(&self) -> Option<Arc<dyn Store>> {
        None
    }
}

/// Stamps one `#[tokio::test]` per case of the suite, for a closure that returns a future of a
/// [`Fixture`](crate::testing::store::Fixture). With `persistent` before it, the cases about a
/// restart as well.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// dsm_core::store_conformance!(|| async { Arc::new(dsm_core::store::MemoryStore::new()) });
/// ```
#[macro_export]
macro_rules! store_conformance {
    (persistent $make:expr) => {
        $crate::store_conformance!($make);
        $crate::store_conformance!(@restart $make, restart: [
            records_and_terms_survive_a_restart,
            ids_go_on_after_a_restart,
            the_log_goes_on_after_a_restart,
            leases_survive_a_restart,
            operations_survive_a_restart,
            an_abandoned_batch_is_whole_or_absent,
        ]);
    };
    ($make:expr) => {
        $crate::store_conformance!(@stamp $make, records: [
            a_created_record_is_found,
            an_absent_record_is_none,
            a_taken_key_is_refused,
            an_id_in_two_kinds_is_two_records,
            an_update_replaces_the_whole_record,
            an_update_at_another_revision_is_refused,
            an_update_of_an_absent_record_is_refused,
            a_delete_removes_the_record,
            a_delete_at_another_revision_is_refused,
            a_delete_of_an_absent_record_is_refused,
            a_rewrap_keeps_the_revision,
            a_restored_record_keeps_its_revision,
            a_failing_last_change_undoes_the_set,
            an_empty_set_is_accepted,
            a_key_twice_in_a_set_is_refused,
            numbers_beyond_i64_are_refused,
            extreme_ids_are_kept,
            an_empty_body_is_kept,
            a_body_of_a_mebibyte_is_kept,
            a_body_with_every_byte_is_kept,
            instants_are_kept_to_the_microsecond,
            one_of_sixteen_racing_updates_wins,
            one_of_sixteen_racing_creations_wins,
            readers_never_meet_half_a_set,
            a_dropped_commit_leaves_the_store_whole,
            a_failing_set_leaves_its_neighbours_alone,
            a_check_guards_its_set,
            a_check_changes_nothing,
            racing_checks_let_each_other_pass,
            a_check_and_an_update_exclude_each_other,
        ]);
        $crate::store_conformance!(@stamp $make, terms: [
            a_unique_term_finds_its_record,
            a_plain_term_is_not_found_by,
            several_unique_terms_find_each_their_record,
            a_taken_unique_term_is_refused,
            an_update_to_a_taken_unique_term_is_refused,
            an_update_keeps_its_own_unique_term,
            a_delete_frees_a_unique_term,
            an_update_frees_a_unique_term,
            a_unique_term_moves_within_a_set,
            two_records_swap_unique_terms_within_a_set,
            a_deleted_records_term_is_taken_over_within_the_set,
            a_unique_term_twice_in_a_set_is_refused,
            a_plain_term_is_on_many_records,
            a_unique_term_is_taken_per_kind,
            a_unique_term_does_not_bar_a_plain_one,
            a_term_changes_from_plain_to_unique,
            terms_with_every_byte_value_are_told_apart,
            terms_keep_their_order,
            one_of_sixteen_racing_for_a_unique_term_wins,
        ]);
        $crate::store_conformance!(@stamp $make, listing: [
            kinds_are_listed_apart,
            both_orders_are_by_id,
            a_page_that_ends_the_listing_says_so,
            pages_continue_after_their_cursor,
            a_cursor_outlives_its_record,
            several_terms_are_all_required,
            an_unknown_term_lists_nothing,
            a_changed_term_is_listed_anew,
            created_bounds_are_kept,
            expires_bounds_leave_out_what_never_expires,
            terms_and_ranges_are_all_required,
            extreme_ids_are_listed,
            pages_meet_every_untouched_record_once,
        ]);
        $crate::store_conformance!(@stamp $make, ids: [
            ids_start_at_one_and_grow,
            kinds_count_apart,
            racing_callers_get_different_ids,
            ids_go_on_after_what_was_brought,
            ids_never_go_back,
        ]);
        $crate::store_conformance!(@stamp $make, operations: [
            a_committed_operation_is_told,
            a_resolved_operation_is_given_up,
            a_repeated_operation_changes_nothing,
            a_refused_operation_did_not_happen,
            operations_are_told_apart,
            a_racing_commit_is_told_truly,
            resolving_tells_no_subscriber,
        ]);
        $crate::store_conformance!(@stamp $make, snapshot: [
            an_empty_store_is_an_empty_snapshot,
            a_snapshot_holds_everything,
            a_leased_job_is_in_the_snapshot,
            a_snapshot_stays_at_its_instant,
            a_snapshot_holds_no_half_set,
            a_dropped_snapshot_is_harmless,
        ]);
        $crate::store_conformance!(@stamp $make, log: [
            an_appended_batch_is_read_back,
            a_repeated_batch_is_passed_over,
            positions_grow_in_the_order_of_appending,
            log_pages_continue_after_their_cursor,
            a_server_reads_its_own_batches,
            batches_are_found_by_all_terms,
            batches_are_found_by_overlap,
            racing_servers_lose_no_batch,
            a_sequence_beyond_i64_is_refused,
        ]);
        $crate::store_conformance!(@stamp $make, queue: [
            jobs_are_claimed_when_due,
            the_longest_due_is_claimed_first,
            only_the_asked_topics_are_claimed,
            a_claim_takes_at_most_its_limit,
            a_lease_excludes_others,
            an_expired_lease_is_taken_over_with_a_higher_generation,
            an_old_lease_settles_nothing,
            an_old_lease_is_not_extended,
            an_extended_lease_excludes_others_for_longer,
            a_done_job_is_gone,
            a_job_to_be_retried_is_due_again,
            a_lease_is_settled_once,
            a_held_lease_goes_on,
            a_put_loses_the_lease,
            a_remove_loses_the_lease,
            a_generation_is_never_repeated,
            a_failing_set_leaves_the_lease,
            a_lost_lease_refuses_the_set,
            jobs_are_committed_with_records,
            removing_an_absent_job_is_accepted,
            a_job_twice_in_a_set_is_refused,
            jobs_are_listed_by_due_time,
            a_job_keeps_its_body_and_extreme_subject,
            a_lease_may_last_for_ever,
            racing_claimers_lease_each_job_once,
        ]);
        $crate::store_conformance!(@stamp $make, changes: [
            changes_come_in_the_order_of_commits,
            a_failing_set_changes_nothing,
            every_subscriber_learns_of_a_change,
            a_change_can_be_read_when_it_is_told,
            a_subscriber_that_lags_is_told_to_forget,
            the_store_answers_a_probe,
            a_closed_store_refuses_and_ends_its_streams,
        ]);
    };
    (@stamp $make:expr, $module:ident: [$($case:ident,)+]) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let fixture = ($make)().await;
            let store = $crate::testing::store::Fixture::store(&fixture).await;
            $crate::testing::store::$module::$case(store).await;
        }
    )+};
    (@restart $make:expr, $module:ident: [$($case:ident,)+]) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let fixture = ($make)().await;
            $crate::testing::store::$module::$case(&fixture).await;
        }
    )+};
}

/// The kind most cases use.
const KIND: Kind = Kind(7);

fn key(id: u64) -> RecordKey {
    RecordKey::new(KIND, id)
}

/// A record at revision 1 without terms.
fn record(id: u64) -> Record {
    Record {
        key: key(id),
        revision: 1,
        body: format!("body of {id}").into_bytes(),
        terms: Vec::new(),
        created_at: at(0),
        expires_at: None,
    }
}

/// The record as an update from `revision - 1` would make it.
fn revised(id: u64, revision: u64) -> Record {
    Record {
        revision,
        body: format!("body of {id} at {revision}").into_bytes(),
        ..record(id)
    }
}

impl Record {
    fn plain(mut self, term: Term) -> Self {
        let unique = false;
        self.terms.push(IndexTerm { term, unique });
        self
    }

    fn unique(mut self, term: Term) -> Self {
        let unique = true;
        self.terms.push(IndexTerm { term, unique });
        self
    }
}

fn term(byte: u8) -> Term {
    Term([byte; 16])
}

/// The term of a number below 256.
fn numbered(number: u64) -> Term {
    term(number.to_le_bytes()[0])
}

/// An instant some seconds after, or before, a fixed one.
fn at(seconds: i64) -> Timestamp {
    from_micros((1_800_000_000 + seconds) * 1_000_000).expect("an instant of our time")
}

async fn create(store: &dyn Store, record: Record) {
    let key = record.key;
    let result = store.commit(ChangeSet::default().create(record)).await;
    result.unwrap_or_else(|error| panic!("{key} is created: {error}"));
}

async fn commit(store: &dyn Store, set: ChangeSet) {
    store.commit(set).await.expect("the set is committed");
}

async fn find(store: &dyn Store, id: u64) -> Option<Record> {
    store.find(key(id)).await.expect("the store answers")
}

async fn find_by(store: &dyn Store, term: Term) -> Option<Record> {
    store.find_by(KIND, &term).await.expect("the store answers")
}

/// Asserts the variant, and shows the result when it is another.
macro_rules! refused {
    ($result:expr, $variant:ident $fields:tt $(if $guard:expr)?) => {
        match $result {
            Err($crate::store::StoreError::$variant $fields) $(if $guard)? => {}
            other => panic!("{} was expected, not {other:?}", stringify!($variant)),
        }
    };
}
use refused;

/// How many of the results are `Ok`; all others must be refusals that `expected` accepts.
fn winners(results: &[Result<(), StoreError>], expected: impl Fn(&StoreError) -> bool) -> usize {
    let refusals = results.iter().filter_map(|result| result.as_ref().err());
    for error in refusals {
        assert!(expected(error), "an unexpected refusal: {error:?}");
    }
    results.iter().filter(|result| result.is_ok()).count()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_is_stamped() {
        let list = include_str!("mod.rs");
        let sources = [
            include_str!("changes.rs"),
            include_str!("ids.rs"),
            include_str!("listing.rs"),
            include_str!("log.rs"),
            include_str!("operations.rs"),
            include_str!("queue.rs"),
            include_str!("records.rs"),
            include_str!("restart.rs"),
            include_str!("snapshot.rs"),
            include_str!("terms.rs"),
        ];
        let cases = sources.iter().flat_map(|source| {
            let starts = source.split("\npub async fn ").skip(1);
            starts.filter_map(|start| start.split('(').next())
        });
        let mut count = 0;
        for case in cases {
            assert!(
                list.contains(&format!(" {case},\n")),
                "{case} is not stamped"
            );
            count += 1;
        }
        assert!(count > 45);
    }
}
