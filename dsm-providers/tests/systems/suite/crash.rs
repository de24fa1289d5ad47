//! Workers that die at each point.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use dsm_core::id::SecretId;
use dsm_core::renewal::State;
use dsm_core::vault::FAIL_POINTS;
use futures_util::future::join_all;

use super::{Style, System, World};

/// Which arrivals at a point a worker dies at, counted from the first.
const DEATHS: [(&str, &[u32]); 3] = [("first", &[1]), ("second", &[2]), ("twice", &[1, 2])];

/// A worker dies at each point, the first or second time that anybody comes there, or so does the one
/// that takes over; and the next one takes over. What is served logs in, and no account or key is left
/// that nobody knows.
pub(crate) async fn every_crash_is_survived(system: &dyn System) {
    let since = Instant::now();
    let mut worlds = Vec::new();
    for style in system.styles() {
        let world = World::new(system).await;
        let name = format!("{style:?}").to_lowercase();
        let id = world.secret(&name, *style).await;
        worlds.push((world, id, *style));
    }
    let all = worlds
        .iter()
        .map(|(world, id, style)| crash_everywhere(world, *id, *style));
    let counts = join_all(all).await;
    let rotations: usize = counts.iter().map(|(rotations, _)| rotations).sum();
    let deaths: usize = counts.iter().map(|(_, deaths)| deaths).sum();
    println!(
        "{}: {rotations} rotations in {:.0} s, {deaths} workers died, 0 locked out, 0 unknown accounts",
        system.name(),
        since.elapsed().as_secs_f32()
    );
}

/// Gives how many rotations there were and how many workers died.
async fn crash_everywhere(world: &World<'_>, id: SecretId, style: Style) -> (usize, usize) {
    let arrivals = arrivals(world, id).await;
    let (mut rotations, mut deaths) = (1, 0);
    for point in FAIL_POINTS {
        for (how, when) in DEATHS {
            // Where nobody comes, or not a second time, in a rotation of this style.
            if arrivals.get(point).copied().unwrap_or(0) < when[0] {
                continue;
            }
            let context = format!("{style:?} died {point} ({how})");
            let died = crash(world, id, style, point, when, &context).await;
            assert!(died > 0, "nobody died: {context}");
            rotations += 1;
            deaths += died;
        }
    }
    // Points that only keys come to are not met with passwords; the others are.
    assert!(arrivals.len() >= 9, "{style:?} comes to {arrivals:?}");
    (rotations, deaths)
}

/// How often a worker comes to each point in a rotation in which nothing happens.
async fn arrivals(world: &World<'_>, id: SecretId) -> BTreeMap<&'static str, u32> {
    let arrivals: Arc<Mutex<BTreeMap<&'static str, u32>>> = Arc::default();
    let counted = arrivals.clone();
    world.points.stop_when(move |here| {
        *counted
            .lock()
            .expect("nobody panics")
            .entry(here)
            .or_default() += 1;
        false
    });
    world.ask(id).await;
    world.finish(id).await;
    world.points.heal();
    let arrivals = arrivals.lock().expect("nobody panics");
    arrivals.clone()
}

async fn crash(
    world: &World<'_>,
    id: SecretId,
    style: Style,
    point: &'static str,
    when: &'static [u32],
    context: &str,
) -> usize {
    let before = world.find(id).await.version;
    let accounts = world.accounts().await;
    world.ask(id).await;
    let mut arrivals = 0;
    world.points.stop_when(move |here| {
        arrivals += u32::from(here == point);
        here == point && when.contains(&arrivals)
    });
    let mut deaths = 0;
    while work_until_death(world, id, deaths).await {
        deaths += 1;
        // In place nobody can be sure of either password until it is over.
        if style != Style::InPlace {
            assert!(
                world.logs_in(id).await,
                "not served what logs in: {context}"
            );
        }
        // Nothing is under way at a point.
        world.outlive_lease(false).await;
    }
    world.points.heal();
    let attempt = world.attempt(id).await;
    assert_eq!(attempt.progress.state, State::Retired, "{context}");
    let version = world.find(id).await.version;
    assert_eq!(version, before + 1, "rotated once: {context}");
    world.check_end(id, &accounts, context).await;
    deaths
}

/// Works until a worker dies or the attempt is over; tells whether one died.
async fn work_until_death(world: &World<'_>, id: SecretId, turn: usize) -> bool {
    for _ in 0..50 {
        let died = tokio::select! {
            biased;
            () = world.points.stopped() => true,
            _ = world.server(turn).renew(16) => false,
        };
        if died {
            return true;
        }
        if world.attempt(id).await.progress.state.is_over() {
            return false;
        }
        world.wait(3_700);
    }
    panic!("it does not come to an end: {:?}", world.attempt(id).await);
}
