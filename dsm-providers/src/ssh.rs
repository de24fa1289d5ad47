//! Passwords, authorized keys and accounts of a host, over SSH.
//!
//! The address is `host:port`; the usual port is 22. The option `host_key` pins who the host is: its
//! public keys, or their fingerprints as `SHA256:…`, separated by commas. The admin is root, or an
//! account that may run `/bin/sh` by `sudo -n`, and proves itself by a password or a private key
//! (Ed25519 or ECDSA). Its login shell has to be a POSIX one.
//!
//! What is done there is one of a few fixed scripts; names, passwords and keys reach it by its
//! standard input and are in no command line. Passwords are set by `chpasswd`. Keys are Ed25519, made
//! here, and listed in `.ssh/authorized_keys` of the account's home, with `dsm:ACCOUNT` for a comment;
//! the file is replaced as a whole, by the account itself. The id of a key is its fingerprint.
//!
//! Accounts that live for a while are made by `useradd`, with groups as roles, expire at the end of
//! the day on which they shall, and have `dsm` for their description: others are neither listed nor
//! dropped.

mod accounts;
mod keys;
mod script;
mod session;

use async_trait::async_trait;
use dsm_core::provider::{
    Accounts, Keys, LogIn, Options, Passwords, Problem, Provider, ProviderError, Target, TestReport,
};
use dsm_core::secret::SecretText;

use self::script::{Script, field};
use self::session::{HostKeys, Session};
use crate::options::Checked;
use crate::place::Place;

const HOST_KEY: &str = "host_key";

/// Accounts of a host.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ssh;

#[async_trait]
impl Provider for Ssh {
    fn check(&self, address: &str, options: &Options) -> Vec<Problem> {
        let mut checked = Checked::new(options);
        if let Err(message) = address.parse::<Place>() {
            checked.problem("address", message);
        }
        if checked.parsed(HOST_KEY, HostKeys::read).is_none() && !options.contains_key(HOST_KEY) {
            let missing = "must have the public key of the host, or its fingerprint SHA256:…";
            checked.problem("options.host_key", missing);
        }
        checked.finish()
    }

    async fn test(&self, target: &Target) -> Result<TestReport, ProviderError> {
        let session = Session::as_admin(target).await?;
        let report = TestReport::default().with("log in", true, "");
        let root = session.run(Script::TEST, &[]).await;
        Ok(match root {
            Ok(_) => report.with("act as root", true, ""),
            Err(ProviderError::Refused(message)) => report.with("act as root", false, message),
            Err(error) => return Err(error),
        })
    }

    fn passwords(&self) -> Option<&dyn Passwords> {
        Some(self)
    }

    fn keys(&self) -> Option<Keys<'_>> {
        Some(Keys::Installed(self))
    }

    fn accounts(&self) -> Option<&dyn Accounts> {
        Some(self)
    }
}

#[async_trait]
impl Passwords for Ssh {
    async fn log_in(
        &self,
        target: &Target,
        account: &str,
        password: &SecretText,
    ) -> Result<LogIn, ProviderError> {
        let name = account_name(account)?;
        Session::connect(target)
            .await?
            .try_password(name, password)
            .await
    }

    async fn change_password(
        &self,
        target: &Target,
        account: &str,
        password: &SecretText,
    ) -> Result<(), ProviderError> {
        let name = account_name(account)?;
        let password = field(password.expose(), "the password")?;
        let session = Session::as_admin(target).await?;
        session
            .run(Script::CHANGE_PASSWORD, &[name, password])
            .await?;
        Ok(())
    }
}

/// What every system takes for the name of an account, and no program for anything else.
fn account_name(name: &str) -> Result<&str, ProviderError> {
    let may_begin = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let may_follow = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let is_name = name.len() <= 32
        && name.bytes().next().is_some_and(may_begin)
        && name.bytes().all(may_follow);
    if is_name {
        Ok(name)
    } else {
        Err(refused(
            "an account has a name of up to 32 letters, digits, `_`, `-` and `.`",
        ))
    }
}

fn refused(message: &str) -> ProviderError {
    ProviderError::Refused(message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_pinned_key_is_a_problem() {
        let problems = Ssh.check("host:22", &Options::new());
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].field, "options.host_key");
        for wrong in ["", "ssh-ed25519", "SHA256:x", "MD5:aa:bb", "a,b"] {
            let options = Options::from([(HOST_KEY.to_owned(), wrong.to_owned())]);
            let problems = Ssh.check("", &options);
            let fields: Vec<&str> = problems.iter().map(|it| it.field.as_str()).collect();
            assert_eq!(fields, ["address", "options.host_key"], "{wrong}");
        }
    }

    #[test]
    fn names_are_names() {
        for good in ["root", "_x", "a-b.c_1", &"a".repeat(32)] {
            assert!(account_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "1a",
            "a b",
            "a\n",
            "a:b",
            "a/b",
            "ä",
            &"a".repeat(33),
        ] {
            assert!(account_name(bad).is_err(), "{bad}");
        }
    }
}
