//! `cargo xtask test`: every test, doctest and example, and one line that counts them.

use std::process::ExitCode;
use std::time::Duration;

use dsm_test_servers::postgres::Postgres;
use dsm_test_servers::redis::Redis;

use crate::install;
use crate::sh::{Cmd, cargo};
use crate::tally::Tally;
use crate::workspace;
use crate::{Failure, campaign};

/// The member whose binaries and examples are run as tests.
const EXAMPLES: &str = "dsm-examples";
/// The stores beside memory that the suites in process are run over once more.
const STORES: [&str; 3] = ["sqlite", "postgres", "redis"];
/// An example that takes longer has failed.
const EXAMPLE_LIMIT: Duration = Duration::from_mins(1);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Passed to the test runner, such as `-p dsm-core --test envelope`; then only the tests they choose
    /// are run, without doctests and examples
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

pub(crate) fn main(args: &Args) -> ExitCode {
    report(run(&args.args))
}

/// Prints the closing line.
pub(crate) fn report(tally: Tally) -> ExitCode {
    println!("\n{tally}");
    if tally.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs the tests that `args` choose, or all. A part that cannot be run counts as one failed test.
pub(crate) fn run(args: &[String]) -> Tally {
    let mut tally = part(prepare());
    tally += part(tests(args));
    if args.is_empty() {
        for store in STORES {
            tally += part(over(store));
        }
        tally += part(examples());
    }
    tally
}

fn part(result: Result<Tally, Failure>) -> Tally {
    result.unwrap_or_else(|Failure(reason)| {
        eprintln!("error: {reason}");
        Tally::of_one(false)
    })
}

/// What the tests need before they start: the server's binary, built as the tests are, so that
/// cargo does not build it twice. What else a test needs is installed here.
fn prepare() -> Result<Tally, Failure> {
    install::c_compiler()?;
    install::debian_programs();
    install::python_packages();
    cargo(["build", "--workspace", "--all-features", "--bins"]).run()?;
    Ok(Tally::default())
}

fn tests(args: &[String]) -> Result<Tally, Failure> {
    let scope = scope(args);
    short(cargo(["test", "--no-fail-fast"]).args(scope).args(args))
}

/// The suites in process over another store than memory. Where its programs are missing they are left
/// out, which under CI is a failure.
fn over(store: &str) -> Result<Tally, Failure> {
    let available = match store {
        "postgres" => Postgres::available(),
        "redis" => Redis::available(),
        _ => Ok(()),
    };
    if let Err(what) = available {
        if std::env::var_os("CI").is_some() {
            return Err(Failure(what));
        }
        eprintln!("the suites over {store} are left out: {what}");
        return Ok(Tally::default());
    }
    println!("\n== /iso and /api/v1 over {store}");
    let suites = ["--test", "iso", "--test", "v1"];
    let cmd = cargo([
        "test",
        "-p",
        "dsm-server",
        "--all-features",
        "--no-fail-fast",
    ])
    .args(suites)
    .env("DSM_TEST_STORE", store);
    short(cmd)
}

/// The whole workspace, unless packages are named.
fn scope(args: &[String]) -> Vec<&'static str> {
    let names_package = |arg: &String| arg.starts_with("-p") || arg.starts_with("--package");
    if args.iter().any(names_package) {
        vec!["--all-features"]
    } else {
        vec!["--workspace", "--all-features"]
    }
}

/// Runs tests in the short form of the campaigns and counts what it reports.
fn short(cmd: Cmd) -> Result<Tally, Failure> {
    counted(cmd.default_env(campaign::SHORT))
}

/// Runs tests and counts what is reported. When it fails without naming a failed test, as
/// when a test does not compile or dies, that is one failed test.
pub(crate) fn counted(cmd: Cmd) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    let status = cmd.each_line(|line| tally += Tally::of_line(line))?;
    if !status.success() {
        tally.failed = tally.failed.max(1);
    }
    Ok(tally)
}

/// Every example must end by itself with success.
fn examples() -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    let members = workspace::members()?;
    let Some(package) = members.iter().find(|package| package.name == EXAMPLES) else {
        return Err(Failure(format!("there is no member {EXAMPLES}")));
    };
    for (kind, flag) in [("bin", "--bin"), ("example", "--example")] {
        for name in package.targets(kind) {
            let target = ["-p", EXAMPLES, "--all-features", flag, name];
            // Built first, so that the limit is on the example and not on the compiler.
            cargo(["build", "--quiet"]).args(target).run()?;
            let passed = cargo(["run", "--quiet"])
                .args(target)
                .within(EXAMPLE_LIMIT)?;
            tally += Tally::of_one(passed);
        }
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sh::program;

    fn shell(script: &str) -> Tally {
        counted(program("sh").args(["-c", script])).expect("sh runs")
    }

    #[test]
    fn reports_are_summed() {
        let result = "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out";
        let tally = shell(&format!("echo '{result}'; echo '{result}' >&2"));
        assert_eq!(tally.to_string(), "4 passed, 0 failed, 2 skipped");
    }

    #[test]
    fn a_runner_that_dies_is_a_failed_test() {
        let tally = shell("echo 'error: could not compile'; exit 101");
        assert_eq!(tally.to_string(), "0 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn a_named_package_replaces_the_workspace() {
        let scope = |arg: &str| scope(&[arg.to_owned()]);
        assert_eq!(scope("-pdsm-core"), ["--all-features"]);
        assert_eq!(scope("--package=dsm-core"), ["--all-features"]);
        assert_eq!(scope("envelope"), ["--workspace", "--all-features"]);
    }
}
