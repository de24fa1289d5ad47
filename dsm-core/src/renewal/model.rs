//! The machine in a world of a target, a vault and two workers, in which anything fails anywhere.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Effect, Event, Failure, Found, Progress, Settle, State, step};

/// What the credential is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The password of the account that is served.
    InPlace,
    /// Passwords of two accounts in turn.
    Pair,
    /// Keys that are made here.
    Installed,
    /// Keys that the target makes.
    Issued,
}

#[derive(Debug, Clone, Copy)]
enum Action {
    /// A renewal comes due.
    Due,
    /// A worker takes the job, whoever had it.
    Claim(usize),
    /// A worker does what it is to do next.
    Act(usize, Outcome),
    /// A worker is gone.
    Kill(usize),
    /// An operator settles.
    Settle(Settle),
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    Refused,
    Unavailable,
    LostAfter,
    LostBefore,
}

/// A password or key of one of two accounts.
type Credential = (usize, u32);

/// The renewal as it is committed.
#[derive(Debug, Clone)]
struct Attempt {
    revision: u64,
    progress: Progress,
    old: Credential,
    candidate: Option<Credential>,
    known: BTreeSet<u32>,
    settle: Option<Settle>,
}

/// A worker between two steps.
#[derive(Debug, Clone)]
struct Worker {
    generation: u64,
    revision: u64,
    secret_revision: u64,
    progress: Progress,
    effect: Effect,
    logged_in: Option<Credential>,
}

#[derive(Debug)]
struct World {
    kind: Kind,
    accepts: [BTreeSet<u32>; 2],
    served: Credential,
    previous: Option<Credential>,
    secret_revision: u64,
    attempt: Option<Attempt>,
    generation: u64,
    workers: [Option<Worker>; 2],
    next: u32,
}

impl World {
    fn new(kind: Kind) -> Self {
        let mut world = Self {
            kind,
            accepts: [BTreeSet::from([1]), BTreeSet::new()],
            served: (0, 1),
            previous: None,
            secret_revision: 1,
            attempt: None,
            generation: 0,
            workers: [None, None],
            next: 10,
        };
        if kind == Kind::Pair {
            world.accepts[1].insert(2);
        }
        world
    }

    fn fresh(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn accepted(&self, (account, value): Credential) -> bool {
        self.accepts[account].contains(&value)
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Due => {
                let over = |attempt: &Attempt| attempt.progress.state.is_over();
                if self.attempt.as_ref().is_none_or(over) {
                    self.attempt = Some(Attempt {
                        revision: 1,
                        progress: Progress::START,
                        old: self.served,
                        candidate: None,
                        known: BTreeSet::new(),
                        settle: None,
                    });
                    self.workers = [None, None];
                }
            }
            Action::Claim(index) => {
                let Some(attempt) = &self.attempt else { return };
                self.generation += 1;
                let event = attempt.settle.map_or(Event::Begin, Event::Settle);
                let (progress, effect) = step(attempt.progress, event);
                self.workers[index] = Some(Worker {
                    generation: self.generation,
                    revision: attempt.revision,
                    secret_revision: self.secret_revision,
                    progress,
                    effect,
                    logged_in: None,
                });
            }
            Action::Kill(index) => self.workers[index] = None,
            Action::Settle(how) => {
                if let Some(attempt) = &mut self.attempt
                    && matches!(attempt.progress.state, State::NeedsOperator(_))
                {
                    attempt.settle = Some(how);
                    attempt.revision += 1;
                }
            }
            Action::Act(index, outcome) => {
                if let Some(worker) = self.workers[index].take() {
                    self.workers[index] = self.perform(worker, outcome);
                }
            }
        }
    }

