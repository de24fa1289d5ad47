//! Many rotations with workers that die or stand still, and a network that fails.

use std::collections::BTreeMap;
use std::time::Instant;

use dsm_core::id::SecretId;
use dsm_core::renewal::State;
use dsm_core::vault::FAIL_POINTS;

use super::mishap::{Chance, Mishap, Task, suffer};
use super::{Style, System, World};

/// How many rotations unless `DSM_CYCLES` says.
const FEW: usize = 10;

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
    let (mut chance, seed) = Chance::by_chance(system.name());
    let count = cycles(system);
    let stops = std::env::var_os("DSM_CYCLES").is_some();
    let mut secrets = Vec::new();
    for style in system.styles() {
        let name = format!("random_{style:?}").to_lowercase();
        secrets.push((world.secret(&name, *style).await, *style));
    }
    let accounts = world.accounts().await;
    let since = Instant::now();
    let mut met = BTreeMap::<Mishap, usize>::new();
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
            let forget = || system.forget_answer(&world.proxy, system.change_mark(style));
            let task = Task::Renew;
            suffer(&world, turn, task, mishap, &mut chance, FAIL_POINTS, forget).await;
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
