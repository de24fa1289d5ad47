//! An OpenSSH server and accounts of this machine.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use dsm_core::entropy::OsEntropy;
use dsm_core::provider::{
    Key, Keys, LogIn, Login, NewAccount, Proof, Provider, ProviderError, Target,
};
use dsm_core::secret::SecretText;
use dsm_core::testing::provider::ProviderFixture;
use dsm_providers::ssh::Ssh;
use dsm_test_servers::proxy::Proxy;
use dsm_test_servers::sshd::Sshd;
use tokio::sync::{Mutex, MutexGuard};

use crate::suite::{Style, System};
use crate::{NOWHERE, target};

dsm_core::provider_conformance!(
    if dsm_test_servers::is_there(Sshd::available()),
    Host::fresh
);
crate::suite::rotations!(
    if dsm_test_servers::is_there(Sshd::available()),
    Host::fresh
);
crate::suite::changes_in_place!(
    if dsm_test_servers::is_there(Sshd::available()),
    Host::fresh
);
// No refused passwords: a policy would be one of this machine, and refuse everybody's.
// No leases: accounts of this machine take so long to be made that thirty would take half a minute.

/// Accounts belong to the whole machine.
static TURN: Mutex<()> = Mutex::const_new(());

fn server() -> &'static Sshd {
    static SERVER: OnceLock<Sshd> = OnceLock::new();
    SERVER.get_or_init(|| Sshd::start().expect("the server starts"))
}

/// The machine without the accounts of the test before.
struct Host {
    _turn: MutexGuard<'static, ()>,
}

impl Host {
    async fn fresh() -> Self {
        let turn = TURN.lock().await;
        server().clear().expect("accounts are removed");
        Self { _turn: turn }
    }
}

fn at(address: &str, host_key: &str) -> Target {
    let with_key = Login {
        user: Sshd::ADMIN.to_owned(),
        proof: Proof::PrivateKey {
            key: server().admin_key().into(),
            passphrase: None,
        },
    };
    Target {
        admin: with_key,
        ..target(address, &[("host_key", host_key)], "", "")
    }
}

fn there() -> Target {
    at(&server().address(), server().host_key())
}

#[async_trait]
impl ProviderFixture for Host {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(Ssh)
    }

    fn target(&self) -> Target {
        there()
    }

    fn nowhere(&self) -> Target {
        at(NOWHERE, server().host_key())
    }

    async fn make_account(&self, name: &str, password: &SecretText) {
        let made = server().make_account(name, password.expose());
        made.expect("an account is made");
    }

    fn roles(&self) -> Vec<String> {
        vec!["users".to_owned()]
    }
}

#[async_trait]
impl System for Host {
    fn name(&self) -> &'static str {
        "ssh"
    }

    fn styles(&self) -> &'static [Style] {
        &[Style::InPlace, Style::Pair, Style::Installed]
    }

    fn server(&self) -> SocketAddr {
        server().address().parse().expect("an address")
    }

    fn at(&self, address: SocketAddr) -> Target {
        at(&address.to_string(), server().host_key())
    }

    /// A part of the script that makes the change.
    fn change_mark(&self, style: Style) -> &'static str {
        match style {
            Style::InPlace | Style::Pair => "| chpasswd 2>&1",
            _ => "mv -f -- ",
        }
    }

    fn forget_answer(&self, _: &Proxy, mark: &str) {
        // The proxy sees nothing of an encrypted message; the host runs the script it has in it.
        let planned = server().forget_answer(mark);
        planned.expect("the host will forget");
    }

    fn would_forget(&self, _: &Proxy) -> bool {
        server().would_forget()
    }

    async fn make_key(&self, account: &str) -> Key {
        let key = installed().draft_key(account, &OsEntropy);
        let public = key.public.as_deref().expect("drafted with it");
        server().authorize(account, public).expect("authorized");
        key
    }

    async fn set_rights(&self, has: bool) {
        server().set_admin(has).expect("the admin is changed");
    }

    /// The provider lists only those that it made; these are all that there are.
    async fn accounts(&self) -> Vec<String> {
        server().accounts().expect("accounts")
    }

    /// Every call costs an exchange of keys, and most a process and the hash of a password.
    fn round(&self) -> Duration {
        Duration::from_millis(600)
    }

    /// A script that was begun runs to its end.
    fn settles(&self) -> Duration {
        Duration::from_millis(250)
    }
}

