//! `cargo xtask mutants`: whether the tests notice when an access rule is wrong.

use std::process::ExitCode;

use crate::Failure;
use crate::install::MUTANTS;
use crate::sh::{cargo, root};

/// Where a wrong rule discloses a secret.
const FILES: &str = "dsm-core/src/access/**/*.rs";

/// Nearly every mutant is noticed by these, which take a third of the time of all.
const CLOSEST: [&str; 4] = ["--cargo-arg", "--lib", "--", "access::"];

/// Leaves out what was noticed before.
const ITERATE: &str = "--iterate";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Passed to cargo-mutants, such as `--shard 1/4`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Mutants that cannot be noticed are excluded in `.cargo/mutants.toml`, each with its reason.
pub(crate) fn main(args: &Args) -> Result<ExitCode, Failure> {
    if !root().join("dsm-core/src/access").is_dir() {
        return Err(Failure(
            "there is nothing at dsm-core/src/access".to_owned(),
        ));
    }
    MUTANTS.ensure()?;
    let mut survived = mutate(&args.args, &CLOSEST)?;
    if survived {
        // Only those that survived, with everything that the package has.
        let mut again = args.args.clone();
        if !again.iter().any(|arg| arg == ITERATE) {
            again.push(ITERATE.to_owned());
        }
        survived = mutate(&again, &[])?;
    }
    if survived {
        return Err(Failure(
            "mutants survived; mutants.out/missed.txt lists them".to_owned(),
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a mutant survived these tests.
fn mutate(args: &[String], tests: &[&str]) -> Result<bool, Failure> {
    let status = cargo(["mutants", "--package", "dsm-core", "--file", FILES])
        .args(["--all-features"])
        .args(args)
        .args(tests)
        .status()?;
    match status.code() {
        Some(0) => Ok(false),
        Some(2) => Ok(true),
        // Noticed as well: the tests did not end.
        Some(3) => {
            println!("mutants.out/timeout.txt lists mutants that made the tests run for ever");
            Ok(false)
        }
        _ => Err(Failure(format!("cargo-mutants failed: {status}"))),
    }
}
