//! Accounts that live for a while.

use super::{ProviderFixture, logs_in};
use crate::provider::{NewAccount, Provider};
use crate::secret::SecretText;

const FIRST: &str = "First-password-of-many-1";
const SECOND: &str = "Second-password-of-many-2";

async fn create(fixture: &dyn ProviderFixture, name: &str, password: &SecretText) {
    let provider = fixture.provider();
    let accounts = provider.accounts().expect("asked only of those that have");
    let account = NewAccount {
        name,
        password: provider.passwords().map(|_| password),
        roles: &fixture.roles(),
        expires_at: None,
        template: None,
    };
    let made = accounts.create_account(&fixture.target(), &account).await;
    made.expect("made");
}

async fn listed(
    fixture: &dyn ProviderFixture,
    provider: &dyn Provider,
    prefix: &str,
) -> Vec<String> {
    let accounts = provider.accounts().expect("asked only of those that have");
    let names = accounts.list_accounts(&fixture.target(), prefix).await;
    let mut names = names.expect("listed");
    names.sort_unstable();
    names
}

/// A made account logs in; a dropped one does not and is not listed.
pub async fn an_account_lives_until_it_is_dropped(fixture: &dyn ProviderFixture) {
    let provider = fixture.provider();
    let Some(accounts) = provider.accounts() else {
        return;
    };
    let password = SecretText::new(FIRST);
    create(fixture, "conformance_e1", &password).await;
    if provider.passwords().is_some() {
        assert!(logs_in(fixture, "conformance_e1", &password).await);
    }
    assert_eq!(
        listed(fixture, &*provider, "conformance_e").await,
        ["conformance_e1"]
    );
    let dropped = accounts
        .drop_account(&fixture.target(), "conformance_e1", None)
        .await;
    dropped.expect("dropped");
    if provider.passwords().is_some() {
        assert!(!logs_in(fixture, "conformance_e1", &password).await);
    }
    assert!(
        listed(fixture, &*provider, "conformance_e")
            .await
            .is_empty()
    );
}

/// After a lost answer the account is made again, and has the password of the last call.
pub async fn an_account_is_made_again_as_asked(fixture: &dyn ProviderFixture) {
    let provider = fixture.provider();
    if provider.accounts().is_none() {
        return;
    }
    let (first, second) = (SecretText::new(FIRST), SecretText::new(SECOND));
    create(fixture, "conformance_e1", &first).await;
    create(fixture, "conformance_e1", &second).await;
    assert_eq!(
        listed(fixture, &*provider, "conformance_e").await,
        ["conformance_e1"]
    );
    if provider.passwords().is_some() {
        assert!(logs_in(fixture, "conformance_e1", &second).await);
        assert!(!logs_in(fixture, "conformance_e1", &first).await);
    }
}

/// Dropping is done when there is nothing left to drop.
pub async fn dropping_what_is_gone_is_done(fixture: &dyn ProviderFixture) {
    let provider = fixture.provider();
    let Some(accounts) = provider.accounts() else {
        return;
    };
    create(fixture, "conformance_e1", &SecretText::new(FIRST)).await;
    for _ in 0..3 {
        let dropped = accounts
            .drop_account(&fixture.target(), "conformance_e1", None)
            .await;
        dropped.expect("dropped");
    }
}

/// Only what begins with the prefix is listed, and its characters stand for themselves.
pub async fn accounts_are_listed_by_prefix(fixture: &dyn ProviderFixture) {
    let provider = fixture.provider();
    if provider.accounts().is_none() {
        return;
    }
    let password = SecretText::new(FIRST);
    for name in ["conformance_e1", "conformance_e2", "conformanceXe3"] {
        create(fixture, name, &password).await;
    }
    assert_eq!(
        listed(fixture, &*provider, "conformance_e").await,
        ["conformance_e1", "conformance_e2"]
    );
    assert!(listed(fixture, &*provider, "conformance%").await.is_empty());
}
