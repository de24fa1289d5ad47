//! When: the next renewal, the next try, the end of an overlap.

use std::time::Duration;

use chrono::TimeDelta;

use crate::secret::RenewalInterval;
use crate::time::Timestamp;

/// The first wait after a failure; it doubles with each that follows.
const FIRST_WAIT: Duration = Duration::from_secs(10);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// When a renewal is due that was last done at `from`: within the last tenth of the interval, at a
/// place that `chance` picks, so that secrets that were made together do not come due together and
/// none comes late.
pub fn next_due(from: Timestamp, interval: RenewalInterval, chance: u64) -> Timestamp {
    let whole = i64::from(interval.minutes()) * 60_000;
    let early = portion(whole / 10, chance);
    from + TimeDelta::milliseconds(whole - early)
}

/// When something that failed `failures` times in a row is tried again: after 10 s, 20 s, 40 s and
/// so on up to an hour, less up to half of it as `chance` picks.
pub fn next_try(now: Timestamp, failures: u32, chance: u64) -> Timestamp {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
    let wait = FIRST_WAIT.saturating_mul(doubled).min(LONGEST_WAIT);
    let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
    now + TimeDelta::milliseconds(wait - portion(wait / 2, chance))
}

/// How long the old credential stays good: as configured or asked for, and no longer than until the
/// next renewal may begin.
pub fn overlap(configured: Duration, interval: Option<RenewalInterval>) -> Duration {
    let interval = interval.map(|interval| Duration::from_mins(u64::from(interval.minutes())));
    interval.map_or(configured, |interval| configured.min(interval * 9 / 10))
}

/// From nothing to the whole, by chance.
fn portion(whole: i64, chance: u64) -> i64 {
    let part = i128::from(whole) * i128::from(chance) / i128::from(u64::MAX);
    i64::try_from(part).expect("a part of the whole is no larger")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{Entropy, OsEntropy};

    fn start() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn chance() -> u64 {
        let entropy: &dyn Entropy = &OsEntropy;
        u64::from_be_bytes(entropy.array())
    }

    #[test]
    fn a_thousand_secrets_do_not_come_due_in_one_second() {
        let interval = RenewalInterval::from_minutes(10).unwrap();
        let mut seconds = [0_u32; 601];
        for _ in 0..1_000 {
            let due = next_due(start(), interval, chance()) - start();
            assert!((540..=600).contains(&due.num_seconds()), "{due}");
            seconds[usize::try_from(due.num_seconds()).unwrap()] += 1;
        }
        let most = seconds.into_iter().max().unwrap();
        assert!(most < 60, "{most} come due in one second");
    }

    #[test]
    fn the_bounds_of_chance_are_the_bounds_of_time() {
        let year = RenewalInterval::from_minutes(525_600).unwrap();
        assert_eq!(next_due(start(), year, 0) - start(), TimeDelta::days(365));
        let earliest = next_due(start(), year, u64::MAX) - start();
        assert_eq!(earliest, TimeDelta::minutes(525_600 * 9 / 10));
    }

    #[test]
    fn tries_come_ever_later_up_to_an_hour() {
        for (failures, seconds) in [
            (0, 10),
            (1, 10),
            (2, 20),
            (5, 160),
            (10, 3_600),
            (u32::MAX, 3_600),
        ] {
            let latest = next_try(start(), failures, 0) - start();
            assert_eq!(latest, TimeDelta::seconds(seconds), "{failures}");
            let earliest = next_try(start(), failures, u64::MAX) - start();
            assert_eq!(earliest, TimeDelta::seconds(seconds / 2), "{failures}");
        }
    }

    #[test]
    fn an_overlap_ends_before_the_next_renewal() {
        let hour = Duration::from_hours(1);
        let ten = RenewalInterval::from_minutes(10).unwrap();
        assert_eq!(overlap(hour, None), hour);
        assert_eq!(overlap(hour, Some(ten)), Duration::from_mins(9));
        assert_eq!(overlap(Duration::ZERO, Some(ten)), Duration::ZERO);
    }
}
