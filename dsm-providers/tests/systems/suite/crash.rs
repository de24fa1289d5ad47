//! Workers that die at each point.

use std::time::Instant;

use dsm_core::id::SecretId;
use dsm_core::renewal::State;
use dsm_core::vault::FAIL_POINTS;

use super::{Style, System, World};

/// Which arrivals at a point a worker dies at, counted from the first.
const DEATHS: [(&str, &[u32]); 3] = [("first", &[1]), ("second", &[2]), ("twice", &[1, 2])];

/// A worker dies at each point, the first or second time that anybody comes there, or so does the one
/// that takes over; and the next one takes over. What is served logs in, and no account or key is left
/// that nobody knows.
pub(crate) async fn every_crash_is_survived(system: &dyn System) {
    let world = World::new(system).await;
    let (mut rotations, mut deaths) = (0, 0);
    let since = Instant::now();
    for style in system.styles() {
        let id = world
            .secret(&format!("{style:?}").to_lowercase(), *style)
            .await;
        for point in FAIL_POINTS {
            for (how, when) in DEATHS {
                let context = format!("{style:?} died {point} ({how})");
                deaths += crash(&world, id, *style, point, when, &context).await;
                rotations += 1;
            }
        }
    }
    println!(
        "{}: {rotations} rotations in {:.0} s, {deaths} workers died, 0 locked out, 0 unknown accounts",
        system.name(),
        since.elapsed().as_secs_f32()
    );
    // Points that only keys come to are not met with passwords; the others are.
    let least = system.styles().len() * 10;
    assert!(deaths >= least, "{deaths} deaths");
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
        world.outlive_lease().await;
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
