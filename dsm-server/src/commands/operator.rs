//! `operator`.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand};
use dsm_core::access::Permission;
use dsm_core::id::OperatorId;
use dsm_core::store::Page;
use dsm_core::time::Timestamp;
use dsm_core::vault::{NewOperator, OperatorAccount, Vault};

use super::opening::{command_line, open_beside};
use super::{Failure, terminal};
use crate::config::Flags;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add an operator and print its token, this once
    Add(Add),
    /// List operators, revoked and expired ones included
    List(List),
    /// End an operator's token for good
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// Its name
    name: String,
    /// What it may do, such as Secrets.View; may be repeated. Everything unless said
    #[arg(long, value_name = "PERMISSION", value_parser = permission)]
    permission: Vec<Permission>,
    /// For how long its token is good: a number of days (d), hours (h), minutes (m) or seconds (s)
    #[arg(long, value_name = "TIME", default_value = "90d")]
    expires: Lifetime,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// Its id, as listed
    id: OperatorId,
    #[command(flatten)]
    flags: Flags,
}

/// A time as `90d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lifetime(Duration);

impl FromStr for Lifetime {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let unit = match text.as_bytes().last() {
            Some(b'd') => 24 * 3600,
            Some(b'h') => 3600,
            Some(b'm') => 60,
            Some(b's') => 1,
            _ => 0,
        };
        let number = text.get(..text.len().saturating_sub(1)).unwrap_or_default();
        let number: Option<u64> = number.parse().ok();
        match number.and_then(|number| number.checked_mul(unit)) {
            Some(seconds) if seconds > 0 => Ok(Self(Duration::from_secs(seconds))),
            _ => Err("must be a number above 0 with d, h, m or s, such as 90d"),
        }
    }
}

fn permission(text: &str) -> Result<Permission, String> {
    text.parse().map_err(|error| {
        let all: Vec<&str> = Permission::ALL.iter().map(|one| one.as_str()).collect();
        format!("{error}; there are {}", all.join(", "))
    })
}

pub(super) async fn run(command: Command) -> Result<ExitCode, Failure> {
    let flags = match &command {
        Command::Add(add) => &add.flags,
        Command::List(list) => &list.flags,
        Command::Revoke(revoke) => &revoke.flags,
    };
    let config = super::configure(flags)?;
    let vault = open_beside(&config).await?;
    let done = match command {
        Command::Add(add) => {
            let mut new = NewOperator::new(add.name);
            new.lifetime = add.expires.0;
            if !add.permission.is_empty() {
                new.permissions = add.permission.into_iter().collect();
            }
            create(&vault, new).await
        }
        Command::List(_) => list(&vault).await,
        Command::Revoke(revoke) => {
            let revoked = vault.revoke_operator(&command_line(), revoke.id).await;
            revoked.map_err(Failure::from)
        }
    };
    vault.close().await;
    done.map(|()| ExitCode::SUCCESS)
}

/// Makes an operator. Standard output has its token and nothing else, standard error the rest.
pub(super) async fn create(vault: &Vault, new: NewOperator) -> Result<(), Failure> {
    let (account, token) = vault.create_operator(&command_line(), new).await?;
    terminal::note(format_args!(
        "operator {} ({}), good until {}; its token is shown only now:",
        account.id,
        account.operator.name,
        instant(account.expires_at()),
    ));
    terminal::say(token.expose())
}

async fn list(vault: &Vault) -> Result<(), Failure> {
    let mut text = String::from("id\tname\tstate\texpires\tpermissions");
    let mut page = Page::first(500);
    loop {
        let found = vault.list_operators(&command_line(), page).await?;
        for account in &found.items {
            let permissions: Vec<&str> = account
                .operator
                .permissions
                .iter()
                .map(Permission::as_str)
                .collect();
            let permissions = if permissions.len() == Permission::ALL.len() {
                "all".to_owned()
            } else {
                permissions.join(",")
            };
            // Writing to a string does not fail.
            let _ = write!(
                text,
                "\n{}\t{}\t{}\t{}\t{permissions}",
                account.id,
                account.operator.name,
                state(account, vault.now()),
                instant(account.expires_at()),
            );
        }
        match found.next {
            Some(next) => page.after = Some(next),
            None => return terminal::say(text),
        }
    }
}

fn state(account: &OperatorAccount, now: Timestamp) -> &'static str {
    if account.operator.revoked_at.is_some() {
        "revoked"
    } else if account.expires_at().is_some_and(|at| now >= at) {
        "expired"
    } else {
        "active"
    }
}

fn instant(at: Option<Timestamp>) -> String {
    at.map_or_else(
        || "never".to_owned(),
        |at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::Lifetime;

    #[test]
    fn lifetimes_have_a_unit() {
        for (text, seconds) in [("90d", 7_776_000), ("12h", 43_200), ("5m", 300), ("1s", 1)] {
            let lifetime: Lifetime = text.parse().expect(text);
            assert_eq!(lifetime.0.as_secs(), seconds);
        }
        for text in [
            "",
            "d",
            "90",
            "0d",
            "-1d",
            "1w",
            "1.5h",
            "99999999999999999999d",
            "1é",
        ] {
            assert!(text.parse::<Lifetime>().is_err(), "{text}");
        }
    }
}
