//! The state machine of one renewal.
//!
//! ```text
//! Idle ──▶ Planned ──▶ Applied ──▶ Verified ──▶ Promoted ──▶ Retired
//!             ▲  │                    ▲
//!             │  └──── found to ──────┘        RetryWait: after a failure, until it is tried again
//!             │     log in already             NeedsOperator: until somebody settles it
//!           probe                              Withdrawn: settled, the current one stays
//! ```
//!
//! 1. The candidate is committed before the target is touched: `Plan` ends with a commit, and only
//!    `Planned` leads to `Change`. Where the target makes the key, what is committed is the intent
//!    with the keys known so far, and a key that nobody knows is removed before another is asked for.
//! 2. What is served is changed only when it stands alone; that is the plan's part, not the state's.
//! 3. Only a log-in leads to `Verified`, and only `Verified` to `Promote`.
//! 4. `Promote` is one commit, guarded by the secret's revision and the lease's generation.
//! 5. Whoever takes over trusts no step of another: from `Planned`, `Applied` and `Verified` it goes
//!    on by a probe of candidate, current and previous. When none of them logs in, an operator is
//!    called and nothing is thrown away.
//! 6. `Retire` comes after the overlap.
//! 7. Refusals are counted and end at an operator; what is unavailable is waited for, for ever;
//!    an unknown outcome is probed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::provider::ProviderError;

/// How often a target may refuse before an operator is called.
pub const MAX_REFUSALS: u32 = 5;

/// Where a renewal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Asked for; nothing is prepared.
    Idle,
    /// The candidate is committed. The target may have been touched.
    Planned,
    /// The target said that it took the candidate.
    Applied,
    /// The candidate logged in.
    Verified,
    /// The candidate is served. The old one is good until the overlap is over.
    Promoted,
    /// The old one is retired. The end.
    Retired,
    /// Something failed; it goes on with this stage later.
    RetryWait(Stage),
    /// Somebody has to settle it; it stopped in this stage.
    NeedsOperator(Stage),
    /// An operator settled that the current credential stays. The end.
    Withdrawn,
}

/// What there is to do, in the large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "RotationStage")
)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Prepare a candidate.
    Plan,
    /// Get the target to take it, and promote it.
    Change,
    /// Retire the old one.
    Retire,
}

/// A state with what is counted beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Where it is.
    pub state: State,
    /// How often the target refused in this stage.
    pub refusals: u32,
    /// How often in a row something else failed.
    pub failures: u32,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A worker takes it up: for the first time, after a wait or an overlap, or after another one.
    Begin,
    /// The candidate is committed.
    Planned,
    /// The target says that it took the candidate.
    Changed,
    /// The first of candidate, current and previous that the target accepts.
    Found(Found),
    /// The credential in question logged in.
    LoggedIn,
    /// The target answered and did not let it in.
    Rejected,
    /// The candidate is served.
    Promoted,
    /// The old one does not work any more.
    Retired,
    /// The target has nothing of the candidate left.
    Withdrawn,
    /// A call failed.
    Failed(Failure),
    /// An operator decided.
    Settle(Settle),
}

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The candidate logs in.
    Candidate,
    /// The credential that is served logs in, or none is served yet.
    Current,
    /// The one that was served before logs in.
    Previous,
    /// None of them does.
    Nothing,
}

/// Why a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "TargetFailure")
)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The target will not.
    Refused,
    /// The target cannot be reached.
    Unavailable,
    /// It is not known whether it did.
    OutcomeUnknown,
}

impl Failure {
    /// As error histories name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }
}

impl From<&ProviderError> for Failure {
    fn from(error: &ProviderError) -> Self {
        match error {
            ProviderError::Refused(_) => Self::Refused,
            ProviderError::Unavailable(_) => Self::Unavailable,
            ProviderError::OutcomeUnknown(_) => Self::OutcomeUnknown,
        }
    }
}

