//! Provisioning over a store: no account outlives its lease, wherever its maker dies.
//!
//! The cases are ordinary functions over a store, so that every backend can run them.

mod client;
mod crash;
mod end;
mod profile;
mod timer;
mod world;

pub use self::client::{
    a_client_has_its_secret_provisioned, a_client_uses_no_profile_of_others,
    a_container_has_accounts_until_it_gives_them_back,
    a_new_authorization_is_provisioned_automatically, a_stopped_authorization_gets_no_new_account,
    an_ended_authorization_loses_its_accounts,
    no_more_accounts_live_than_an_authorization_may_have,
};
pub use self::crash::{
    a_thousand_leases_and_random_crashes_leave_nothing, every_crash_leaves_no_account,
};
pub use self::end::{
    a_lease_ends_at_its_time, a_removal_that_is_refused_calls_an_operator,
    leftovers_are_found_recorded_and_removed, what_cannot_be_reached_is_removed_later,
    what_is_gone_already_counts_as_removed,
};
pub use self::profile::{
    a_profile_is_written_and_refused_by_its_fields, a_profile_of_a_disabled_target_is_refused,
    what_is_in_use_is_not_deleted,
};
pub use self::timer::{
    a_failed_provision_leaves_what_is_served, an_edit_and_a_restore_keep_the_account,
    an_overlap_ends_the_account_of_before, the_ephemeral_timer_serves_new_accounts,
};
pub use self::world::{Grounds, all_leases};

/// Stamps one test for each case; `$make` is an asynchronous function that gives an empty
/// [`Store`](crate::store::Store) and what is to be kept as long as it is used.
#[macro_export]
macro_rules! provision_conformance {
    ($make:expr) => {
        $crate::provision_conformance!(@stamp $make, [
            a_client_has_its_secret_provisioned,
            a_client_uses_no_profile_of_others,
            a_container_has_accounts_until_it_gives_them_back,
            a_new_authorization_is_provisioned_automatically,
            a_stopped_authorization_gets_no_new_account,
            an_ended_authorization_loses_its_accounts,
            no_more_accounts_live_than_an_authorization_may_have,
            every_crash_leaves_no_account,
            a_thousand_leases_and_random_crashes_leave_nothing,
            a_lease_ends_at_its_time,
            a_removal_that_is_refused_calls_an_operator,
            leftovers_are_found_recorded_and_removed,
            what_cannot_be_reached_is_removed_later,
            what_is_gone_already_counts_as_removed,
            a_profile_is_written_and_refused_by_its_fields,
            a_profile_of_a_disabled_target_is_refused,
            what_is_in_use_is_not_deleted,
            a_failed_provision_leaves_what_is_served,
            an_edit_and_a_restore_keep_the_account,
            an_overlap_ends_the_account_of_before,
            the_ephemeral_timer_serves_new_accounts,
        ]);
    };
    (@stamp $make:expr, [$($case:ident,)+]) => {$(
        #[tokio::test]
        async fn $case() {
            let (store, _kept) = ($make)().await;
            $crate::testing::provision::$case(store).await;
        }
    )+};
}