fn installed() -> &'static dyn dsm_core::provider::InstalledKeys {
    match Ssh.keys() {
        Some(Keys::Installed(_)) => &Ssh,
        other => panic!("keys are made here, not {other:?}"),
    }
}

#[tokio::test]
async fn a_host_with_another_key_hears_nothing() {
    if !dsm_test_servers::is_there(Sshd::available()) {
        return;
    }
    let _host = Host::fresh().await;
    let other = installed().draft_key("x", &OsEntropy).public.unwrap();
    let target = at(&server().address(), &other);
    let error = Ssh.test(&target).await.unwrap_err();
    assert!(matches!(error, ProviderError::Unavailable(_)), "{error}");
    assert!(error.message().contains("host_key"), "{error}");
    let fingerprint = Ssh.test(&there()).await;
    assert!(fingerprint.unwrap().works());
}

#[tokio::test]
async fn what_else_is_authorized_stays_as_it_is() {
    if !dsm_test_servers::is_there(Sshd::available()) {
        return;
    }
    let host = Host::fresh().await;
    host.make_account("conformance_a", &"First-password-of-many-1".into())
        .await;
    let folder = "/home/conformance_a/.ssh";
    let file = format!("{folder}/authorized_keys");
    let key = installed().draft_key("conformance_a", &OsEntropy);
    installed()
        .install_key(&there(), "conformance_a", &key)
        .await
        .unwrap();
    let mode = |path: &str| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(folder), mode(&file)), (0o700, 0o600));
    let other = installed().draft_key("other", &OsEntropy);
    let own = format!(
        "# by hand\n\nfrom=\"10.0.0.1\",no-pty {}\nnonsense\n",
        other.public.as_deref().unwrap()
    );
    let before = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{own}{before}")).unwrap();
    let listed = installed()
        .list_keys(&there(), "conformance_a")
        .await
        .unwrap();
    let ids: Vec<&str> = listed.iter().map(|key| key.id.as_str()).collect();
    assert_eq!(ids, [other.id.as_str(), key.id.as_str()]);
    installed()
        .delete_key(&there(), "conformance_a", &key.id)
        .await
        .unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), own);
    let left: Vec<_> = fs::read_dir(folder).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test]
async fn a_file_that_is_a_link_is_left_alone() {
    if !dsm_test_servers::is_there(Sshd::available()) {
        return;
    }
    let host = Host::fresh().await;
    host.make_account("conformance_a", &"First-password-of-many-1".into())
        .await;
    let key = installed().draft_key("conformance_a", &OsEntropy);
    installed()
        .install_key(&there(), "conformance_a", &key)
        .await
        .unwrap();
    let file = "/home/conformance_a/.ssh/authorized_keys";
    fs::remove_file(file).unwrap();
    std::os::unix::fs::symlink("/etc/shadow", file).unwrap();
    let installed = installed()
        .install_key(&there(), "conformance_a", &key)
        .await;
    assert!(
        matches!(installed, Err(ProviderError::Refused(_))),
        "{installed:?}"
    );
    assert!(fs::symlink_metadata(file).unwrap().is_symlink());
    // What the account itself may not read, nobody is told on its behalf.
    let listed = Ssh
        .keys()
        .unwrap()
        .common()
        .list_keys(&there(), "conformance_a")
        .await;
    assert!(
        matches!(listed, Err(ProviderError::Refused(_))),
        "{listed:?}"
    );
}