/// How an operator settles it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "RotationDecision")
)]
#[serde(rename_all = "snake_case")]
pub enum Settle {
    /// Once more.
    Retry,
    /// The candidate is the right one: promote it, if it logs in.
    AcceptCandidate,
    /// The current one is the right one: forget the candidate, if the current one logs in.
    AcceptCurrent,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Prepare a candidate and commit it.
    Plan,
    /// Log in with candidate, current and previous, and remove keys that nobody knows.
    Probe,
    /// Have the target take the candidate.
    Change,
    /// Log in with the candidate.
    LogIn,
    /// Serve the candidate.
    Promote,
    /// Come back when the overlap is over.
    WaitOverlap,
    /// Make the old one stop working.
    Retire,
    /// Come back after a failure.
    WaitRetry,
    /// Say what was tried, and wait for somebody.
    CallOperator,
    /// Log in with the current credential.
    CheckCurrent,
    /// Remove what the target has of the candidate.
    Withdraw,
    /// It is over.
    End,
    /// The event is none of this state's.
    Nothing,
}

impl Stage {
    /// The decisions that lead on when an operator is waited for in this stage.
    pub fn decisions(self) -> &'static [Settle] {
        match self {
            // Nothing is prepared that could be accepted.
            Self::Plan => &[Settle::Retry, Settle::AcceptCurrent],
            Self::Change | Self::Retire => &[
                Settle::Retry,
                Settle::AcceptCandidate,
                Settle::AcceptCurrent,
            ],
        }
    }
}

impl fmt::Display for Settle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Retry => "retry",
            Self::AcceptCandidate => "accept_candidate",
            Self::AcceptCurrent => "accept_current",
        })
    }
}

impl State {
    /// Whether nothing is left to do.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Retired | Self::Withdrawn)
    }

    /// Whether the candidate is served.
    pub fn is_promoted(self) -> bool {
        self.stage() == Some(Stage::Retire) || self == Self::Retired
    }

    /// What there is to do; none when it is over.
    pub fn stage(self) -> Option<Stage> {
        match self {
            Self::Idle => Some(Stage::Plan),
            Self::Planned | Self::Applied | Self::Verified => Some(Stage::Change),
            Self::Promoted => Some(Stage::Retire),
            Self::RetryWait(stage) | Self::NeedsOperator(stage) => Some(stage),
            Self::Retired | Self::Withdrawn => None,
        }
    }
}

impl Progress {
    /// A renewal that is asked for.
    pub const START: Self = Self::at(State::Idle);

    const fn at(state: State) -> Self {
        Self {
            state,
            refusals: 0,
            failures: 0,
        }
    }

    fn to(self, state: State) -> Self {
        Self { state, ..self }
    }
}

/// The next state, and what to do in it.
#[allow(
    clippy::match_same_arms,
    reason = "one line for each thing that can happen"
)]
pub fn step(progress: Progress, event: Event) -> (Progress, Effect) {
    use Event::{Begin, Failed, LoggedIn, Rejected};
    use State::{Applied, Idle, NeedsOperator, Planned, Promoted, Retired, Verified, Withdrawn};
    let state = progress.state;
    match (state, event) {
        // An end is an end, and whoever has been called is waited for.
        (Retired | Withdrawn, _) | (NeedsOperator(_), Begin) => (progress, Effect::Nothing),

        // Straight on.
        (Idle, Event::Planned) => (Progress::at(Planned), Effect::Change),
        (Planned, Event::Changed) => (progress.to(Applied), Effect::LogIn),
        (Applied, LoggedIn) => (progress.to(Verified), Effect::Promote),
        (Verified, Event::Promoted) => (Progress::at(Promoted), Effect::WaitOverlap),
        (Promoted, Event::Retired) => (progress.to(Retired), Effect::End),

        // Taken up: trust what is committed, and nothing else.
        (_, Begin) => resume(progress),
        (Planned, Event::Found(Found::Candidate)) => (progress.to(Verified), Effect::Promote),
        (Planned, Event::Found(Found::Current | Found::Previous)) => (progress, Effect::Change),
        (Planned, Event::Found(Found::Nothing)) => call_operator(progress, Stage::Change),

        // An operator decides; what is to be served has to log in all the same.
        (NeedsOperator(_), Event::Settle(Settle::Retry)) => resume(Progress::at(state)),
        (NeedsOperator(Stage::Change), Event::Settle(Settle::AcceptCandidate)) => {
            let last = Progress {
                refusals: MAX_REFUSALS - 1,
                ..Progress::at(Applied)
            };
            (last, Effect::LogIn)
        }
        (NeedsOperator(Stage::Retire), Event::Settle(_)) => (progress.to(Retired), Effect::End),
        (NeedsOperator(_), Event::Settle(Settle::AcceptCurrent)) => {
            (progress, Effect::CheckCurrent)
        }
        (NeedsOperator(Stage::Plan | Stage::Change), LoggedIn) => (progress, Effect::Withdraw),
        (NeedsOperator(Stage::Plan | Stage::Change), Event::Withdrawn) => {
            (progress.to(Withdrawn), Effect::End)
        }
        (NeedsOperator(stage), Rejected | Failed(_)) => call_operator(progress, stage),

        // Failures.
        (Applied, Rejected) => refused(progress, Stage::Change),
        (Planned, Failed(Failure::OutcomeUnknown)) if progress.failures == 0 => {
            // What is served may not log in any more: find out at once.
            let once = Progress {
                failures: 1,
                ..progress
            };
            (once, Effect::Probe)
        }
        (Idle | Planned | Applied | Verified | Promoted, Failed(failure)) => {
            let stage = state.stage().expect("none of these is an end");
            match failure {
                Failure::Refused => refused(progress, stage),
                Failure::Unavailable | Failure::OutcomeUnknown => wait(progress, stage),
            }
        }

        _ => (progress, Effect::Nothing),
    }
}

