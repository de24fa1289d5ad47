//! The conformance suite of providers, and a target in memory that fails when told.
//!
//! A case for something that a provider cannot do has nothing to check and passes.

mod accounts;
mod fake;
mod keys;
mod passwords;

use std::sync::Arc;

use async_trait::async_trait;

pub use self::accounts::{
    accounts_are_listed_by_prefix, an_account_is_made_again_as_asked,
    an_account_lives_until_it_is_dropped, dropping_what_is_gone_is_done,
};
pub use self::fake::{FakeCall, FakeTarget, Fault};
pub use self::keys::{
    a_deactivated_key_does_not_log_in, a_deleted_key_is_gone, a_key_installed_twice_is_one,
    a_new_key_logs_in_beside_the_old_one, deleting_what_is_gone_is_done,
};
pub use self::passwords::{
    a_change_can_be_repeated, a_changed_password_logs_in_and_the_old_one_does_not,
    a_wrong_admin_credential_is_told, an_absent_account_is_refused, an_empty_address_is_a_problem,
    an_odd_account_name_reaches_no_other_account, every_printable_character_is_a_character,
    the_target_is_tested, what_is_not_there_is_unavailable,
};
use crate::provider::{LogIn, Login, Proof, Provider, ProviderError, Target};
use crate::secret::SecretText;

/// A target for the suite.
#[async_trait]
pub trait ProviderFixture: Send + Sync {
    /// The provider under test.
    fn provider(&self) -> Arc<dyn Provider>;

    /// A target that is up, with an admin credential that may do everything the provider does.
    fn target(&self) -> Target;

    /// A target at an address where nothing listens.
    fn nowhere(&self) -> Target;

    /// Makes an account, with a password where accounts have one, past the provider.
    async fn make_account(&self, name: &str, password: &SecretText);

    /// Roles that an account can be given; none unless said.
    fn roles(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Stamps one test for each case of the suite; `$make` is an asynchronous function that gives a
/// fresh [`ProviderFixture`](crate::testing::provider::ProviderFixture). `if $there` in front of it says
/// whether there is what a fixture needs: without it nothing is done.
#[macro_export]
macro_rules! provider_conformance {
    (if $there:expr, $make:expr) => {
        $crate::provider_conformance!(@stamp $there, $make, [
            the_target_is_tested,
            a_wrong_admin_credential_is_told,
            what_is_not_there_is_unavailable,
            an_empty_address_is_a_problem,
            a_changed_password_logs_in_and_the_old_one_does_not,
            a_change_can_be_repeated,
            an_absent_account_is_refused,
            every_printable_character_is_a_character,
            an_odd_account_name_reaches_no_other_account,
            a_new_key_logs_in_beside_the_old_one,
            a_deactivated_key_does_not_log_in,
            a_deleted_key_is_gone,
            deleting_what_is_gone_is_done,
            a_key_installed_twice_is_one,
            an_account_lives_until_it_is_dropped,
            an_account_is_made_again_as_asked,
            dropping_what_is_gone_is_done,
            accounts_are_listed_by_prefix,
        ]);
    };
    (@stamp $there:expr, $make:expr, [$($case:ident,)+]) => {$(
        #[tokio::test]
        async fn $case() {
            if !$there {
                return;
            }
            let fixture = ($make)().await;
            $crate::testing::provider::$case(&fixture).await;
        }
    )+};
    ($make:expr) => {
        $crate::provider_conformance!(if true, $make);
    };
}

/// The target with an admin credential that proves nothing.
fn with_wrong_admin(target: Target) -> Target {
    let admin = Login {
        user: target.admin.user,
        proof: Proof::Password("no-password-of-anybody-1".into()),
    };
    Target { admin, ..target }
}

async fn logs_in(fixture: &dyn ProviderFixture, account: &str, password: &SecretText) -> bool {
    let provider = fixture.provider();
    let passwords = provider.passwords().expect("asked only of those that have");
    let answer = passwords.log_in(&fixture.target(), account, password).await;
    answer.expect("the target answers") == LogIn::Accepted
}

fn is_unavailable<T: std::fmt::Debug>(result: &Result<T, ProviderError>) {
    assert!(
        matches!(result, Err(ProviderError::Unavailable(_))),
        "unavailable was expected, not {result:?}"
    );
}

fn is_refused<T: std::fmt::Debug>(result: &Result<T, ProviderError>) {
    assert!(
        matches!(result, Err(ProviderError::Refused(_))),
        "a refusal was expected, not {result:?}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    mod passwords_and_issued_keys {
        crate::provider_conformance!(|| async { super::Over(super::FakeTarget::shared()) });
    }

    mod installed_keys {
        crate::provider_conformance!(|| async {
            super::Over(std::sync::Arc::new(
                super::FakeTarget::default().installing_keys(),
            ))
        });
    }

    struct Over(Arc<FakeTarget>);

    #[async_trait]
    impl ProviderFixture for Over {
        fn provider(&self) -> Arc<dyn Provider> {
            self.0.clone()
        }

        fn target(&self) -> Target {
            FakeTarget::target()
        }

        fn nowhere(&self) -> Target {
            Target {
                address: FakeTarget::NOWHERE.to_owned(),
                ..FakeTarget::target()
            }
        }

        async fn make_account(&self, name: &str, password: &SecretText) {
            self.0.add_account(name, password.expose());
        }

        fn roles(&self) -> Vec<String> {
            vec!["reader".to_owned()]
        }
    }

    #[test]
    fn every_case_is_stamped() {
        let list = include_str!("mod.rs");
        let sources = [
            include_str!("accounts.rs"),
            include_str!("keys.rs"),
            include_str!("passwords.rs"),
        ];
        let mut count = 0;
        for source in sources {
            for case in source.split("\npub async fn ").skip(1) {
                let name = case.split('(').next().expect("a name");
                let stamped = format!("            {name},\n");
                assert!(list.contains(&stamped), "{name} is not stamped");
                count += 1;
            }
        }
        assert_eq!(count, 18);
    }
}
