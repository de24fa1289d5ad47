//! Accounts of MySQL (8.0 or later) and MariaDB (10.6 or later).
//!
//! The admin credential needs `CREATE USER`, and on MariaDB `UPDATE` on the database `mysql`, by which
//! the method of an account stays what it is; for ephemeral accounts also `SELECT` on `mysql.user`,
//! `PROCESS` and `CONNECTION ADMIN` to end sessions, and the admin option of the roles. A connection
//! is made for each call.
//!
//! # Options
//!
//! | name | meaning |
//! |---|---|
//! | `account_host` | the host part of all accounts of the target; `%` unless said |
//! | `tls`, `tls_ca` | see [the crate](crate#encryption) |
//!
//! # What the server sees
//!
//! MySQL is sent the new password, so that its policies can judge it, and leaves it out of its logs.
//! MariaDB writes statements to its general log as they are, so the session leaves that log out, for
//! which the admin needs `SUPER` or `BINLOG ADMIN`; without, MariaDB is sent what it keeps of a
//! password (`mysql_native_password`), which its policies cannot judge, and accounts that log in by
//! another method are refused.
//!
//! A statement that the network delivers late takes effect late: neither system can be told by when
//! a change has to begin.
//!
//! # Accounts
//!
//! Roles are granted and made active; MariaDB knows one default role, which is the first. An expiry
//! is set by `PASSWORD EXPIRE`, in whole days and rounded up: the vault drops the account long
//! before. To drop one it is locked, its sessions are ended, and the account is dropped.
//!
//! The statements of a template are run one by one; MySQL has no transactions around accounts. The
//! tags are filled with: `[#USERNAME#]` the quoted account with its host, `[#NEW_PASSWORD#]` the
//! quoted password, `[#ROLES#]` quoted names with commas, `[#EXPIRES_AT#]` a quoted instant of UTC,
//! and `[#HOSTNAME#]` a quoted name.

mod accounts;
mod fault;
mod quote;
mod session;

use async_trait::async_trait;
use dsm_core::provider::{
    Accounts, LogIn, Options, Passwords, Problem, Provider, ProviderError, Target, TestReport,
};
use dsm_core::secret::SecretText;

use self::quote::account;
use self::session::{Entry, Kind, Session};
use crate::options::Checked;
use crate::place::Place;
use crate::tls;

/// Where MySQL and MariaDB listen.
const PORT: u16 = 3306;
const ACCOUNT_HOST: &str = "account_host";

/// The provider for MySQL and MariaDB.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mysql;

#[async_trait]
impl Provider for Mysql {
    fn check(&self, address: &str, options: &Options) -> Vec<Problem> {
        let mut checked = Checked::new(options);
        if let Err(message) = address.parse::<Place>() {
            checked.problem("address", message);
        }
        checked.parsed(ACCOUNT_HOST, |text| {
            let message = "must be a host pattern of 1 to 255 bytes, such as % or 10.0.0.%";
            let good =
                (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
            good.then_some(()).ok_or(message.to_owned())
        });
        tls::check(&mut checked);
        checked.finish()
    }

    async fn test(&self, target: &Target) -> Result<TestReport, ProviderError> {
        let mut session = Session::open(target).await?;
        let version = session.text("SELECT VERSION()").await?;
        let read_only = session
            .text("SELECT IF(@@global.read_only, 'yes', 'no')")
            .await?;
        let report = TestReport::default().with("log in", true, version);
        let report = match read_only.as_str() {
            "no" => report.with("take changes", true, ""),
            _ => report.with("take changes", false, "the server is read-only"),
        };
        let rights = session.rights().await?;
        let has = |names: &[&str]| names.iter().any(|name| rights.contains(*name));
        let lacks = |report: TestReport, what, name: &str, lacking: &str| {
            let works = has(&[name]);
            report.with(what, works, if works { "" } else { lacking })
        };
        let report = if session.kind() == Kind::Mysql {
            let lacking = "the admin credential has no CREATE USER";
            lacks(report, "change passwords", "CREATE USER", lacking)
        } else {
            let lacking = "the admin credential has no UPDATE on the database mysql";
            lacks(report, "change passwords", "UPDATE", lacking)
        };
        let lacking = "the admin credential has no CREATE USER";
        let report = lacks(report, "make accounts", "CREATE USER", lacking);
        let ends = has(&["PROCESS"]) && has(&["SUPER", "CONNECTION ADMIN", "CONNECTION_ADMIN"]);
        let lacking = "the admin credential lacks PROCESS or CONNECTION ADMIN: sessions of dropped \
                       accounts go on";
        let report = report.with("end sessions", ends, if ends { "" } else { lacking });
        session.close().await;
        Ok(report)
    }

    fn passwords(&self) -> Option<&dyn Passwords> {
        Some(self)
    }

    fn accounts(&self) -> Option<&dyn Accounts> {
        Some(self)
    }
}

#[async_trait]
impl Passwords for Mysql {
    async fn log_in(
        &self,
        target: &Target,
        account: &str,
        password: &SecretText,
    ) -> Result<LogIn, ProviderError> {
        if !quote::is_name(account) {
            return Ok(LogIn::Rejected);
        }
        match session::enter(target, account, password).await? {
            Entry::Open(session) => {
                session.close().await;
                Ok(LogIn::Accepted)
            }
            Entry::Rejected(_) => Ok(LogIn::Rejected),
        }
    }

    async fn change_password(
        &self,
        target: &Target,
        name: &str,
        password: &SecretText,
    ) -> Result<(), ProviderError> {
        let account = account(name, target)?;
        let mut session = Session::open(target).await?;
        let change = quote::change(session.kind(), &account, password)?;
        session.change(&change).await?;
        session.close().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_option_is_named() {
        let options = [("account_host", ""), ("database", "x"), ("tls_ca", "x")];
        let options: Options = options
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let problems = Mysql.check("mysql://x", &options);
        let fields: Vec<&str> = problems.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "address",
                "options.account_host",
                "options.tls_ca",
                "options.database"
            ]
        );
    }
}
