//! A provider of your own: a system whose accounts are lines of a file, `NAME:PASSWORD`.
//!
//! A real one talks to its system over a network and has more that can go wrong, but no more to
//! implement. `dsm_core::provider_conformance!` checks what all have in common.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod rotation;

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use dsm_core::provider::{
    LogIn, Login, Options, Passwords, Problem, Proof, Provider, ProviderError, Target, TestReport,
};
use dsm_core::secret::{Credential, Managed, OutputValue, SecretData, SecretText};

/// Accounts that are lines of a file; the address is its path.
#[derive(Debug)]
struct PasswordFile;

fn read(target: &Target) -> Result<String, ProviderError> {
    fs::read_to_string(&target.address).map_err(|error| match error.kind() {
        // It will not get better by itself, and an operator is called after some tries.
        ErrorKind::NotFound | ErrorKind::PermissionDenied => {
            ProviderError::Refused(error.to_string())
        }
        _ => ProviderError::Unavailable(error.to_string()),
    })
}

#[async_trait]
impl Provider for PasswordFile {
    fn check(&self, address: &str, options: &Options) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !Path::new(address).is_absolute() {
            problems.push(Problem::new("address", "must be an absolute path"));
        }
        for name in options.keys() {
            problems.push(Problem::new(
                format!("options.{name}"),
                "there are no options",
            ));
        }
        problems
    }

    async fn test(&self, target: &Target) -> Result<TestReport, ProviderError> {
        read(target)?;
        Ok(TestReport::default().with("read the file", true, ""))
    }

    fn passwords(&self) -> Option<&dyn Passwords> {
        Some(self)
    }
}

#[async_trait]
impl Passwords for PasswordFile {
    async fn log_in(
        &self,
        target: &Target,
        account: &str,
        password: &SecretText,
    ) -> Result<LogIn, ProviderError> {
        let wanted = format!("{account}:{}", password.expose());
        Ok(if read(target)?.lines().any(|line| line == wanted) {
            LogIn::Accepted
        } else {
            LogIn::Rejected
        })
    }

    async fn change_password(
        &self,
        target: &Target,
        account: &str,
        password: &SecretText,
    ) -> Result<(), ProviderError> {
        let mut found = false;
        let mut text = String::new();
        for line in read(target)?.lines() {
            if line.split(':').next() == Some(account) {
                found = true;
                text.extend([account, ":", password.expose(), "\n"]);
            } else {
                text.extend([line, "\n"]);
            }
        }
        // Nobody is made by a change of a password.
        if !found {
            let nobody = "there is no such account".to_owned();
            return Err(ProviderError::Refused(nobody));
        }
        let new = format!("{}.new", target.address);
        // Nothing has changed until the name does.
        fs::write(&new, text).map_err(|error| ProviderError::Refused(error.to_string()))?;
        fs::rename(&new, &target.address)
            .map_err(|error| ProviderError::OutcomeUnknown(error.to_string()))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("accounts");
    fs::write(&file, "orders:first\nreports:other\n")?;
    let target = Target {
        name: "file".to_owned(),
        address: file.display().to_string(),
        options: Options::new(),
        admin: Login {
            user: "nobody".to_owned(),
            proof: Proof::Password("a file asks nobody".into()),
        },
    };
    let credential = Credential {
        user: Some("orders".to_owned()),
        password: Some("first".into()),
        managed: Some(Managed {
            target: rotation::TARGET.to_owned(),
            pair_user: None,
            user: None,
        }),
        ..Credential::default()
    };
    let data = SecretData {
        credentials: vec![credential],
        ..SecretData::default()
    };
    let (_, after) = rotation::rotate(Arc::new(PasswordFile), target, data).await?;
    let password = after.value("password").and_then(OutputValue::expose);
    let line = format!("orders:{}", password.ok_or("a password")?);
    let text = fs::read_to_string(&file)?;
    assert!(
        text.lines().any(|held| held == line),
        "it is what is served"
    );
    println!("the file has the new password, and the others have theirs");
    Ok(())
}
