//! ACL users of Redis, version 7 or later.
//!
//! The admin credential is a user that may run `ACL` and `CLIENT KILL`, such as `default`. A
//! connection is made for each call. Cluster nodes and replicas have users of their own and are
//! targets of their own: Redis does not replicate users.
//!
//! # Options
//!
//! | name | meaning |
//! |---|---|
//! | `persist` | `aclfile`: each change is saved by `ACL SAVE`, and refused beforehand where Redis has no `aclfile` configured; `none`: changes are lost when Redis restarts, and with them what was changed. `aclfile` unless said |
//! | `tls`, `tls_ca` | see [the crate](crate#encryption) |
//!
//! # What the server sees
//!
//! Changes carry the SHA-256 of a password, as Redis keeps it, and not the password.
//!
//! # Accounts
//!
//! The roles of an account are rules of the ACL, such as `+@read`, `~app:*` or `&news`; rules that
//! touch passwords or turn the account off are refused. Redis has no expiry of its own and no
//! templates. Whoever is dropped is disconnected.
//!
//! A user that is deleted by somebody else between the look and the change of its password is made
//! again by Redis: without any right, and turned off.

mod session;

use async_trait::async_trait;
use data_encoding::HEXLOWER;
use dsm_core::provider::{
    Accounts, LogIn, NewAccount, Options, Passwords, Problem, Provider, ProviderError, Target,
    Template, TestReport,
};
use dsm_core::secret::SecretText;
use redis::{Cmd, Value, cmd};
use sha2::{Digest as _, Sha256};

use self::session::{Entry, Fault, Session};
use crate::options::{Checked, one_of};
use crate::place::Place;
use crate::tls;

/// Where Redis listens.
const PORT: u16 = 6379;
const PERSIST: &str = "persist";

/// The provider for Redis.
#[derive(Debug, Clone, Copy, Default)]
pub struct Redis;

#[async_trait]
impl Provider for Redis {
    fn check(&self, address: &str, options: &Options) -> Vec<Problem> {
        let mut checked = Checked::new(options);
        if let Err(message) = address.parse::<Place>() {
            checked.problem("address", message);
        }
        checked.parsed(PERSIST, persists);
        tls::check(&mut checked);
        checked.finish()
    }

