//! How long one caller waits, by turn.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use crate::report::median;

/// How long each read took, in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    turns: Vec<Vec<f64>>,
}

impl Waits {
    pub(crate) fn add(&mut self, turn: &[Duration]) {
        let turn = turn.iter().map(|took| took.as_secs_f64() * 1e3);
        self.turns.push(turn.collect());
    }

    pub(crate) fn count(&self) -> usize {
        self.turns.iter().map(Vec::len).sum()
    }

    /// The median of all reads, and the medians of the turns.
    pub(crate) fn spread(&self) -> Spread {
        Spread::new(self.median(), self.medians().collect())
    }

    fn median(&self) -> f64 {
        median(self.turns.concat())
    }

    fn medians(&self) -> impl Iterator<Item = f64> {
        self.turns.iter().map(|turn| median(turn.clone()))
    }
}

/// A figure, and between what it was in the middle half of the turns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    whole: f64,
    low: f64,
    high: f64,
}

impl Spread {
    fn new(whole: f64, mut turns: Vec<f64>) -> Self {
        turns.sort_by(f64::total_cmp);
        let at = |quarter: usize| turns.get(turns.len() * quarter / 4).copied();
        Self {
            whole,
            low: at(1).unwrap_or(f64::NAN),
            high: at(3).unwrap_or(f64::NAN),
        }
    }

    /// Of the medians of all reads, and of those of the turns beside each other.
    pub(crate) fn of_ratios(one: &Waits, other: &Waits) -> Self {
        let pairs = one.medians().zip(other.medians());
        Self::new(
            one.median() / other.median(),
            pairs.map(|(one, other)| one / other).collect(),
        )
    }
}

/// With the precision that is asked for.
impl Display for Spread {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.whole.fmt(f)?;
        f.write_str(" (")?;
        self.low.fmt(f)?;
        f.write_str("–")?;
        self.high.fmt(f)?;
        f.write_str(")")
    }
}
