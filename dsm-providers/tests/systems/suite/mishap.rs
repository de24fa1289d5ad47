//! What goes wrong while a worker works.

use std::pin::pin;
use std::time::Duration;

use dsm_core::entropy::{Entropy, OsEntropy};
use dsm_core::id::SecretId;

use super::World;

/// How long a worker stands still: longer than its lease.
const STANDSTILL: Duration = Duration::from_millis(5_600);
/// How long the network fails at most.
const PAUSE: Duration = Duration::from_millis(120);

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mishap {
    Nothing,
    /// The worker dies after a while, wherever it is.
    Kill,
    /// The worker dies at a point.
    KillAt,
    /// The worker stands still for longer than its lease, and goes on while another has taken over.
    Stop,
    /// All connections are closed after a while.
    Cut,
    /// All connections are reset after a while.
    Reset,
    /// Nothing comes through for a while.
    Delay,
    /// Nothing comes through, and then connections are reset: what was answered is lost.
    Lose,
    /// The answer to a change is lost.
    Forget,
}

/// Chance that can be had again by its seed.
pub(super) struct Chance(u64);

impl Chance {
    /// By a new seed, which is printed.
    pub(super) fn by_chance(name: &str) -> (Self, u64) {
        let entropy: &dyn Entropy = &OsEntropy;
        let seed = u64::from_be_bytes(entropy.array()) | 1;
        println!("{name}: seed {seed}");
        (Self(seed), seed)
    }

    pub(super) fn below(&mut self, count: u64) -> u64 {
        // xorshift64*, good enough to pick mishaps.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % count
    }

    fn moment(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_micros()).expect("a short time");
        Duration::from_micros(self.below(most))
    }

    pub(super) fn mishap(&mut self, stops: bool) -> Mishap {
        match self.below(200) {
            0..40 => Mishap::Nothing,
            40..80 => Mishap::Kill,
            80..110 => Mishap::KillAt,
            110..125 => Mishap::Cut,
            125..140 => Mishap::Reset,
            140..155 => Mishap::Delay,
            155..175 => Mishap::Lose,
            175..197 => Mishap::Forget,
            _ if stops => Mishap::Stop,
            _ => Mishap::Kill,
        }
    }
}

/// What a server does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Task {
    /// A round of renewal, which also ends what is over.
    Renew,
    /// New accounts for a secret, at once. It may fail.
    Provision(SecretId),
}

impl Task {
    /// Tells whether all of it was done.
    pub(super) async fn perform(self, world: &World<'_>, turn: usize) -> bool {
        let vault = world.server(turn);
        match self {
            Self::Renew => {
                vault.renew(16).await.expect("a round");
                true
            }
            Self::Provision(id) => vault.rotate_secret(&world.me, id, None).await.is_ok(),
        }
    }
}

/// A server does something until it is done or dead; afterwards the network is well, and a dead
/// worker's lease has run out. `points` are where it may die, and `forget` plans that an answer is
/// lost. Tells whether all of it was done.
pub(super) async fn suffer(
    world: &World<'_>,
    turn: usize,
    task: Task,
    mishap: Mishap,
    chance: &mut Chance,
    points: &'static [&'static str],
    forget: impl FnOnce(),
) -> bool {
    let moment = chance.moment(world.system.round());
    let done = match mishap {
        Mishap::Nothing => Some(task.perform(world, turn).await),
        Mishap::Kill => {
            let work = task.perform(world, turn);
            tokio::time::timeout(moment, work).await.ok()
        }
        Mishap::KillAt => {
            let count = u64::try_from(points.len()).expect("a few");
            let point = points[usize::try_from(chance.below(count)).expect("a few")];
            world.points.stop_when(move |here| here == point);
            let done = tokio::select! {
                biased;
                () = world.points.stopped() => None,
                done = task.perform(world, turn) => Some(done),
            };
            world.points.heal();
            done
        }
        Mishap::Stop => {
            let mut work = pin!(task.perform(world, turn));
            if let Ok(done) = tokio::time::timeout(moment, &mut work).await {
                Some(done)
            } else {
                tokio::time::sleep(STANDSTILL).await;
                world.wait(6);
                let other = Task::Renew.perform(world, turn + 1);
                let (_, stale) = tokio::join!(other, work);
                Some(stale)
            }
        }
        Mishap::Cut | Mishap::Reset | Mishap::Delay | Mishap::Lose => {
            let pause = chance.moment(PAUSE);
            let fail = async {
                tokio::time::sleep(moment).await;
                match mishap {
                    Mishap::Cut => world.proxy.cut(),
                    Mishap::Reset => world.proxy.reset(),
                    Mishap::Lose => {
                        world.proxy.black_hole();
                        tokio::time::sleep(pause).await;
                        world.proxy.reset();
                    }
                    _ => world.proxy.black_hole(),
                }
                tokio::time::sleep(pause).await;
                world.proxy.pass();
            };
            let (done, ()) = tokio::join!(task.perform(world, turn), fail);
            Some(done)
        }
        Mishap::Forget => {
            forget();
            Some(task.perform(world, turn).await)
        }
    };
    if done.is_none() {
        world.outlive_lease(mishap == Mishap::Kill).await;
    }
    done.unwrap_or(false)
}
