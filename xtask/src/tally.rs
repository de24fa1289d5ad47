//! Counting what the test runners report.

use std::fmt;
use std::ops::AddAssign;

/// Whose output it is. Nextest repeats what a failed test printed, libtest's closing line included,
/// so a line counts only if it is the runner's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runner {
    /// `cargo test`, doctests as well.
    Libtest,
    /// `cargo nextest run`.
    Nextest,
}

/// How many tests passed, failed and were not run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    /// What one line of a runner's output says: its closing line, and nothing for any other.
    pub(crate) fn of_line(runner: Runner, line: &str) -> Self {
        let line = plain(line);
        let line = line.trim_start();
        match runner {
            // `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s`
            Runner::Libtest => line
                .strip_prefix("test result: ")
                .map(|result| Self::of_counts(result.split(['.', ';']))),
            // ` 1.2s] 9 tests run: 7 passed (1 slow), 1 failed, 1 timed out, 2 skipped`; when a run
            // is cut short, `5/9 tests run: …`.
            Runner::Nextest => line
                .strip_prefix("Summary [")
                .and_then(|summary| summary.split_once(" run: "))
                .map(|(_, counts)| Self::of_counts(counts.split(','))),
        }
        .unwrap_or_default()
    }

    fn of_counts<'a>(counts: impl Iterator<Item = &'a str>) -> Self {
        let mut tally = Self::default();
        for count in counts {
            let mut words = count.split_whitespace();
            let Some(number) = words.next().and_then(|word| word.parse::<u64>().ok()) else {
                continue;
            };
            match words.next() {
                Some("passed") => tally.passed += number,
                Some("failed" | "timed" | "exec") => tally.failed += number,
                Some("ignored" | "filtered" | "skipped") => tally.skipped += number,
                _ => {}
            }
        }
        tally
    }

    /// One that passed or failed.
    pub(crate) fn of_one(passed: bool) -> Self {
        Self {
            passed: u64::from(passed),
            failed: u64::from(!passed),
            skipped: 0,
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// The line without the terminal's colour codes.
fn plain(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, code)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        rest = code.split_once('m').map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(passed: u64, failed: u64, skipped: u64) -> Tally {
        Tally {
            passed,
            failed,
            skipped,
        }
    }

    #[test]
    fn libtest_is_counted() {
        for (line, expected) in [
            (
                "test result: ok. 31 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.12s",
                tally(31, 0, 3),
            ),
            (
                "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.12s",
                tally(1, 2, 0),
            ),
            (
                "test result: \x1b[32mok\x1b[0m. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
                tally(4, 0, 0),
            ),
        ] {
            assert_eq!(Tally::of_line(Runner::Libtest, line), expected, "{line}");
        }
    }

    #[test]
    fn nextest_is_counted() {
        for (line, expected) in [
            (
                "     Summary [   0.210s] 33 tests run: 33 passed, 0 skipped",
                tally(33, 0, 0),
            ),
            (
                "     Summary [   9.001s] 9 tests run: 5 passed (1 slow, 1 leaky), 2 failed, 1 timed out, 1 exec failed, 4 skipped",
                tally(5, 4, 4),
            ),
            (
                "     Summary [   0.001s] 3/9 tests run: 2 passed, 1 failed, 0 skipped",
                tally(2, 1, 0),
            ),
            (
                "\x1b[32;1m     Summary\x1b[0m [   0.013s] \x1b[1m1\x1b[0m test run: \x1b[1m1\x1b[0m \x1b[32;1mpassed\x1b[0m, \x1b[1m0\x1b[0m \x1b[33;1mskipped\x1b[0m",
                tally(1, 0, 0),
            ),
        ] {
            assert_eq!(Tally::of_line(Runner::Nextest, line), expected, "{line:?}");
        }
    }

    #[test]
    fn other_lines_count_nothing() {
        let of_the_other_runner = [
            (Runner::Nextest, "test result: ok. 3 passed; 0 failed"),
            (
                Runner::Libtest,
                "Summary [ 0.2s] 3 tests run: 3 passed, 0 skipped",
            ),
        ];
        let of_none = [
            "",
            "test tests::passed ... ok",
            "running 3 tests",
            "3 passed",
        ];
        let of_none = of_none.map(|line| (Runner::Libtest, line));
        for (runner, line) in of_the_other_runner.into_iter().chain(of_none) {
            assert_eq!(Tally::of_line(runner, line), Tally::default(), "{line}");
        }
    }

    #[test]
    fn the_last_line_reads_as_promised() {
        assert_eq!(tally(3, 0, 1).to_string(), "3 passed, 0 failed, 1 skipped");
    }
}
