//! `cargo xtask mutants`: whether the tests notice when an access rule is wrong.

use std::process::ExitCode;

use crate::Failure;
use crate::install::MUTANTS;
use crate::sh::{cargo, root};

/// Where a wrong rule discloses a secret.
const FILES: &str = "dsm-core/src/access/**/*.rs";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Passed to cargo-mutants, such as `--list` or `--shard 1/4`
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
    let status = cargo(["mutants", "--package", "dsm-core", "--file", FILES])
        .args(["--all-features"])
        .args(&args.args)
        .status()?;
    match status.code() {
        Some(0) => Ok(ExitCode::SUCCESS),
        Some(2) => Err(Failure(
            "mutants survived; mutants.out/missed.txt lists them".to_owned(),
        )),
        // Noticed as well: the tests did not end.
        Some(3) => {
            println!("mutants.out/timeout.txt lists mutants that made the tests run for ever");
            Ok(ExitCode::SUCCESS)
        }
        _ => Err(Failure(format!("cargo-mutants failed: {status}"))),
    }
}
