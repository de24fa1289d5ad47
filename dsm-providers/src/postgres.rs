//! Roles of PostgreSQL, version 14 or later.
//!
//! The admin credential needs `CREATEROLE` and, for roles that it did not make, the admin option of
//! them from version 16 on; or it is a superuser. A connection is made for each call.
//!
//! # Options
//!
//! | name | meaning |
//! |---|---|
//! | `database` | the database that is connected to; `postgres` unless said |
//! | `reassign_to` | who owns what a dropped account owned; the admin unless said |
//! | `tls`, `tls_ca` | see [the crate](crate#encryption) |
//!
//! # What the server sees
//!
//! No password: what is sent is the verifier of SCRAM-SHA-256 ([RFC 5803]), made on this side, so
//! that none stands in its log, whatever `log_statement` says. Its password checks see none either.
//! A statement that the network delivers more than ten seconds late does nothing.
//!
//! # Accounts
//!
//! They are made with `VALID UNTIL`, after which the server refuses their password. To drop one its
//! sessions are ended, what it owns is given to `reassign_to` in every database, its privileges are
//! revoked there, and the role is dropped. A privilege that somebody else gave it on what is not the
//! admin's is for them to revoke: until then it is refused, and the account may not log in.
//!
//! The statements of a template run in one transaction. The tags are filled with: `[#USERNAME#]` and
//! `[#ROLES#]` quoted identifiers, several with commas; `[#NEW_PASSWORD#]` the verifier,
//! `[#EXPIRES_AT#]` an instant or `infinity`, and `[#HOSTNAME#]`, as quoted literals. An account that
//! is there already is dropped before it is made by a template.
//!
//! [RFC 5803]: https://www.rfc-editor.org/rfc/rfc5803

mod accounts;
mod fault;
mod quote;
mod session;

use async_trait::async_trait;
use dsm_core::provider::{
    Accounts, LogIn, Options, Passwords, Problem, Proof, Provider, ProviderError, Target,
    TestReport,
};
use dsm_core::secret::SecretText;

use self::quote::{identifier, is_name, literal};
use self::session::{Entry, Session, cell};
use crate::options::Checked;
use crate::place::Place;
use crate::tls;

/// Where PostgreSQL listens.
const PORT: u16 = 5432;
/// No account has this password.
const NOBODYS: &str = "no-password-of-anybody";

/// The provider for PostgreSQL.
#[derive(Debug, Clone, Copy, Default)]
pub struct Postgres;

#[async_trait]
impl Provider for Postgres {
    fn check(&self, address: &str, options: &Options) -> Vec<Problem> {
        let mut checked = Checked::new(options);
        if let Err(message) = address.parse::<Place>() {
            checked.problem("address", message);
        }
        for name in ["database", "reassign_to"] {
            checked.parsed(name, |text| {
                let message = "must be a name of 1 to 63 bytes";
                is_name(text).then_some(()).ok_or(message.to_owned())
            });
        }
        tls::check(&mut checked);
        checked.finish()
    }

    async fn test(&self, target: &Target) -> Result<TestReport, ProviderError> {
        let session = Session::open(target).await?;
        let row = session
            .row(
                "SELECT rolsuper OR rolcreaterole, pg_is_in_recovery(), \
                 current_setting('server_version') FROM pg_roles WHERE rolname = current_user",
            )
            .await?;
        let (manages, standby): (bool, bool) = (cell(&row, 0)?, cell(&row, 1)?);
        let version: &str = cell(&row, 2)?;
        let report = TestReport::default().with("log in", true, format!("PostgreSQL {version}"));
        let report = if standby {
            report.with("take changes", false, "the server is a standby")
        } else {
            report.with("take changes", true, "")
        };
        let lacking = if manages {
            ""
        } else {
            "the admin credential has no CREATEROLE"
        };
        let report = report.with("change passwords", manages, lacking).with(
            "make accounts",
            manages,
            lacking,
        );
        session.close().await;
        // Where anything logs in, no log-in proves anything.
        let asked = self
            .log_in(target, &target.admin.user, &SecretText::new(NOBODYS))
            .await?;
        let message = "the server lets in whatever password is given: see its pg_hba.conf";
        Ok(match asked {
            LogIn::Rejected => report.with("ask for passwords", true, ""),
            LogIn::Accepted => report.with("ask for passwords", false, message),
        })
    }

    fn passwords(&self) -> Option<&dyn Passwords> {
        Some(self)
    }

    fn accounts(&self) -> Option<&dyn Accounts> {
        Some(self)
    }
}

#[async_trait]
impl Passwords for Postgres {
    async fn log_in(
        &self,
        target: &Target,
        account: &str,
        password: &SecretText,
    ) -> Result<LogIn, ProviderError> {
        if !is_name(account) {
            return Ok(LogIn::Rejected);
        }
        let database = session::database(target);
        match session::enter(target, database, account, password).await? {
            Entry::Open(session) => {
                session.close().await;
                Ok(LogIn::Accepted)
            }
            Entry::Known(_) => Ok(LogIn::Accepted),
            Entry::Rejected(_) => Ok(LogIn::Rejected),
        }
    }

    async fn change_password(
        &self,
        target: &Target,
        account: &str,
        password: &SecretText,
    ) -> Result<(), ProviderError> {
        let account = identifier(account)?;
        let verifier = literal(&verifier(password));
        let session = Session::open(target).await?;
        let change = format!("ALTER ROLE {account} PASSWORD {verifier}");
        session.change_in_time(&change).await?;
        session.close().await;
        Ok(())
    }
}

/// What the server keeps of a password.
fn verifier(password: &SecretText) -> String {
    postgres_protocol::password::scram_sha_256(password.expose().as_bytes())
}

/// The admin's password.
fn admin_password(target: &Target) -> Result<&SecretText, ProviderError> {
    match &target.admin.proof {
        Proof::Password(password) => Ok(password),
        Proof::PrivateKey { .. } => Err(ProviderError::Refused(
            "the admin credential has to be a password".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_option_is_named() {
        let long = "x".repeat(64);
        let options: Options = [
            ("database", long.as_str()),
            ("reassign_to", ""),
            ("tls", "prefer"),
            ("schema", "public"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        let problems = Postgres.check("postgres://db", &options);
        let fields: Vec<&str> = problems.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "address",
                "options.database",
                "options.reassign_to",
                "options.tls",
                "options.schema"
            ]
        );
        assert_eq!(Postgres.check("db:5433", &Options::new()), []);
    }

    #[test]
    fn a_verifier_tells_no_password() {
        let password = SecretText::new("correct-horse");
        let verifier = verifier(&password);
        assert!(verifier.starts_with("SCRAM-SHA-256$4096:"), "{verifier}");
        assert!(!verifier.contains("horse"));
    }
}
