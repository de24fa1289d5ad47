//! The server program over each store: what applications and operators do, over HTTP, and what
//! administrators do beside it.

#[path = "end_to_end/application.rs"]
mod application;
#[path = "end_to_end/operator.rs"]
mod operator;
#[path = "end_to_end/picture.rs"]
mod picture;
#[path = "end_to_end/program.rs"]
mod program;
#[path = "end_to_end/running_belt.rs"]
mod running_belt;
#[path = "end_to_end/transfer.rs"]
mod transfer;

use application::{
    an_application_registers_another_and_revokes_itself, an_application_works_with_its_secrets,
    writers_of_one_secret_lose_nothing,
};
use operator::{
    an_operator_grants_access_and_takes_it_away, operators_come_and_go,
    versions_are_compared_revealed_and_restored, what_was_done_is_found_in_the_trail,
};
use program::{
    a_secret_survives_a_restart, everything_is_as_it_was_after_a_restart,
    the_key_is_rotated_under_load, the_trail_is_sound_in_the_folder_and_in_the_store,
    who_only_looks_makes_nothing,
};
use running_belt::{
    failures_are_failures_to_these_clients, the_running_belt_goes_from_the_first_call_to_the_last,
};
use transfer::a_backup_under_load_is_restored_into_the_other_stores;

dsm_tests::stamp!([memory] [
    an_application_works_with_its_secrets,
    an_application_registers_another_and_revokes_itself,
    writers_of_one_secret_lose_nothing,
    an_operator_grants_access_and_takes_it_away,
    versions_are_compared_revealed_and_restored,
    what_was_done_is_found_in_the_trail,
    operators_come_and_go,
    the_running_belt_goes_from_the_first_call_to_the_last,
    failures_are_failures_to_these_clients,
]);

dsm_tests::stamp!([sqlite, postgres, redis] [
    an_application_works_with_its_secrets,
    an_application_registers_another_and_revokes_itself,
    writers_of_one_secret_lose_nothing,
    an_operator_grants_access_and_takes_it_away,
    versions_are_compared_revealed_and_restored,
    what_was_done_is_found_in_the_trail,
    operators_come_and_go,
    the_running_belt_goes_from_the_first_call_to_the_last,
    failures_are_failures_to_these_clients,
    a_secret_survives_a_restart,
    everything_is_as_it_was_after_a_restart,
    the_trail_is_sound_in_the_folder_and_in_the_store,
    the_key_is_rotated_under_load,
    a_backup_under_load_is_restored_into_the_other_stores,
    who_only_looks_makes_nothing,
]);