fn resume(progress: Progress) -> (Progress, Effect) {
    match progress.state.stage() {
        Some(Stage::Plan) => (progress.to(State::Idle), Effect::Plan),
        Some(Stage::Change) => (progress.to(State::Planned), Effect::Probe),
        Some(Stage::Retire) => (progress.to(State::Promoted), Effect::Retire),
        None => (progress, Effect::Nothing),
    }
}

fn refused(progress: Progress, stage: Stage) -> (Progress, Effect) {
    let counted = Progress {
        refusals: progress.refusals + 1,
        ..progress
    };
    if counted.refusals >= MAX_REFUSALS {
        call_operator(counted, stage)
    } else {
        (counted.to(State::RetryWait(stage)), Effect::WaitRetry)
    }
}

fn wait(progress: Progress, stage: Stage) -> (Progress, Effect) {
    let counted = Progress {
        failures: progress.failures.saturating_add(1),
        ..progress
    };
    (counted.to(State::RetryWait(stage)), Effect::WaitRetry)
}

fn call_operator(progress: Progress, stage: Stage) -> (Progress, Effect) {
    (
        progress.to(State::NeedsOperator(stage)),
        Effect::CallOperator,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(events: &[Event]) -> (Progress, Effect) {
        let mut now = (Progress::START, Effect::Nothing);
        for event in events {
            now = step(now.0, *event);
        }
        now
    }

    const TO_PLANNED: [Event; 2] = [Event::Begin, Event::Planned];

    #[test]
    fn nothing_fails_and_it_goes_straight_on() {
        let straight = [
            (Event::Begin, Effect::Plan),
            (Event::Planned, Effect::Change),
            (Event::Changed, Effect::LogIn),
            (Event::LoggedIn, Effect::Promote),
            (Event::Promoted, Effect::WaitOverlap),
            (Event::Begin, Effect::Retire),
            (Event::Retired, Effect::End),
        ];
        let mut progress = Progress::START;
        for (event, expected) in straight {
            let (next, effect) = step(progress, event);
            assert_eq!(effect, expected, "after {event:?}");
            progress = next;
        }
        assert_eq!(progress.state, State::Retired);
    }

    #[test]
    fn only_a_log_in_leads_to_a_promotion() {
        let states = [
            State::Idle,
            State::Planned,
            State::Applied,
            State::Verified,
            State::Promoted,
            State::Retired,
            State::Withdrawn,
        ];
        let stages = [Stage::Plan, Stage::Change, Stage::Retire];
        let waiting = stages.map(State::RetryWait);
        let stopped = stages.map(State::NeedsOperator);
        for state in states.into_iter().chain(waiting).chain(stopped) {
            for event in all_events() {
                let (_, effect) = step(Progress::at(state), event);
                if effect == Effect::Promote {
                    let logged_in =
                        matches!(event, Event::LoggedIn | Event::Found(Found::Candidate));
                    assert!(logged_in, "{state:?} and {event:?}");
                }
            }
        }
    }

    #[test]
    fn whoever_takes_over_probes_first() {
        for reached in [
            &TO_PLANNED[..],
            &[TO_PLANNED[0], TO_PLANNED[1], Event::Changed],
            &[
                TO_PLANNED[0],
                TO_PLANNED[1],
                Event::Changed,
                Event::LoggedIn,
            ],
        ] {
            let (progress, _) = run(reached);
            let (next, effect) = step(progress, Event::Begin);
            assert_eq!((next.state, effect), (State::Planned, Effect::Probe));
        }
    }

    #[test]
    fn refusals_end_at_an_operator_and_waiting_does_not() {
        let (mut progress, _) = run(&TO_PLANNED);
        for count in 1..=MAX_REFUSALS {
            let (next, effect) = step(progress, Event::Failed(Failure::Refused));
            let last = count == MAX_REFUSALS;
            assert_eq!(effect == Effect::CallOperator, last, "{count}");
            let (resumed, _) = step(next, Event::Begin);
            progress = resumed;
        }
        assert_eq!(progress.state, State::NeedsOperator(Stage::Change));
        let (mut progress, _) = run(&TO_PLANNED);
        for _ in 0..1_000 {
            let (next, effect) = step(progress, Event::Failed(Failure::Unavailable));
            assert_eq!(effect, Effect::WaitRetry);
            progress = step(next, Event::Begin).0;
        }
    }

    #[test]
    fn every_decision_of_a_stage_leads_on_and_no_other() {
        for stage in [Stage::Plan, Stage::Change, Stage::Retire] {
            let stopped = Progress::at(State::NeedsOperator(stage));
            for how in [
                Settle::Retry,
                Settle::AcceptCandidate,
                Settle::AcceptCurrent,
            ] {
                let (_, effect) = step(stopped, Event::Settle(how));
                let leads_on = effect != Effect::Nothing;
                assert_eq!(
                    leads_on,
                    stage.decisions().contains(&how),
                    "{stage:?} {how}"
                );
            }
        }
    }

    #[test]
    fn an_operator_settles_it() {
        let stopped = Progress::at(State::NeedsOperator(Stage::Change));
        let settle = |how| step(stopped, Event::Settle(how));
        assert_eq!(settle(Settle::Retry).1, Effect::Probe);
        let (candidate, effect) = settle(Settle::AcceptCandidate);
        assert_eq!(effect, Effect::LogIn);
        assert_eq!(step(candidate, Event::LoggedIn).1, Effect::Promote);
        assert_eq!(step(candidate, Event::Rejected).1, Effect::CallOperator);
        let (current, effect) = settle(Settle::AcceptCurrent);
        assert_eq!(effect, Effect::CheckCurrent);
        assert_eq!(step(current, Event::Rejected).1, Effect::CallOperator);
        let (withdrawing, effect) = step(current, Event::LoggedIn);
        assert_eq!(effect, Effect::Withdraw);
        let (end, _) = step(withdrawing, Event::Withdrawn);
        assert_eq!(end.state, State::Withdrawn);
        assert_eq!(step(end, Event::Begin).1, Effect::Nothing);
    }

    fn all_events() -> Vec<Event> {
        let mut events = vec![
            Event::Begin,
            Event::Planned,
            Event::Changed,
            Event::LoggedIn,
            Event::Rejected,
            Event::Promoted,
            Event::Retired,
            Event::Withdrawn,
        ];
        events.extend(
            [
                Found::Candidate,
                Found::Current,
                Found::Previous,
                Found::Nothing,
            ]
            .map(Event::Found),
        );
        events.extend(
            [
                Failure::Refused,
                Failure::Unavailable,
                Failure::OutcomeUnknown,
            ]
            .map(Event::Failed),
        );
        events.extend(
            [
                Settle::Retry,
                Settle::AcceptCandidate,
                Settle::AcceptCurrent,
            ]
            .map(Event::Settle),
        );
        events
    }
}
