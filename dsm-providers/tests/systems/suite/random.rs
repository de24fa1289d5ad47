//! Many rotations with workers that die or stand still, and a network that fails.

use std::pin::pin;
use std::time::{Duration, Instant};

use dsm_core::entropy::{Entropy, OsEntropy};
use dsm_core::id::SecretId;
use dsm_core::renewal::State;
use dsm_core::vault::FAIL_POINTS;

use super::{Style, System, World};

/// How many rotations unless `DSM_CYCLES` says.
const FEW: usize = 10;
/// How long a worker stands still: longer than its lease.
const STANDSTILL: Duration = Duration::from_millis(5_600);
/// How long the network fails at most.
const PAUSE: Duration = Duration::from_millis(120);

/// What goes wrong while a worker works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mishap {
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
struct Chance(u64);

impl Chance {
    fn below(&mut self, count: u64) -> u64 {
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

    fn mishap(&mut self, stops: bool) -> Mishap {
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

fn cycles(system: &dyn System) -> usize {
    let cycles = std::env::var("DSM_CYCLES").map_or(FEW, |text| {
        text.parse().expect("DSM_CYCLES is a number of rotations")
    });
    cycles * system.weight()
}

/// However workers die or stand still and answers are lost, what is served logs in, and no account or
/// key is left that nobody knows.
pub(crate) async fn random_failures_lock_nobody_out(system: &dyn System) {
    let world = World::new(system).await;
    let entropy: &dyn Entropy = &OsEntropy;
    let seed = u64::from_be_bytes(entropy.array()) | 1;
    println!("{}: seed {seed}", system.name());
    let mut chance = Chance(seed);
    let count = cycles(system);
    let stops = std::env::var_os("DSM_CYCLES").is_some();
    let mut secrets = Vec::new();
    for style in system.styles() {
        let name = format!("random_{style:?}").to_lowercase();
        secrets.push((world.secret(&name, *style).await, *style));
    }
    let accounts = world.accounts().await;
    let since = Instant::now();
    let mut met = std::collections::BTreeMap::<Mishap, usize>::new();
    for number in 0..count {
        let (id, style) = secrets[number % secrets.len()];
        let before = world.find(id).await.version;
        world.ask(id).await;
        let mut rounds = 0;
        while !world.attempt(id).await.progress.state.is_over() {
            let mishap = if rounds < 8 {
                chance.mishap(stops)
            } else {
                Mishap::Nothing
            };
            *met.entry(mishap).or_default() += 1;
            let turn = usize::try_from(chance.below(2)).expect("0 or 1");
            work(&world, turn, style, mishap, &mut chance).await;
            let context = format!("seed {seed}, rotation {number}, {style:?}, {mishap:?}");
            check(&world, id, style, &context).await;
            let long = chance.below(3) > 0;
            world.wait(if long { 3_700 } else { 20 });
            rounds += 1;
            assert!(rounds < 100, "it does not come to an end: {context}");
        }
        let context = format!("seed {seed}, rotation {number}, {style:?}");
        assert_eq!(world.find(id).await.version, before + 1, "{context}");
        world.check_end(id, &accounts, &context).await;
    }
    println!(
        "{}: {count} rotations in {:.0} s, 0 locked out, 0 unknown accounts; mishaps: {met:?}",
        system.name(),
        since.elapsed().as_secs_f32()
    );
}

/// What holds at any time.
async fn check(world: &World<'_>, id: SecretId, style: Style, context: &str) {
    let attempt = world.attempt(id).await;
    let state = attempt.progress.state;
    if matches!(state, State::NeedsOperator(_)) {
        let history = world.history(id).await;
        panic!(
            "nobody has to be called: {context}: {:?} {history:?}",
            attempt.tried
        );
    }
    if style != Style::InPlace || state.is_over() {
        assert!(
            world.logs_in(id).await,
            "locked out: {context}, {attempt:?}"
        );
    }
}

/// One worker works until it is done or dead; afterwards the network is well, and a dead worker's
/// lease has run out.
async fn work(world: &World<'_>, turn: usize, style: Style, mishap: Mishap, chance: &mut Chance) {
    let moment = chance.moment(world.system.round());
    let mut dead = false;
    match mishap {
        Mishap::Nothing => {
            world.server(turn).renew(16).await.expect("a round");
        }
        Mishap::Kill => {
            let work = world.server(turn).renew(16);
            dead = tokio::time::timeout(moment, work).await.is_err();
        }
        Mishap::KillAt => {
            let count = u64::try_from(FAIL_POINTS.len()).expect("a few");
            let point = FAIL_POINTS[usize::try_from(chance.below(count)).expect("a few")];
            world.points.stop_when(move |here| here == point);
            dead = tokio::select! {
                biased;
                () = world.points.stopped() => true,
                _ = world.server(turn).renew(16) => false,
            };
            world.points.heal();
        }
        Mishap::Stop => {
            let mut work = pin!(world.server(turn).renew(16));
            if tokio::time::timeout(moment, &mut work).await.is_err() {
                tokio::time::sleep(STANDSTILL).await;
                world.wait(6);
                let other = world.server(turn + 1).renew(16);
                let (_, stale) = tokio::join!(other, work);
                stale.expect("a round");
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
            let (renewed, ()) = tokio::join!(world.server(turn).renew(16), fail);
            renewed.expect("a round");
        }
        Mishap::Forget => {
            world.system.forget_answer(&world.proxy, style);
            world.server(turn).renew(16).await.expect("a round");
        }
    }
    if dead {
        world.outlive_lease(mishap == Mishap::Kill).await;
    }
}
