//! The two streams of a command.

use std::fmt;
use std::io::{self, Write as _};

use super::Failure;

/// One line on standard error. Nothing is left to be done where that is closed.
pub(super) fn note(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Lines on standard output, all of them or an error.
pub(super) fn say(lines: impl fmt::Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{lines}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::io("standard output cannot be written", &error))
}
