//! `cargo xtask bench`: micro benchmarks and the load run.

use std::process::ExitCode;

use clap::ValueEnum;

use crate::Failure;
use crate::install;
use crate::sh::cargo;
use crate::workspace::{self, Package};

/// The member and binary that put a server under load.
const LOAD: (&str, &str) = ("dsm-tests", "dsm-bench");

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these
    #[arg(long, value_enum)]
    only: Option<What>,
    /// Passed to what is run, such as `--only micro -- --quick seal`
    #[arg(last = true)]
    args: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Criterion benchmarks of the crates
    Micro,
    /// HTTP requests against a server of this machine
    Load,
    /// Reads and writes of every store
    Stores,
    /// Reads that are sealed to a client's key
    Sealing,
    /// Claims and rotations of every store
    Rotations,
}

pub(crate) fn main(args: &Args) -> Result<ExitCode, Failure> {
    if args.only.is_none() && !args.args.is_empty() {
        return Err(Failure(
            "arguments mean different things to the benchmarks: choose one with --only".to_owned(),
        ));
    }
    let chosen = |what| args.only.is_none_or(|only| only == what);
    let members = workspace::members()?;
    if chosen(What::Micro) {
        micro(&members, &args.args)?;
    }
    if chosen(What::Load) {
        load(&members, &args.args, args.only.is_some())?;
    }
    if chosen(What::Stores) {
        install::debian_programs();
        build_server()?;
        in_process("--stores", &args.args)?;
    }
    if chosen(What::Sealing) {
        in_process("--sealing", &args.args)?;
    }
    if chosen(What::Rotations) {
        install::debian_programs();
        bench(LOAD.0, "rotations", &args.args)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn in_process(what: &str, args: &[String]) -> Result<(), Failure> {
    let (member, binary) = LOAD;
    cargo([
        "run",
        "--release",
        "-p",
        member,
        "--bin",
        binary,
        "--",
        what,
    ])
    .args(args)
    .run()
}

fn micro(members: &[Package], args: &[String]) -> Result<(), Failure> {
    for package in members.iter().filter(|package| package.name != LOAD.0) {
        for name in package.targets("bench") {
            bench(&package.name, name, args)?;
        }
    }
    Ok(())
}

fn bench(package: &str, name: &str, args: &[String]) -> Result<(), Failure> {
    cargo(["bench", "-p", package, "--bench", name, "--"])
        .args(args)
        .run()
}

fn load(members: &[Package], args: &[String], asked_for: bool) -> Result<(), Failure> {
    let (member, binary) = LOAD;
    let there = members
        .iter()
        .any(|package| package.name == member && package.targets("bin").any(|name| name == binary));
    if !there {
        let absent = format!("the load run is left out: {member} has no binary {binary}");
        if asked_for {
            return Err(Failure(absent));
        }
        println!("{absent}");
        return Ok(());
    }
    build_server()?;
    cargo(["run", "--release", "-p", member, "--bin", binary, "--"])
        .args(args)
        .run()
}

/// The server that both runs start, with every store.
fn build_server() -> Result<(), Failure> {
    let server = ["-p", "dsm-server", "--all-features", "--bins"];
    cargo(["build", "--release"]).args(server).run()
}
