//! Rotations over a store: nobody is locked out, wherever a worker dies.
//!
//! The cases are ordinary functions over a store, so that every backend can run them.

mod crash;
mod measure;
mod settle;
mod stopped;
mod target;
mod timer;
mod world;

pub use self::crash::{
    a_dead_workers_job_is_taken_over, every_crash_is_survived,
    every_crash_with_installed_keys_is_survived, lost_answers_are_survived,
};
pub use self::measure::{claim_cost, rotations_per_second, schedule_later};
pub use self::settle::{
    a_refused_password_ends_at_an_operator, a_target_that_is_down_is_waited_for,
    an_operator_keeps_the_current_credential, what_nobody_accepts_is_not_thrown_away,
};
pub use self::stopped::{
    a_stale_generation_never_commits, a_stopped_worker_touches_nothing_when_it_goes_on,
};
pub use self::target::{
    a_disabled_target_is_left_alone, a_slow_target_is_given_up_on, a_target_in_use_is_not_deleted,
    an_admin_that_lost_its_rights_ends_at_an_operator, an_item_is_not_replaced_while_it_is_rotated,
    several_items_of_a_secret_are_rotated_each,
};
pub use self::timer::{
    a_leak_cuts_the_overlap_short, a_timer_renews_again_and_again,
    a_timer_turned_on_in_an_overlap_runs, the_old_credential_works_until_the_overlap_is_over,
    two_workers_rotate_each_secret_once,
};
pub use self::world::{Style, World};

/// Stamps one test for each case; `$make` is an asynchronous function that gives an empty
/// [`Store`](crate::store::Store) and what is to be kept as long as it is used.
#[macro_export]
macro_rules! rotation_conformance {
    ($make:expr) => {
        $crate::rotation_conformance!(@stamp $make, [
            every_crash_is_survived,
            every_crash_with_installed_keys_is_survived,
            lost_answers_are_survived,
            a_dead_workers_job_is_taken_over,
            a_stopped_worker_touches_nothing_when_it_goes_on,
            a_stale_generation_never_commits,
            a_target_in_use_is_not_deleted,
            a_disabled_target_is_left_alone,
            an_admin_that_lost_its_rights_ends_at_an_operator,
            an_item_is_not_replaced_while_it_is_rotated,
            several_items_of_a_secret_are_rotated_each,
            a_refused_password_ends_at_an_operator,
            a_target_that_is_down_is_waited_for,
            an_operator_keeps_the_current_credential,
            what_nobody_accepts_is_not_thrown_away,
            the_old_credential_works_until_the_overlap_is_over,
            a_leak_cuts_the_overlap_short,
            a_timer_renews_again_and_again,
            a_timer_turned_on_in_an_overlap_runs,
            two_workers_rotate_each_secret_once,
        ]);
    };
    (@stamp $make:expr, [$($case:ident,)+]) => {$(
        #[tokio::test]
        async fn $case() {
            let (store, _kept) = ($make)().await;
            $crate::testing::rotation::$case(store).await;
        }
    )+};
}
