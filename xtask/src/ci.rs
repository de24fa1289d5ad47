//! `cargo xtask ci`: what a change must pass.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::install::{DENY, HACK};
use crate::sh::cargo;
use crate::tally::Tally;
use crate::test::{self, report};
use crate::workspace::{self, Package};

/// How a step ended.
enum Outcome {
    Passed,
    /// Could not be done here, which is no fault of the change.
    NotChecked(String),
    Failed(String),
}

type Step = (&'static str, fn() -> Result<Outcome, Failure>);

/// The steps before the tests, quick ones first.
const STEPS: &[Step] = &[
    ("format", format),
    ("toolchain", toolchain),
    ("clippy", clippy),
    ("features", features),
    ("docs", docs),
    ("dependencies", dependencies),
    ("advisories", advisories),
];

/// Runs every step, whatever became of those before, and lists them at the end. A failed step
/// counts as one failed test, so that the closing line never says less than the exit code.
pub(crate) fn main() -> ExitCode {
    let mut done: Vec<(&str, Outcome, Duration)> = Vec::new();
    let mut tally = Tally::default();
    for (name, step) in STEPS {
        println!("\n== {name}");
        let start = Instant::now();
        let outcome = step().unwrap_or_else(|Failure(reason)| Outcome::Failed(reason));
        if let Outcome::Failed(reason) = &outcome {
            eprintln!("error: {reason}");
            tally += Tally::of_one(false);
        }
        done.push((name, outcome, start.elapsed()));
    }

    println!("\n== tests");
    let start = Instant::now();
    let tests = test::run(&[]);
    let outcome = match tests.failed {
        0 => Outcome::Passed,
        _ => Outcome::Failed(tests.to_string()),
    };
    done.push(("tests", outcome, start.elapsed()));
    tally += tests;

    println!("\n== steps");
    for (name, outcome, took) in &done {
        let (mark, detail) = match outcome {
            Outcome::Passed => ("ok", ""),
            Outcome::NotChecked(reason) => ("NOT CHECKED", reason.as_str()),
            Outcome::Failed(reason) => ("FAILED", reason.as_str()),
        };
        let line = format!("{name:<14}{:>7.1} s  {mark}  {detail}", took.as_secs_f64());
        println!("{}", line.trim_end());
    }
    report(tally)
}

fn format() -> Result<Outcome, Failure> {
    cargo(["fmt", "--all", "--check"]).run()?;
    Ok(Outcome::Passed)
}

fn clippy() -> Result<Outcome, Failure> {
    cargo(["clippy", "--workspace", "--all-targets", "--all-features"])
        .args(["--", "-D", "warnings"])
        .run()?;
    Ok(Outcome::Passed)
}

/// The library as embedders take it, without the features that the workspace as a whole turns on,
/// and the server with every choice of stores.
fn features() -> Result<Outcome, Failure> {
    cargo(["clippy", "-p", "dsm-core", "--no-default-features"])
        .args(["--", "-D", "warnings"])
        .run()?;
    HACK.ensure()?;
    cargo(["hack", "clippy", "-p", "dsm-server", "--feature-powerset"])
        .args(["--exclude-features", "default", "--", "-D", "warnings"])
        .run()?;
    Ok(Outcome::Passed)
}

fn docs() -> Result<Outcome, Failure> {
    cargo(["doc", "--workspace", "--all-features", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()?;
    Ok(Outcome::Passed)
}

/// Every member states the same oldest toolchain, no dependency asks for a newer one, and the one
/// in use is not older. Cargo refuses to build otherwise, but only for what it builds here.
fn toolchain() -> Result<Outcome, Failure> {
    let members = workspace::members()?;
    let stated = stated(&members)?;
    let used = cargo(["--version"]).read()?;
    let used = used.split_whitespace().nth(1).unwrap_or_default();
    if number(used) < number(&stated) {
        return Err(Failure(format!(
            "the toolchain is {used}, older than {stated}"
        )));
    }
    let newer: Vec<String> = workspace::locked_graph()?
        .into_iter()
        .filter_map(|package| Some((package.name, package.rust_version?)))
        .filter(|(_, wanted)| number(wanted) > number(&stated))
        .map(|(name, wanted)| format!("{name} needs {wanted}"))
        .collect();
    if !newer.is_empty() {
        return Err(Failure(format!(
            "rust-version is {stated}, but {}",
            newer.join(", ")
        )));
    }
    println!("rust-version {stated}, toolchain {used}");
    Ok(Outcome::Passed)
}

/// The `rust-version` that all members state.
fn stated(members: &[Package]) -> Result<String, Failure> {
    let mut stated: Option<&str> = None;
    for Package {
        name, rust_version, ..
    } in members
    {
        let Some(version) = rust_version else {
            return Err(Failure(format!("{name} states no rust-version")));
        };
        if stated.is_some_and(|stated| stated != version) {
            return Err(Failure(format!(
                "{name} states another rust-version, {version}"
            )));
        }
        stated = Some(version);
    }
    stated
        .map(str::to_owned)
        .ok_or_else(|| Failure("the workspace has no members".to_owned()))
}

/// `1.95` and `1.95.0-nightly` as numbers that compare.
fn number(version: &str) -> (u64, u64, u64) {
    let plain = version.split(['-', '+']).next().unwrap_or_default();
    let mut parts = plain.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

fn dependencies() -> Result<Outcome, Failure> {
    DENY.ensure()?;
    cargo([
        "deny",
        "--all-features",
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ])
    .run()?;
    Ok(Outcome::Passed)
}

/// The advisory database is fetched first and by itself: that it cannot be reached says nothing
/// about the dependencies.
fn advisories() -> Result<Outcome, Failure> {
    DENY.ensure()?;
    let fetched = cargo(["deny", "fetch", "db"]).within(Duration::from_mins(2))?;
    if !fetched {
        let reason = "the advisory database cannot be reached".to_owned();
        println!("ADVISORIES WERE NOT CHECKED: {reason}");
        return Ok(Outcome::NotChecked(reason));
    }
    cargo(["deny", "--all-features", "check", "advisories"]).run()?;
    Ok(Outcome::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(number("1.100") > number("1.95.1"));
        assert_eq!(number("1.95"), number("1.95.0-nightly"));
        assert!(number("1.94.2") < number("1.95"));
    }

    #[test]
    fn the_workspace_states_one_rust_version() {
        let members = workspace::members().expect("cargo metadata answers");
        assert_eq!(
            stated(&members).expect("one version"),
            env!("CARGO_PKG_RUST_VERSION")
        );
    }
}
