//! Keys of which an account can have two.

use super::ProviderFixture;
use crate::entropy::OsEntropy;
use crate::provider::{Key, Keys, LogIn};
use crate::secret::SecretText;

const ACCOUNT: &str = "conformance_a";

async fn account(fixture: &dyn ProviderFixture) {
    let password = SecretText::new("First-password-of-many-1");
    fixture.make_account(ACCOUNT, &password).await;
}

async fn new_key(fixture: &dyn ProviderFixture, keys: Keys<'_>) -> Key {
    let target = fixture.target();
    match keys {
        Keys::Installed(keys) => {
            let key = keys.draft_key(ACCOUNT, &OsEntropy);
            let installed = keys.install_key(&target, ACCOUNT, &key).await;
            installed.expect("installed");
            key
        }
        Keys::Issued(keys) => keys.issue_key(&target, ACCOUNT).await.expect("issued"),
    }
}

async fn logs_in(fixture: &dyn ProviderFixture, keys: Keys<'_>, key: &Key) -> bool {
    let answer = keys.common().log_in(&fixture.target(), ACCOUNT, key).await;
    answer.expect("the target answers") == LogIn::Accepted
}

/// The ids of all keys, and of those that log in.
async fn ids(fixture: &dyn ProviderFixture, keys: Keys<'_>) -> (Vec<String>, Vec<String>) {
    let listed = keys.common().list_keys(&fixture.target(), ACCOUNT).await;
    let listed = listed.expect("listed");
    let active = listed.iter().filter(|key| key.active);
    let active = active.map(|key| key.id.clone()).collect();
    (listed.into_iter().map(|key| key.id).collect(), active)
}

/// Two keys are good at a time, and both are listed.
pub async fn a_new_key_logs_in_beside_the_old_one(fixture: &dyn ProviderFixture) {
    let provider = fixture.provider();
    let Some(keys) = provider.keys() else { return };
    account(fixture).await;
    let old = new_key(fixture, keys).await;
    let new = new_key(fixture, keys).await;
    assert_ne!(old.id, new.id);
    for key in [&old, &new] {
        assert!(logs_in(fixture, keys, key).await, "{}", key.id);
        assert!(ids(fixture, keys).await.1.contains(&key.id));
    }
    let forged = Key {
        id: new.id.clone(),
        secret: old.secret,
        public: None,
    };
    assert!(
        !logs_in(fixture, keys, &forged).await,
        "an id proves nothing"
    );
}

/// A deactivated key is refused, the other one is not, and once is as good as twice.
pub async fn a_deactivated_key_does_not_log_in(fixture: &dyn ProviderFixture) {
    let provider = fixture.provider();
    let Some(keys) = provider.keys() else { return };
    account(fixture).await;
    let old = new_key(fixture, keys).await;
    let new = new_key(fixture, keys).await;
    for _ in 0..2 {
        let target = fixture.target();
        let done = keys
            .common()
            .deactivate_key(&target, ACCOUNT, &old.id)
            .await;
        done.expect("deactivated");
    }
    assert!(!logs_in(fixture, keys, &old).await);
    assert!(logs_in(fixture, keys, &new).await);
    assert!(!ids(fixture, keys).await.1.contains(&old.id));
}

/// A deleted key is refused and not listed, and makes room for another.
pub async fn a_deleted_key_is_gone(fixture: &dyn ProviderFixture) {
    let provider = fixture.provider();
    let Some(keys) = provider.keys() else { return };
    account(fixture).await;
    let old = new_key(fixture, keys).await;
    let new = new_key(fixture, keys).await;
    let target = fixture.target();
    let done = keys.common().delete_key(&target, ACCOUNT, &old.id).await;
    done.expect("deleted");
    assert!(!logs_in(fixture, keys, &old).await);
    assert!(!ids(fixture, keys).await.0.contains(&old.id));
    let third = new_key(fixture, keys).await;
    assert!(logs_in(fixture, keys, &third).await && logs_in(fixture, keys, &new).await);
}

/// Deleting is done when there is nothing left to delete.
pub async fn deleting_what_is_gone_is_done(fixture: &dyn ProviderFixture) {
    let provider = fixture.provider();
    let Some(keys) = provider.keys() else { return };
    account(fixture).await;
    let key = new_key(fixture, keys).await;
    let target = fixture.target();
    for _ in 0..2 {
        let done = keys.common().delete_key(&target, ACCOUNT, &key.id).await;
        done.expect("deleted");
        let done = keys
            .common()
            .deactivate_key(&target, ACCOUNT, &key.id)
            .await;
        done.expect("nothing to deactivate");
    }
}

/// A key that was installed before an answer was lost is installed again without harm.
pub async fn a_key_installed_twice_is_one(fixture: &dyn ProviderFixture) {
    let provider = fixture.provider();
    let Some(Keys::Installed(keys)) = provider.keys() else {
        return;
    };
    account(fixture).await;
    let key = keys.draft_key(ACCOUNT, &OsEntropy);
    let nameless = Key {
        id: String::new(),
        secret: key.secret.duplicate(),
        public: key.public.clone(),
    };
    assert_eq!(keys.key_id(&nameless).as_ref(), Some(&key.id));
    for _ in 0..2 {
        let installed = keys.install_key(&fixture.target(), ACCOUNT, &key).await;
        installed.expect("installed");
    }
    let (all, _) = ids(fixture, Keys::Installed(keys)).await;
    assert_eq!(all.iter().filter(|id| **id == key.id).count(), 1);
}