    /// Does a worker's next thing; none when it is done or found that it lost its lease.
    fn perform(&mut self, mut worker: Worker, outcome: Outcome) -> Option<Worker> {
        // The deadline of the lease is looked at before the target or the store is touched.
        if worker.generation != self.generation {
            return None;
        }
        let attempt = self.attempt.clone()?;
        let event = match worker.effect {
            Effect::Plan => self.plan(&mut worker, outcome)?,
            Effect::Probe => self.probe(&attempt, outcome),
            Effect::Change => self.change(&mut worker, &attempt, outcome)?,
            Effect::LogIn | Effect::CheckCurrent => {
                let checked = if worker.effect == Effect::LogIn {
                    attempt.candidate?
                } else {
                    self.served
                };
                match outcome {
                    Outcome::Done if self.accepted(checked) => {
                        worker.logged_in = Some(checked);
                        Event::LoggedIn
                    }
                    Outcome::Done => Event::Rejected,
                    _ => Event::Failed(Failure::Unavailable),
                }
            }
            Effect::Promote => {
                let candidate = attempt.candidate?;
                let (progress, _) = step(worker.progress, Event::Promoted);
                self.commit(&mut worker, progress)?;
                assert!(
                    self.accepted(candidate),
                    "what is promoted has logged in and logs in still"
                );
                self.previous = Some(self.served);
                self.served = candidate;
                self.secret_revision += 1;
                return None;
            }
            Effect::Retire => self.retire(&attempt, outcome),
            Effect::Withdraw => match outcome {
                Outcome::Done => {
                    self.remove_candidate(&attempt);
                    Event::Withdrawn
                }
                _ => Event::Failed(Failure::Unavailable),
            },
            Effect::WaitOverlap | Effect::WaitRetry | Effect::CallOperator | Effect::End => {
                let progress = worker.progress;
                self.commit(&mut worker, progress);
                return None;
            }
            Effect::Nothing => return None,
        };
        (worker.progress, worker.effect) = step(worker.progress, event);
        Some(worker)
    }

    /// Commits the progress, if nobody else did since the worker read it.
    fn commit(&mut self, worker: &mut Worker, progress: Progress) -> Option<()> {
        assert_eq!(
            worker.generation, self.generation,
            "a stale generation never commits"
        );
        let promotes = worker.effect == Effect::Promote;
        let attempt = self.attempt.as_mut()?;
        if attempt.revision != worker.revision
            || (promotes && self.secret_revision != worker.secret_revision)
        {
            return None;
        }
        attempt.revision += 1;
        attempt.progress = progress;
        attempt.settle = None;
        worker.revision = attempt.revision;
        Some(())
    }

    fn plan(&mut self, worker: &mut Worker, outcome: Outcome) -> Option<Event> {
        match outcome {
            Outcome::Done => {}
            Outcome::Refused => return Some(Event::Failed(Failure::Refused)),
            _ => return Some(Event::Failed(Failure::Unavailable)),
        }
        let (progress, _) = step(worker.progress, Event::Planned);
        self.commit(worker, progress)?;
        let account = if self.kind == Kind::Pair {
            1 - self.served.0
        } else {
            self.served.0
        };
        let value = self.fresh();
        let known = self.accepts[account].clone();
        let (served, kind) = (self.served, self.kind);
        let attempt = self.attempt.as_mut()?;
        attempt.old = served;
        attempt.known = known;
        attempt.candidate = (kind != Kind::Issued).then_some((account, value));
        Some(Event::Planned)
    }

    fn probe(&mut self, attempt: &Attempt, outcome: Outcome) -> Event {
        if outcome != Outcome::Done {
            return Event::Failed(Failure::Unavailable);
        }
        if self.kind == Kind::Issued {
            let candidate = attempt.candidate.map(|(_, key)| key);
            let known = |key: &u32| attempt.known.contains(key) || candidate == Some(*key);
            self.accepts[self.served.0].retain(known);
        }
        Event::Found(if attempt.candidate.is_some_and(|it| self.accepted(it)) {
            Found::Candidate
        } else if self.accepted(self.served) {
            Found::Current
        } else if self.previous.is_some_and(|it| self.accepted(it)) {
            Found::Previous
        } else {
            Found::Nothing
        })
    }

    fn change(
        &mut self,
        worker: &mut Worker,
        attempt: &Attempt,
        outcome: Outcome,
    ) -> Option<Event> {
        match outcome {
            Outcome::Refused => return Some(Event::Failed(Failure::Refused)),
            Outcome::Unavailable => return Some(Event::Failed(Failure::Unavailable)),
            Outcome::LostBefore => return Some(Event::Failed(Failure::OutcomeUnknown)),
            Outcome::Done | Outcome::LostAfter => {}
        }
        match (self.kind, attempt.candidate) {
            (Kind::InPlace | Kind::Pair, candidate) => {
                let (account, value) = candidate?;
                self.accepts[account] = BTreeSet::from([value]);
            }
            (Kind::Installed, candidate) => {
                let (account, value) = candidate?;
                self.accepts[account].insert(value);
            }
            (Kind::Issued, _) => {
                self.remove_candidate(attempt);
                let key = (self.served.0, self.fresh());
                self.accepts[key.0].insert(key.1);
                // The key is committed as soon as it is known; else it is one that nobody knows.
                if outcome == Outcome::Done {
                    let progress = worker.progress;
                    self.commit(worker, progress)?;
                    self.attempt.as_mut()?.candidate = Some(key);
                }
            }
        }
        Some(if outcome == Outcome::Done {
            Event::Changed
        } else {
            Event::Failed(Failure::OutcomeUnknown)
        })
    }

