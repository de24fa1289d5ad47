//! Targets, and passwords of accounts that exist.

use super::{ProviderFixture, is_refused, is_unavailable, logs_in, with_wrong_admin};
use crate::provider::Options;
use crate::secret::SecretText;

const FIRST: &str = "First-password-of-many-1";
const SECOND: &str = "Second-password-of-many-2";

/// The test of a target that is up finds that everything works.
pub async fn the_target_is_tested(fixture: &dyn ProviderFixture) {
    let report = fixture.provider().test(&fixture.target()).await;
    let report = report.expect("the target is up");
    assert!(!report.checks.is_empty(), "something was looked at");
    assert!(report.works(), "{report:?}");
}

/// An admin credential that the target refuses shows in its test, and changes nothing.
pub async fn a_wrong_admin_credential_is_told(fixture: &dyn ProviderFixture) {
    let provider = fixture.provider();
    let target = with_wrong_admin(fixture.target());
    match provider.test(&target).await {
        Ok(report) => assert!(!report.works(), "{report:?}"),
        error => is_refused(&error),
    }
    if let Some(passwords) = provider.passwords() {
        let (first, second) = (SecretText::new(FIRST), SecretText::new(SECOND));
        fixture.make_account("conformance_a", &first).await;
        is_refused(
            &passwords
                .change_password(&target, "conformance_a", &second)
                .await,
        );
        assert!(logs_in(fixture, "conformance_a", &first).await);
    }
}

/// What nobody listens for is unavailable, whatever is asked.
pub async fn what_is_not_there_is_unavailable(fixture: &dyn ProviderFixture) {
    let provider = fixture.provider();
    let nowhere = fixture.nowhere();
    is_unavailable(&provider.test(&nowhere).await);
    if let Some(passwords) = provider.passwords() {
        let password = SecretText::new(FIRST);
        is_unavailable(&passwords.log_in(&nowhere, "conformance_a", &password).await);
        is_unavailable(
            &passwords
                .change_password(&nowhere, "conformance_a", &password)
                .await,
        );
    }
    if let Some(keys) = provider.keys() {
        is_unavailable(&keys.common().list_keys(&nowhere, "conformance_a").await);
    }
    if let Some(accounts) = provider.accounts() {
        is_unavailable(&accounts.list_accounts(&nowhere, "conformance_").await);
        is_unavailable(&accounts.drop_account(&nowhere, "conformance_a", None).await);
    }
}

/// An address of nothing is found wrong before anything is connected to.
pub async fn an_empty_address_is_a_problem(fixture: &dyn ProviderFixture) {
    let problems = fixture.provider().check("", &Options::new());
    assert!(
        problems.iter().any(|problem| problem.field == "address"),
        "{problems:?}"
    );
    let target = fixture.target();
    let problems = fixture.provider().check(&target.address, &target.options);
    assert_eq!(problems, [], "the address of the target under test is good");
}

/// The new password logs in from now on and the old one no longer.
pub async fn a_changed_password_logs_in_and_the_old_one_does_not(fixture: &dyn ProviderFixture) {
    let provider = fixture.provider();
    let Some(passwords) = provider.passwords() else {
        return;
    };
    let (first, second) = (SecretText::new(FIRST), SecretText::new(SECOND));
    fixture.make_account("conformance_a", &first).await;
    fixture.make_account("conformance_b", &first).await;
    assert!(logs_in(fixture, "conformance_a", &first).await);
    assert!(!logs_in(fixture, "conformance_a", &second).await);
    let target = fixture.target();
    let changed = passwords.change_password(&target, "conformance_a", &second);
    changed.await.expect("changed");
    assert!(logs_in(fixture, "conformance_a", &second).await);
    assert!(!logs_in(fixture, "conformance_a", &first).await);
    assert!(
        logs_in(fixture, "conformance_b", &first).await,
        "nobody else's is changed"
    );
}

/// The same change again is no error and changes nothing.
pub async fn a_change_can_be_repeated(fixture: &dyn ProviderFixture) {
    let provider = fixture.provider();
    let Some(passwords) = provider.passwords() else {
        return;
    };
    let (first, second) = (SecretText::new(FIRST), SecretText::new(SECOND));
    fixture.make_account("conformance_a", &first).await;
    for _ in 0..3 {
        let target = fixture.target();
        let changed = passwords.change_password(&target, "conformance_a", &second);
        changed.await.expect("changed");
    }
    assert!(logs_in(fixture, "conformance_a", &second).await);
}

/// Nobody is made by a change of a password.
pub async fn an_absent_account_is_refused(fixture: &dyn ProviderFixture) {
    let provider = fixture.provider();
    let Some(passwords) = provider.passwords() else {
        return;
    };
    let first = SecretText::new(FIRST);
    is_refused(
        &passwords
            .change_password(&fixture.target(), "conformance_nobody", &first)
            .await,
    );
    assert!(!logs_in(fixture, "conformance_nobody", &first).await);
}

/// A password is a value, whatever is in it.
pub async fn every_printable_character_is_a_character(fixture: &dyn ProviderFixture) {
    let provider = fixture.provider();
    let Some(passwords) = provider.passwords() else {
        return;
    };
    let first = SecretText::new(FIRST);
    fixture.make_account("conformance_a", &first).await;
    for odd in [
        r#"Aa1'"`;--\n%s$$#<>|&{}[]()"#,
        r"Aa1\'; DROP USER conformance_a; --",
        "Aa1!@#$%^&*_+-=~:,.?/ x",
    ] {
        let odd = SecretText::new(odd.replace(' ', "_"));
        let target = fixture.target();
        let changed = passwords.change_password(&target, "conformance_a", &odd);
        changed.await.expect("changed");
        assert!(
            logs_in(fixture, "conformance_a", &odd).await,
            "{}",
            odd.expose()
        );
        assert!(!logs_in(fixture, "conformance_a", &first).await);
    }
}

/// The name of an account is a name, whatever is in it.
pub async fn an_odd_account_name_reaches_no_other_account(fixture: &dyn ProviderFixture) {
    let provider = fixture.provider();
    let Some(passwords) = provider.passwords() else {
        return;
    };
    let (first, second) = (SecretText::new(FIRST), SecretText::new(SECOND));
    fixture.make_account("conformance_a", &first).await;
    for odd in [
        r#"conformance_a" --"#,
        "conformance_a' OR '1'='1",
        "*",
        "%",
        "conformance_a\n",
        "../conformance_a",
        "conformance_a;conformance_a",
    ] {
        is_refused(
            &passwords
                .change_password(&fixture.target(), odd, &second)
                .await,
        );
        assert!(logs_in(fixture, "conformance_a", &first).await, "{odd}");
    }
}