#[tokio::test]
async fn accounts_of_others_are_neither_taken_over_nor_dropped() {
    if !dsm_test_servers::is_there(Sshd::available()) {
        return;
    }
    let host = Host::fresh().await;
    let password = SecretText::new("First-password-of-many-1");
    host.make_account("conformance_e1", &password).await;
    let accounts = Ssh.accounts().unwrap();
    let other = SecretText::new("Second-password-of-many-2");
    let account = NewAccount {
        name: "conformance_e1",
        password: Some(&other),
        roles: &[],
        expires_at: None,
        template: None,
    };
    let made = accounts.create_account(&there(), &account).await;
    assert!(matches!(made, Err(ProviderError::Refused(_))), "{made:?}");
    let dropped = accounts
        .drop_account(&there(), "conformance_e1", None)
        .await;
    assert!(
        matches!(dropped, Err(ProviderError::Refused(_))),
        "{dropped:?}"
    );
    let passwords = Ssh.passwords().unwrap();
    let said = passwords
        .log_in(&there(), "conformance_e1", &password)
        .await;
    assert_eq!(said, Ok(LogIn::Accepted));
    assert!(
        accounts
            .list_accounts(&there(), "conformance")
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn the_host_itself_refuses_an_account_that_expired() {
    if !dsm_test_servers::is_there(Sshd::available()) {
        return;
    }
    let _host = Host::fresh().await;
    let accounts = Ssh.accounts().unwrap();
    let password = SecretText::new("First-password-of-many-1");
    let passwords = Ssh.passwords().unwrap();
    for (expires_at, said) in [
        ("2099-01-01T00:00:00Z", LogIn::Accepted),
        ("2020-01-01T00:00:00Z", LogIn::Rejected),
    ] {
        let account = NewAccount {
            name: "conformance_e1",
            password: Some(&password),
            roles: &["users".to_owned()],
            expires_at: Some(expires_at.parse().unwrap()),
            template: None,
        };
        accounts.create_account(&there(), &account).await.unwrap();
        let answer = passwords
            .log_in(&there(), "conformance_e1", &password)
            .await;
        assert_eq!(answer, Ok(said), "{expires_at}");
    }
}

#[tokio::test]
async fn an_account_without_a_password_logs_in_with_its_key() {
    if !dsm_test_servers::is_there(Sshd::available()) {
        return;
    }
    let _host = Host::fresh().await;
    let account = NewAccount {
        name: "conformance_e1",
        password: None,
        roles: &[],
        expires_at: None,
        template: None,
    };
    let accounts = Ssh.accounts().unwrap();
    accounts.create_account(&there(), &account).await.unwrap();
    let key = installed().draft_key("conformance_e1", &OsEntropy);
    installed()
        .install_key(&there(), "conformance_e1", &key)
        .await
        .unwrap();
    let said = installed().log_in(&there(), "conformance_e1", &key).await;
    assert_eq!(said, Ok(LogIn::Accepted));
}

#[tokio::test]
async fn an_admin_that_is_not_root_changes_nothing() {
    if !dsm_test_servers::is_there(Sshd::available()) {
        return;
    }
    let host = Host::fresh().await;
    let password = SecretText::new("First-password-of-many-1");
    host.make_account("conformance_a", &password).await;
    host.make_account("conformance_b", &password).await;
    let weak = Target {
        admin: Login {
            user: "conformance_b".to_owned(),
            proof: Proof::Password(password.duplicate()),
        },
        ..there()
    };
    assert!(!Ssh.test(&weak).await.unwrap().works());
    let passwords = Ssh.passwords().unwrap();
    let other = SecretText::new("Second-password-of-many-2");
    let changed = passwords
        .change_password(&weak, "conformance_a", &other)
        .await;
    assert!(
        matches!(changed, Err(ProviderError::Refused(_))),
        "{changed:?}"
    );
    let said = passwords.log_in(&there(), "conformance_a", &password).await;
    assert_eq!(said, Ok(LogIn::Accepted));
}
