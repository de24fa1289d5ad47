//! `cargo xtask fuzz`: what reads bytes of strangers, fed with whatever makes it go new ways.
//!
//! libFuzzer on the stable toolchain: the compiler's own pass counts which ways are taken. A target that
//! crashes has failed, and so has one whose coverage does not grow, for then it tests nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::Failure;
use crate::sh::{cargo, program, root};

/// What makes the compiler count: edges, each with a counter of its own, and compared values.
const COVERAGE: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";
/// Named, so that build scripts and macros are built without the flags above.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// The longest input: more than a head, far less than a body may be.
const LONGEST: &str = "-max_len=4096";
/// One run of a target that takes longer has found something too.
const RUN_S: u32 = 10;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which target; all of them, one after the other, unless given
    target: Option<String>,
    /// For how long each
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(5..=86_400))]
    seconds: u32,
}

/// What a target has reported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Progress {
    /// Coverage with the seeds alone, and at the end.
    first: Option<u64>,
    last: Option<u64>,
    runs: Option<u64>,
}

impl Progress {
    /// Takes in a line of libFuzzer's, such as `#64 INITED cov: 12 ft: 13 …` and `Done 64 runs in …`.
    fn read(&mut self, line: &str) {
        let number_after = |word: &str| {
            let mut words = line.split_whitespace().skip_while(|found| *found != word);
            words.nth(1)?.parse().ok()
        };
        if line.contains("INITED") {
            self.first = number_after("cov:");
        }
        if let Some(coverage) = number_after("cov:") {
            self.last = Some(coverage);
        }
        if line.starts_with("Done ") {
            self.runs = number_after("Done");
        }
    }

    fn has_grown(self) -> bool {
        self.runs.is_some_and(|runs| runs > 0)
            && matches!((self.first, self.last), (Some(first), Some(last)) if first < last)
    }
}

pub(crate) fn main(args: &Args) -> Result<ExitCode, Failure> {
    let folder = root().join("fuzz");
    let all = targets(&folder)?;
    let chosen: Vec<&String> = match &args.target {
        None => all.iter().collect(),
        Some(name) => all.iter().filter(|target| *target == name).collect(),
    };
    if chosen.is_empty() {
        let all = all.join(", ");
        return Err(Failure(format!("there is no such target; there are {all}")));
    }
    build(&folder)?;
    let mut lines = Vec::new();
    let mut failed = false;
    for target in chosen {
        let (line, good) = run(&folder, target, args.seconds)?;
        lines.push(line);
        failed |= !good;
    }
    println!();
    for line in lines {
        println!("{line}");
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The names of the targets, each a file of its own.
fn targets(folder: &Path) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder.join("targets"))? {
        let path = entry?.path();
        let name = path.file_stem().map(|name| name.to_string_lossy());
        names.extend(name.map(std::borrow::Cow::into_owned));
    }
    names.sort();
    Ok(names)
}

fn build(folder: &Path) -> Result<(), Failure> {
    cargo(["build", "--release", "--target", TRIPLE, "--manifest-path"])
        .args([folder.join("Cargo.toml")])
        .args(["--target-dir".into(), built(folder)])
        .env("RUSTFLAGS", COVERAGE)
        .run()
}

fn built(folder: &Path) -> PathBuf {
    folder.join("target")
}

/// Runs one target; gives a line about it, and whether it is good.
fn run(folder: &Path, target: &str, seconds: u32) -> Result<(String, bool), Failure> {
    let binary = built(folder).join(TRIPLE).join("release").join(target);
    // Begun anew from the seeds each time, or there would be nothing left to grow by.
    let corpus = built(folder).join("corpus").join(target);
    let crashes = built(folder).join("crashes").join(target);
    if corpus.exists() {
        fs::remove_dir_all(&corpus)?;
    }
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&crashes)?;
    let mut progress = Progress::default();
    let status = program(&binary)
        .args([
            format!("-max_total_time={seconds}"),
            format!("-timeout={RUN_S}"),
            LONGEST.to_owned(),
            format!("-artifact_prefix={}/", crashes.display()),
        ])
        .args([corpus, folder.join("seeds").join(target)])
        .each_line(|line| progress.read(line))?;
    let count = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), |n| n.to_string());
    let good = status.success() && progress.has_grown();
    let verdict = match (status.success(), progress.has_grown()) {
        (true, true) => "ok".to_owned(),
        (true, false) => "FAILED: coverage does not grow".to_owned(),
        (false, _) => format!("FAILED: see {}", crashes.display()),
    };
    let line = format!(
        "{target:<10} {:>10} runs, coverage {:>6} -> {:>6}  {verdict}",
        count(progress.runs),
        count(progress.first),
        count(progress.last),
    );
    Ok((line, good))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_read_from_what_libfuzzer_says() {
        let mut progress = Progress::default();
        for line in [
            "INFO: Loaded 1 PC tables",
            "#7\tINITED cov: 120 ft: 130 corp: 5/90b exec/s: 0 rss: 30Mb",
            "#90\tNEW    cov: 121 ft: 133 corp: 6/95b exec/s: 0 rss: 30Mb L: 5/9 MS: 1 InsertByte-",
            "#4437190\tDONE   cov: 121 ft: 133 corp: 6/95b exec/s: 739531 rss: 27Mb",
            "Done 4437190 runs in 6 second(s)",
        ] {
            progress.read(line);
        }
        let expected = Progress {
            first: Some(120),
            last: Some(121),
            runs: Some(4_437_190),
        };
        assert_eq!(progress, expected);
        assert!(progress.has_grown());
        let stuck = Progress {
            last: Some(120),
            ..expected
        };
        assert!(!stuck.has_grown());
        assert!(!Progress::default().has_grown());
    }

    #[test]
    fn every_target_has_seeds() {
        let folder = root().join("fuzz");
        for target in targets(&folder).expect("targets") {
            let seeds = fs::read_dir(folder.join("seeds").join(&target));
            assert!(seeds.is_ok_and(|seeds| seeds.count() > 0), "{target}");
        }
    }
}
