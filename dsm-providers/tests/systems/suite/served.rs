//! What readers hold while credentials change.

use std::cell::Cell;
use std::time::Instant;

use dsm_core::id::SecretId;
use dsm_core::renewal::State;
use dsm_core::store::Page;

use super::{Style, System, World};

/// A timer renews, the new credential logs in, the old one stops working only after the overlap, and
/// the history has both.
pub(crate) async fn a_timer_renews_and_the_overlap_is_kept(system: &dyn System) {
    for style in system.styles() {
        // A world for each: the timers of the others would come due as well.
        let world = World::new(system).await;
        let context = format!("{style:?}");
        let name = format!("timer_{style:?}").to_lowercase();
        let id = world.secret(&name, *style).await;
        world.set_timers(id, 60).await;
        let old = world.find(id).await.version;
        assert_eq!(world.work().await.promoted, 0, "not due yet: {context}");
        world.wait(3_601);
        assert_eq!(world.work().await.promoted, 1, "by its timer: {context}");
        let new = world.find(id).await.version;
        assert_eq!(new, old + 1, "{context}");
        assert!(world.version_logs_in(id, new).await, "{context}");
        if *style == Style::InPlace {
            assert!(!world.version_logs_in(id, old).await, "{context}");
        } else {
            let promoted = world.attempt(id).await.promotion.clone().expect("promoted");
            let overlap = (promoted.retire_at - promoted.at).num_seconds();
            assert!(overlap >= 300, "an overlap of {overlap} s: {context}");
            assert!(world.version_logs_in(id, old).await, "{context}");
            world.wait(overlap - 1);
            assert_eq!(world.work().await.over, 0, "the overlap runs: {context}");
            assert!(world.version_logs_in(id, old).await, "{context}");
            world.wait(1);
            assert_eq!(world.work().await.over, 1, "{context}");
            assert!(!world.version_logs_in(id, old).await, "{context}");
            assert!(world.version_logs_in(id, new).await, "{context}");
        }
        assert_eq!(world.attempt(id).await.progress.state, State::Retired);
        let versions = world
            .vault()
            .list_versions(&world.me, id, Page::first(9))
            .await;
        let versions = versions.expect("listed").items;
        for version in [old, new] {
            assert!(
                versions.iter().any(|held| held.snapshot.version == version),
                "version {version} is in the history: {context}"
            );
        }
        let (before, after) = (world.served(id, old).await, world.served(id, new).await);
        assert!(before != after, "both are kept: {context}");
        assert_eq!(world.history(id).await, [], "{context}");
    }
}

/// A reader of one secret, who logs in with what is served, again and again.
struct Reader<'a, 'b> {
    world: &'a World<'b>,
    id: SecretId,
    polls: Cell<u64>,
    refused: Cell<u64>,
    /// The first refusal and the first acceptance after it.
    window: Cell<(Option<Instant>, Option<Instant>)>,
    stop: Cell<bool>,
}

impl<'a, 'b> Reader<'a, 'b> {
    fn new(world: &'a World<'b>, id: SecretId) -> Self {
        Self {
            world,
            id,
            polls: Cell::default(),
            refused: Cell::default(),
            window: Cell::default(),
            stop: Cell::default(),
        }
    }

    async fn read_on(&self) {
        while !self.stop.get() {
            let asked = Instant::now();
            let good = self.world.logs_in(self.id).await;
            let (from, until) = self.window.get();
            if !good {
                self.refused.set(self.refused.get() + 1);
                self.window.set((from.or(Some(asked)), None));
            } else if from.is_some() && until.is_none() {
                self.window.set((from, Some(Instant::now())));
            }
            self.polls.set(self.polls.get() + 1);
            tokio::task::yield_now().await;
        }
    }

    /// Waits until what was served before is nobody's any more who did not ask again.
    async fn turn_around(&self) {
        let seen = self.polls.get();
        while self.polls.get() < seen + 2 {
            tokio::task::yield_now().await;
        }
    }
}

/// With two accounts or two keys, whoever reads and logs in never holds what does not log in.
pub(crate) async fn a_reader_never_holds_what_does_not_log_in(system: &dyn System) {
    let world = World::new(system).await;
    for style in system.styles().iter().filter(|it| **it != Style::InPlace) {
        let name = format!("reader_{style:?}").to_lowercase();
        let id = world.secret(&name, *style).await;
        let reader = Reader::new(&world, id);
        let rotate = async {
            for _ in 0..5 {
                world.ask(id).await;
                while !world.attempt(id).await.progress.state.is_over() {
                    world.work().await;
                    // Nobody holds a credential for as long as the overlap lasts.
                    reader.turn_around().await;
                    world.wait(3_700);
                }
            }
            reader.stop.set(true);
        };
        tokio::join!(rotate, reader.read_on());
        let polls = reader.polls.get();
        println!(
            "{}: {style:?}: {polls} reads during 5 rotations, {} refused",
            system.name(),
            reader.refused.get()
        );
        assert_eq!(reader.refused.get(), 0, "{style:?}: of {polls}");
        assert!(polls > 10, "{style:?}: {polls} reads");
        assert_eq!(world.find(id).await.version, 6, "{style:?}");
    }
}

/// In place there is a moment in which what is served does not log in. It is measured, by the vault
/// and by a reader.
pub(crate) async fn the_window_of_a_change_in_place_is_measured(system: &dyn System) {
    let world = World::new(system).await;
    let id = world.secret("window", Style::InPlace).await;
    let (mut worker, mut seen) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let reader = Reader::new(&world, id);
        let rotate = async {
            reader.turn_around().await;
            world.ask(id).await;
            assert_eq!(world.work().await.promoted, 1);
            reader.turn_around().await;
            reader.stop.set(true);
        };
        tokio::join!(rotate, reader.read_on());
        let promotion = world.attempt(id).await.promotion.clone().expect("promoted");
        worker.push(promotion.window_ms.expect("measured"));
        if let (Some(from), Some(until)) = reader.window.get() {
            seen.push((until - from).as_millis());
        }
        assert!(world.logs_in(id).await);
    }
    worker.sort_unstable();
    seen.sort_unstable();
    println!(
        "{}: in place, the window in ms of five rotations: by the worker {worker:?}, as a reader met \
         it {seen:?}",
        system.name()
    );
    assert!(worker.iter().all(|window| *window < 5_000), "{worker:?}");
}
