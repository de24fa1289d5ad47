//! Accounts that are made for a while and removed, whoever dies meanwhile.

use std::collections::BTreeMap;
use std::time::Instant;

use dsm_core::id::SecretId;
use dsm_core::provision::ProfileKind;
use dsm_core::secret::{EphemeralCredential, SecretData};
use dsm_core::testing::provision::all_leases;
use dsm_core::time::{Clock as _, SystemClock};
use dsm_core::vault::{PROVISION_FAIL_POINTS, ProfileFields, SecretFields};

use super::mishap::{Chance, Mishap, Task, suffer};
use super::{System, World};

/// How many leases unless `DSM_LEASES` says.
const FEW: usize = 30;
/// How long accounts live, in seconds.
const TTL: i64 = 3_600;
/// What their names begin with, before `_`.
const PROFILE: &str = "rot";

/// Accounts are made and expire while those who make and remove them die or stand still and answers
/// are lost: what is served at the end of a provision logs in, and afterwards no account is left on the
/// system and no lease is without an end.
pub(crate) async fn leases_and_random_failures_leave_no_account(system: &dyn System) {
    let world = World::new(system).await;
    // The system refuses an account that is over by its own clock, which nobody moves.
    world.clock.set(SystemClock.now());
    let (mut chance, seed) = Chance::by_chance(system.name());
    let count = std::env::var("DSM_LEASES").map_or(FEW, |text| {
        text.parse().expect("DSM_LEASES is a number of leases")
    });
    let stops = std::env::var_os("DSM_LEASES").is_some();
    let secrets = secrets(&world).await;
    let since = Instant::now();
    let mut met = BTreeMap::<Mishap, usize>::new();
    let (mut asked, mut provisioned) = (0, 0);
    while all_leases(world.vault(), &world.me, None).await.len() < count {
        for id in &secrets {
            for task in [Task::Provision(*id), Task::Renew] {
                // Each is provisioned once as it should be.
                let is_first = asked < secrets.len();
                let mishap = if is_first {
                    Mishap::Nothing
                } else {
                    chance.mishap(stops)
                };
                *met.entry(mishap).or_default() += 1;
                let turn = usize::try_from(chance.below(2)).expect("0 or 1");
                let forget = || {
                    let mark = match task {
                        Task::Provision(_) => system.creation_mark(),
                        Task::Renew => system.removal_mark(),
                    };
                    system.forget_answer(&world.proxy, mark);
                };
                let points = PROVISION_FAIL_POINTS;
                let done = suffer(&world, turn, task, mishap, &mut chance, points, forget).await;
                assert!(done || !is_first, "seed {seed}: the first provision");
                if let (Task::Provision(_), true) = (task, done) {
                    provisioned += 1;
                    let context = format!("seed {seed}, asked {asked} times, {mishap:?}");
                    assert_served(&world, *id, &context).await;
                }
            }
            asked += 1;
            world.wait(i64::try_from(chance.below(600)).expect("a small number"));
        }
        assert!(asked < 20 * count, "seed {seed}: {asked} times, {met:?}");
    }
    world.outlive_lease(true).await;
    end_everything(&world, seed).await;
    let left = world.accounts().await;
    assert!(left.is_empty(), "seed {seed}: accounts are left: {left:?}");
    let all = all_leases(world.vault(), &world.me, None).await;
    for lease in &all {
        assert!(lease.ended_at.is_some(), "seed {seed}: no end: {lease:?}");
    }
    println!(
        "{}: {} leases in {:.0} s, asked for {asked} times, {provisioned} times provisioned; \
         0 accounts left, 0 leases without an end; mishaps: {met:?}",
        system.name(),
        all.len(),
        since.elapsed().as_secs_f32()
    );
}

/// A few secrets with two accounts each that live for a while.
async fn secrets(world: &World<'_>) -> Vec<SecretId> {
    let fields = ProfileFields {
        identifier: Some(PROFILE.to_owned()),
        kind: Some(ProfileKind::Credential),
        target: Some(super::world::TARGET.to_owned()),
        roles: Some(world.system.roles()),
        ttl_seconds: Some(TTL),
        ..ProfileFields::default()
    };
    let made = world.vault().create_profile(&world.me, fields).await;
    made.expect("a profile");
    let mut secrets = Vec::new();
    for name in ["one", "two", "three"] {
        let item = || EphemeralCredential {
            profile: PROFILE.to_owned(),
            ..EphemeralCredential::default()
        };
        let data = SecretData {
            ephemeral_credentials: vec![item(), item()],
            ..SecretData::default()
        };
        let fields = SecretFields::new(name, data);
        let secret = world.vault().create_secret(&world.me, name, fields).await;
        secrets.push(secret.expect("a secret").id);
    }
    secrets
}

/// Everything that a secret serves logs in.
async fn assert_served(world: &World<'_>, id: SecretId, context: &str) {
    let version = world.find(id).await.version;
    let served = world
        .vault()
        .reveal_version(&world.me, id, version)
        .await
        .expect("values");
    assert_eq!(served.len(), 2, "{context}");
    for account in &served {
        assert!(world.accepts(account, "").await, "{context}");
    }
}

/// Works until no lease lives.
async fn end_everything(world: &World<'_>, seed: u64) {
    for turn in 0..200 {
        world.wait(TTL + 400);
        Task::Renew.perform(world, turn).await;
        if all_leases(world.vault(), &world.me, Some(true))
            .await
            .is_empty()
        {
            return;
        }
    }
    let live = all_leases(world.vault(), &world.me, Some(true)).await;
    panic!("seed {seed}: leases without an end: {live:?}");
}
