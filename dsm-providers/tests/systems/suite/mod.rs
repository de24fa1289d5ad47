//! Rotations on a real system, through the vault: nobody is locked out.
//!
//! # How a system is added
//!
//! Write a fixture that starts the server, implement
//! [`ProviderFixture`](dsm_core::testing::provider::ProviderFixture) and [`System`] for it, and stamp
//! both suites over an asynchronous function that makes one:
//!
//! ```text
//! dsm_core::provider_conformance!(MyServer::fixture);
//! crate::suite::rotations!(MyServer::fixture);
//! ```
//!
//! More macros stamp what only some systems have: [`changes_in_place`], [`refused_passwords`] and
//! [`accounts_for_a_while`]. A system without one says why beside its own.
//!
//! The fixture of each test finds none of the accounts of the test before; tests of one system run
//! one after the other, for which a fixture holds a lock. The accounts of these tests begin with
//! `rot_`.
//!
//! The vault reaches the system through a proxy that fails on demand; what the tests find out by
//! themselves goes past it. `DSM_CYCLES` says how many rotations the random test does on each
//! system, `DSM_LEASES` how many leases; both are a few unless said.

#![allow(
    clippy::print_stdout,
    reason = "what was measured and what a system said is worth more than that a test passed"
)]

mod crash;
mod faults;
mod leases;
mod mishap;
mod random;
mod served;
mod world;

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use dsm_core::provider::{Key, Target};
use dsm_core::testing::provider::ProviderFixture;
pub(crate) use dsm_core::testing::rotation::Style;
use dsm_test_servers::proxy::Proxy;

pub(crate) use self::crash::every_crash_is_survived;
pub(crate) use self::faults::{
    a_change_whose_answer_is_lost_is_found, a_slow_system_is_waited_for,
    a_system_that_is_down_is_waited_for, an_admin_without_rights_ends_at_an_operator,
    passwords_that_a_policy_refuses_end_at_an_operator,
};
pub(crate) use self::leases::leases_and_random_failures_leave_no_account;
pub(crate) use self::random::random_failures_lock_nobody_out;
pub(crate) use self::served::{
    a_reader_never_holds_what_does_not_log_in, a_timer_renews_and_the_overlap_is_kept,
    the_window_of_a_change_in_place_is_measured,
};
use self::world::World;

/// A system on which credentials are rotated.
#[async_trait]
pub(crate) trait System: ProviderFixture {
    /// Under which name [`dsm_providers::all`] has its provider.
    fn name(&self) -> &'static str;

    /// How its credentials can be rotated.
    fn styles(&self) -> &'static [Style];

    /// Where its server listens.
    fn server(&self) -> SocketAddr;

    /// The target of [`ProviderFixture::target`], reached at another address.
    fn at(&self, address: SocketAddr) -> Target;

    /// What a message has in it that changes a credential of this style, and no other message.
    fn change_mark(&self, style: Style) -> &'static str;

    /// The answer to the next message with `mark` in it that is sent by the proxy is lost, once.
    fn forget_answer(&self, proxy: &Proxy, mark: &str) {
        // Where the way to the proxy is encrypted, it does not see a message.
        proxy.forget_answer(mark.as_bytes());
    }

    /// Whether no such message has come yet.
    fn would_forget(&self, proxy: &Proxy) -> bool {
        proxy.would_forget()
    }

    /// What a message has in it that makes an account.
    fn creation_mark(&self) -> &'static str {
        panic!("a system on which accounts live for a while knows how they are made")
    }

    /// What a message has in it that removes an account.
    fn removal_mark(&self) -> &'static str {
        panic!("a system on which accounts live for a while knows how they are removed")
    }

    /// Makes a key of an account, past the provider.
    async fn make_key(&self, account: &str) -> Key {
        panic!("{account}: a system whose styles have keys makes them")
    }

    /// Takes the rights of the admin, past the provider, and gives them back. Whether it can log in
    /// meanwhile is the system's affair.
    async fn set_rights(&self, has: bool);

    /// Refuses every new password from now on, or no longer.
    async fn refuse_passwords(&self, refuses: bool) {
        panic!("{refuses}: a system that has a policy of passwords sets it")
    }

    /// The accounts of these tests that are there.
    async fn accounts(&self) -> Vec<String> {
        let provider = self.provider();
        let accounts = provider.accounts().expect("asked, or found otherwise");
        let listed = accounts.list_accounts(&self.target(), "rot_").await;
        listed.expect("listed")
    }

    /// How long a worker may take to give up on a system that does not answer: a call of ten seconds
    /// or what is left of it, and what is done about it.
    fn patience(&self) -> Duration {
        Duration::from_secs(11)
    }

    /// How long a worker takes for what it does at a time, mostly: what goes wrong in the random test
    /// does so within that.
    fn round(&self) -> Duration {
        Duration::from_millis(80)
    }

    /// How long the network and the system take at most to end what a dead worker sent. A lease would
    /// take longer, if the clock were not moved by hand.
    fn settles(&self) -> Duration {
        Duration::from_millis(60)
    }

    /// How many rotations the random test does for each one that `DSM_CYCLES` counts.
    fn weight(&self) -> usize {
        1
    }
}

/// Stamps one test for each case; `$make` is an asynchronous function that gives a fresh [`System`].
/// `if $there` in front of it says whether there is what it needs: without it nothing is done.
macro_rules! rotations {
    (if $there:expr, $make:expr) => {
        crate::suite::rotations!(@stamp $there, $make, [
            a_timer_renews_and_the_overlap_is_kept,
            a_reader_never_holds_what_does_not_log_in,
            every_crash_is_survived,
            random_failures_lock_nobody_out,
            a_system_that_is_down_is_waited_for,
            a_slow_system_is_waited_for,
            a_change_whose_answer_is_lost_is_found,
            an_admin_without_rights_ends_at_an_operator,
        ]);
    };
    (@stamp $there:expr, $make:expr, [$($case:ident,)+]) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            if !$there {
                return;
            }
            let system = ($make)().await;
            crate::suite::$case(&system).await;
        }
    )+};
    ($make:expr) => {
        crate::suite::rotations!(if true, $make);
    };
}
pub(crate) use rotations;

/// Stamps what holds for systems of [`Style::InPlace`], in the same way.
macro_rules! changes_in_place {
    (if $there:expr, $make:expr) => {
        crate::suite::rotations!(@stamp $there, $make, [
            the_window_of_a_change_in_place_is_measured,
        ]);
    };
    ($make:expr) => {
        crate::suite::changes_in_place!(if true, $make);
    };
}
pub(crate) use changes_in_place;

/// Stamps what holds for systems on which accounts live for a while, in the same way.
macro_rules! accounts_for_a_while {
    (if $there:expr, $make:expr) => {
        crate::suite::rotations!(@stamp $there, $make, [
            leases_and_random_failures_leave_no_account,
        ]);
    };
    ($make:expr) => {
        crate::suite::accounts_for_a_while!(if true, $make);
    };
}
pub(crate) use accounts_for_a_while;

/// Stamps what holds for systems that can refuse a password by a policy, in the same way.
macro_rules! refused_passwords {
    ($make:expr) => {
        crate::suite::rotations!(@stamp true, $make, [
            passwords_that_a_policy_refuses_end_at_an_operator,
        ]);
    };
}
pub(crate) use refused_passwords;
