//! The life of a lease.
//!
//! ```text
//! Pending ──▶ Active ──▶ Ending ──▶ Ended
//!    │                    ▲  │ ▲       │
//!    └─── given up ───────┘  ▼ └───────┘ its account was found on the target after all
//!                      NeedsOperator
//! ```
//!
//! 1. A lease is committed as `Pending`, with the name of its account and how that is removed,
//!    before the target hears of it. Whoever makes the account may die at any time: a pending lease
//!    that nobody serves is given up when its time to be made is over.
//! 2. `Active` comes with the commit by which readers are served the account, after it logged in.
//! 3. It ends at its time, or when somebody asks. An account that is gone already counts as removed.
//! 4. What cannot be reached is waited for, for ever; what refuses is tried five times, then an
//!    operator is called. Whatever fails, a lease is not forgotten before its account is gone.

use serde::{Deserialize, Serialize};

use crate::renewal::{Failure, MAX_REFUSALS};

/// Where a lease is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LeaseState {
    /// The account is being made, or its maker has died.
    Pending,
    /// The account is served.
    Active,
    /// The account is to be removed.
    Ending,
    /// The account is gone. The end.
    Ended,
    /// The target refuses to remove the account.
    NeedsOperator,
}

impl LeaseState {
    /// Whether there may be an account.
    pub fn is_live(self) -> bool {
        self != Self::Ended
    }
}

/// Where a lease is, and how often its end has failed in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseProgress {
    /// Where it is.
    pub state: LeaseState,
    /// How often removing the account failed.
    #[serde(default)]
    pub failures: u32,
    /// How often of these the target refused.
    #[serde(default)]
    pub refusals: u32,
}

/// What happens to a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseEvent {
    /// Readers are served the account.
    Served,
    /// It is to end: its time is over, it was given up, somebody asked, or its account was found on
    /// the target after its end.
    Over,
    /// The account is gone.
    Removed,
    /// Removing the account failed.
    Failed(Failure),
}

impl LeaseProgress {
    /// Where every lease begins.
    pub const START: Self = Self::at(LeaseState::Pending);

    const fn at(state: LeaseState) -> Self {
        Self {
            state,
            failures: 0,
            refusals: 0,
        }
    }

    /// Where it is after an event. What cannot happen there changes nothing.
    #[must_use]
    pub fn after(self, event: LeaseEvent) -> Self {
        use LeaseState as State;
        match (self.state, event) {
            (State::Pending, LeaseEvent::Served) => Self::at(State::Active),
            (State::Ending, LeaseEvent::Over) => self,
            (_, LeaseEvent::Over) => Self::at(State::Ending),
            (State::Ending, LeaseEvent::Removed) => Self::at(State::Ended),
            (State::Ending, LeaseEvent::Failed(failure)) => self.failed(failure),
            _ => self,
        }
    }

    fn failed(mut self, failure: Failure) -> Self {
        self.failures = self.failures.saturating_add(1);
        if failure == Failure::Refused {
            self.refusals += 1;
        }
        if self.refusals >= MAX_REFUSALS {
            self.state = LeaseState::NeedsOperator;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event() -> impl Strategy<Value = LeaseEvent> {
        prop_oneof![
            Just(LeaseEvent::Served),
            Just(LeaseEvent::Over),
            Just(LeaseEvent::Removed),
            Just(LeaseEvent::Failed(Failure::Refused)),
            Just(LeaseEvent::Failed(Failure::Unavailable)),
            Just(LeaseEvent::Failed(Failure::OutcomeUnknown)),
        ]
    }

    proptest! {
        #[test]
        fn a_lease_ends_by_its_removal_only_and_is_served_once(
            events in proptest::collection::vec(event(), 0..40),
        ) {
            let mut lease = LeaseProgress::START;
            let mut served = 0;
            for event in events {
                let next = lease.after(event);
                if next.state == LeaseState::Ended && lease.state != LeaseState::Ended {
                    prop_assert_eq!(event, LeaseEvent::Removed);
                    prop_assert_eq!(lease.state, LeaseState::Ending);
                }
                if next.state == LeaseState::Active && lease.state != LeaseState::Active {
                    prop_assert_eq!(lease.state, LeaseState::Pending);
                    served += 1;
                }
                lease = next;
            }
            prop_assert!(served <= 1);
        }
    }

    #[test]
    fn refusals_end_at_an_operator_and_absence_never() {
        let ending = LeaseProgress::START.after(LeaseEvent::Over);
        let mut lease = ending;
        for _ in 0..1_000 {
            lease = lease.after(LeaseEvent::Failed(Failure::Unavailable));
        }
        assert_eq!((lease.state, lease.failures), (LeaseState::Ending, 1_000));
        for count in 1..=MAX_REFUSALS {
            assert_eq!(lease.state, LeaseState::Ending, "{count}");
            lease = lease.after(LeaseEvent::Failed(Failure::Refused));
        }
        assert_eq!(lease.state, LeaseState::NeedsOperator);
        assert!(lease.state.is_live());
        assert_eq!(lease.after(LeaseEvent::Over), ending, "asked again");
    }
}
