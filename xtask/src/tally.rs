//! Counting what the test runner reports.

use std::fmt;
use std::ops::AddAssign;

/// How many tests passed, failed and were not run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    /// What one line of the output of `cargo test` says: its closing line, and nothing for any other.
    pub(crate) fn of_line(line: &str) -> Self {
        let line = plain(line);
        // `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s`
        line.trim_start()
            .strip_prefix("test result: ")
            .map(|result| Self::of_counts(result.split(['.', ';'])))
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
                Some("failed") => tally.failed += number,
                Some("ignored" | "filtered") => tally.skipped += number,
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
            assert_eq!(Tally::of_line(line), expected, "{line}");
        }
    }

    #[test]
    fn other_lines_count_nothing() {
        for line in [
            "",
            "test tests::passed ... ok",
            "running 3 tests",
            "3 passed",
            "Summary [ 0.2s] 3 tests run: 3 passed, 0 skipped",
        ] {
            assert_eq!(Tally::of_line(line), Tally::default(), "{line}");
        }
    }

    #[test]
    fn the_last_line_reads_as_promised() {
        assert_eq!(tally(3, 0, 1).to_string(), "3 passed, 0 failed, 1 skipped");
    }
}