    async fn test(&self, target: &Target) -> Result<TestReport, ProviderError> {
        let mut session = Session::open(target).await?;
        let mut report = TestReport::default().with("log in", true, "");
        for (what, arguments) in [
            ("change passwords", &["ACL", "SETUSER", "x"][..]),
            ("find accounts", &["ACL", "GETUSER", "x"]),
            ("list accounts", &["ACL", "USERS"]),
            ("drop accounts", &["ACL", "DELUSER", "x"]),
            ("end sessions", &["CLIENT", "KILL", "USER", "x"]),
        ] {
            let mut dry = acl("DRYRUN");
            dry.arg(&target.admin.user).arg(arguments);
            report = match session.ask(&dry).await {
                Ok(Value::Okay) => report.with(what, true, ""),
                Ok(said) => report.with(what, false, text(&said)),
                Err(Fault::Said(said)) => report.with(what, false, said),
                Err(fault) => return Err(fault.before()),
            };
        }
        if !wants_file(target) {
            let message = "persist is none: changes are lost when Redis restarts";
            return Ok(report.with("keep changes", true, message));
        }
        let mut asked = cmd("CONFIG");
        asked.arg("GET").arg("aclfile");
        Ok(match session.ask(&asked).await {
            Ok(Value::Array(pair)) if pair.get(1).is_some_and(|file| !text(file).is_empty()) => {
                report.with("keep changes", true, "")
            }
            Ok(_) => report.with("keep changes", false, NO_FILE),
            Err(Fault::Said(said)) => {
                let message = format!("whether Redis has an aclfile cannot be told: {said}");
                report.with("keep changes", true, message)
            }
            Err(fault) => return Err(fault.before()),
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
impl Passwords for Redis {
    async fn log_in(
        &self,
        target: &Target,
        account: &str,
        password: &SecretText,
    ) -> Result<LogIn, ProviderError> {
        let Entry::Open(_) = session::enter(target, account, password).await? else {
            return Ok(LogIn::Rejected);
        };
        if wants_file(target) {
            // A change whose answer was lost works already, and may not be saved yet.
            let mut session = Session::open(target).await?;
            if let Err(error @ ProviderError::Unavailable(_)) =
                check_saving(&mut session, target).await
            {
                return Err(error);
            }
        }
        Ok(LogIn::Accepted)
    }

    async fn change_password(
        &self,
        target: &Target,
        account: &str,
        password: &SecretText,
    ) -> Result<(), ProviderError> {
        let mut session = Session::open(target).await?;
        if !exists(&mut session, account).await? {
            let message = "there is no such user";
            return Err(ProviderError::Refused(message.to_owned()));
        }
        check_saving(&mut session, target).await?;
        // One command: at no time has the user no password, or both.
        let mut change = acl("SETUSER");
        change.arg(account).arg("resetpass").arg(hashed(password));
        change_and_save(&mut session, target, &change).await
    }
}

#[async_trait]
impl Accounts for Redis {
    async fn create_account(
        &self,
        target: &Target,
        account: &NewAccount<'_>,
    ) -> Result<(), ProviderError> {
        no_template(account.template)?;
        let name = name(account.name)?;
        let Some(password) = account.password else {
            let message = "a Redis user without a password would let anybody in";
            return Err(ProviderError::Refused(message.to_owned()));
        };
        if let Some(bad) = account.roles.iter().find(|rule| !is_rule(rule)) {
            return Err(ProviderError::Refused(format!(
                "{bad} is not a rule that gives or takes rights, such as +@read or ~app:*"
            )));
        }
        let mut session = Session::open(target).await?;
        check_saving(&mut session, target).await?;
        let mut create = acl("SETUSER");
        create.arg(name).arg("reset").arg("on");
        create.arg(hashed(password)).arg(account.roles);
        change_and_save(&mut session, target, &create).await
    }

    async fn drop_account(
        &self,
        target: &Target,
        account: &str,
        template: Option<&Template>,
    ) -> Result<(), ProviderError> {
        no_template(template)?;
        let name = name(account)?;
        let mut session = Session::open(target).await?;
        // That somebody is gone may be all there was of a drop that was cut off: it is saved first.
        check_saving(&mut session, target).await?;
        if !exists(&mut session, name).await? {
            return Ok(());
        }
        // Redis disconnects whoever it deletes.
        let mut delete = acl("DELUSER");
        delete.arg(name);
        change_and_save(&mut session, target, &delete).await
    }

    async fn list_accounts(
        &self,
        target: &Target,
        prefix: &str,
    ) -> Result<Vec<String>, ProviderError> {
        let mut session = Session::open(target).await?;
        let listed = session.ask(&acl("USERS")).await.map_err(Fault::before)?;
        let Value::Array(names) = listed else {
            let message = "the answer to ACL USERS is no list";
            return Err(ProviderError::Unavailable(message.to_owned()));
        };
        let names = names.iter().map(text);
        Ok(names.filter(|name| name.starts_with(prefix)).collect())
    }
}

const NO_FILE: &str = "Redis has no aclfile configured, so that it would forget the change when it \
                       restarts: configure one, or set the option persist to none";

fn persists(text: &str) -> Result<bool, String> {
    Ok(one_of(text, &["aclfile", "none"])? == 0)
}

fn wants_file(target: &Target) -> bool {
    let given = target.options.get(PERSIST);
    given.is_none_or(|text| persists(text) != Ok(false))
}

fn acl(subcommand: &str) -> Cmd {
    let mut command = cmd("ACL");
    command.arg(subcommand);
    command
}

fn hashed(password: &SecretText) -> String {
    let digest = Sha256::digest(password.expose().as_bytes());
    format!("#{}", HEXLOWER.encode(&digest))
}

fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) => text.clone(),
        _ => String::new(),
    }
}

fn name(name: &str) -> Result<&str, ProviderError> {
    let bad = name.is_empty()
        || name
            .bytes()
            .any(|byte| byte == 0 || byte.is_ascii_whitespace());
    if bad {
        let message = "a user of Redis has a name without spaces";
        return Err(ProviderError::Refused(message.to_owned()));
    }
    Ok(name)
}

/// Whether a rule gives or takes rights and does nothing else.
fn is_rule(rule: &str) -> bool {
    let words = [
        "allkeys",
        "allchannels",
        "allcommands",
        "nocommands",
        "resetkeys",
        "resetchannels",
    ];
    let starts = ['+', '-', '~', '%', '&', '('];
    words.contains(&rule) || (rule.len() > 1 && rule.starts_with(starts))
}

fn no_template(template: Option<&Template>) -> Result<(), ProviderError> {
    if template.is_some() {
        let message = "users of Redis are made of rules, which are given as roles: there are no \
                       templates";
        return Err(ProviderError::Refused(message.to_owned()));
    }
    Ok(())
}

async fn exists(session: &mut Session, name: &str) -> Result<bool, ProviderError> {
    let mut find = acl("GETUSER");
    find.arg(name);
    let found = session.ask(&find).await.map_err(Fault::before)?;
    Ok(!matches!(found, Value::Nil))
}

/// Refuses a change that Redis could not keep.
async fn check_saving(session: &mut Session, target: &Target) -> Result<(), ProviderError> {
    if !wants_file(target) {
        return Ok(());
    }
    match session.ask(&acl("SAVE")).await {
        Ok(_) => Ok(()),
        Err(Fault::Said(said)) if said.contains("not configured to use an ACL file") => {
            Err(ProviderError::Refused(NO_FILE.to_owned()))
        }
        Err(fault) => Err(fault.before()),
    }
}

async fn change_and_save(
    session: &mut Session,
    target: &Target,
    change: &Cmd,
) -> Result<(), ProviderError> {
    session.ask(change).await.map_err(Fault::sent)?;
    if wants_file(target) {
        session.ask(&acl("SAVE")).await.map_err(|fault| {
            let why = fault.message();
            ProviderError::OutcomeUnknown(format!("changed, and maybe not saved: {why}"))
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_give_and_take_rights_and_do_nothing_else() {
        for rule in [
            "+@read",
            "-keys",
            "~app:*",
            "%R~x",
            "&news",
            "allkeys",
            "(~a +get)",
        ] {
            assert!(is_rule(rule), "{rule}");
        }
        for rule in [
            "on",
            "off",
            "nopass",
            ">password",
            "<x",
            "#00",
            "!00",
            "reset",
            "",
            "+",
        ] {
            assert!(!is_rule(rule), "{rule}");
        }
    }

    #[test]
    fn what_is_sent_is_what_redis_keeps() {
        let hash = hashed(&SecretText::new("abc"));
        let expected = "#ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash, expected);
    }

    #[test]
    fn every_wrong_option_is_named() {
        let options = [("persist", "maybe"), ("database", "1")];
        let options: Options = options
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let problems = Redis.check("", &options);
        let fields: Vec<&str> = problems.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(fields, ["address", "options.persist", "options.database"]);
    }
}