    fn retire(&mut self, attempt: &Attempt, outcome: Outcome) -> Event {
        match outcome {
            Outcome::Refused => return Event::Failed(Failure::Refused),
            Outcome::Unavailable => return Event::Failed(Failure::Unavailable),
            Outcome::LostBefore => return Event::Failed(Failure::OutcomeUnknown),
            Outcome::Done | Outcome::LostAfter => {}
        }
        let (account, value) = attempt.old;
        match self.kind {
            Kind::InPlace => {}
            Kind::Pair => {
                let scrambled = self.fresh();
                self.accepts[account] = BTreeSet::from([scrambled]);
            }
            Kind::Installed | Kind::Issued => {
                self.accepts[account].remove(&value);
            }
        }
        if outcome == Outcome::Done {
            Event::Retired
        } else {
            Event::Failed(Failure::OutcomeUnknown)
        }
    }

    fn remove_candidate(&mut self, attempt: &Attempt) {
        if matches!(self.kind, Kind::Installed | Kind::Issued) {
            self.accepts[self.served.0].retain(|key| attempt.known.contains(key));
        }
    }

    /// What holds after every step.
    fn check(&self) {
        let kept = [
            Some(self.served),
            self.previous,
            self.attempt.as_ref().and_then(|attempt| attempt.candidate),
        ];
        let good = kept.into_iter().flatten().any(|it| self.accepted(it));
        assert!(good, "the only accepted credential is forgotten: {self:?}");
        let over = self
            .attempt
            .as_ref()
            .is_none_or(|attempt| attempt.progress.state.is_over());
        if self.kind != Kind::InPlace || over {
            assert!(
                self.accepted(self.served),
                "what is served logs in: {self:?}"
            );
        }
        if over && matches!(self.kind, Kind::Installed | Kind::Issued) {
            let known: Vec<_> = kept.into_iter().flatten().map(|(_, key)| key).collect();
            let unknown = self.accepts[0].iter().any(|key| !known.contains(key));
            assert!(!unknown, "a key that nobody knows: {self:?}");
        }
    }

    /// Nothing fails any more: it comes to its end.
    fn finish(&mut self) {
        for _ in 0..60 {
            let Some(attempt) = &self.attempt else { return };
            if attempt.progress.state.is_over() {
                return;
            }
            if matches!(attempt.progress.state, State::NeedsOperator(_)) && attempt.settle.is_none()
            {
                self.act(Action::Settle(Settle::Retry));
            }
            self.act(Action::Claim(0));
            while self.workers[0].is_some() {
                self.act(Action::Act(0, Outcome::Done));
                self.check();
            }
        }
        panic!("it does not come to an end: {self:?}");
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::InPlace),
        Just(Kind::Pair),
        Just(Kind::Installed),
        Just(Kind::Issued)
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let outcome = prop_oneof![
        6 => Just(Outcome::Done),
        1 => Just(Outcome::Refused),
        1 => Just(Outcome::Unavailable),
        2 => Just(Outcome::LostAfter),
        1 => Just(Outcome::LostBefore),
    ];
    let settle = prop_oneof![
        Just(Settle::Retry),
        Just(Settle::AcceptCandidate),
        Just(Settle::AcceptCurrent)
    ];
    prop_oneof![
        1 => Just(Action::Due),
        4 => (0..2_usize).prop_map(Action::Claim),
        12 => (0..2_usize, outcome).prop_map(|(worker, outcome)| Action::Act(worker, outcome)),
        1 => (0..2_usize).prop_map(Action::Kill),
        1 => settle.prop_map(Action::Settle),
    ]
}

/// How many orders are tried: few by default, as many as `DSM_CASES` says in a campaign.
fn cases() -> ProptestConfig {
    let cases = std::env::var("DSM_CASES").map_or(4_000, |text| {
        text.parse().expect("DSM_CASES is a number of cases")
    });
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases())]

    /// In no order of events is the only accepted credential forgotten, anything promoted that has
    /// not logged in, or a commit made under a lease that is over; and when nothing fails any more
    /// it comes to an end at which what is served logs in.
    #[test]
    fn no_order_of_events_locks_anybody_out(kind in kind(), actions in vec(action(), 1..80)) {
        let mut world = World::new(kind);
        world.act(Action::Due);
        for action in actions {
            world.act(action);
            world.check();
        }
        world.finish();
        world.check();
    }
}
