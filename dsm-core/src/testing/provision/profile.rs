//! Profiles, right and wrong ones.

use std::sync::Arc;

use super::Grounds;
use crate::provision::{ProfileKind, Ttl};
use crate::renewal::Failure;
use crate::store::{Page, Store};
use crate::testing::rotation::World;
use crate::vault::{Error, ProfileFields, ProfileFilter, TargetFields};

fn fields(identifier: &str) -> ProfileFields {
    ProfileFields {
        identifier: Some(identifier.to_owned()),
        kind: Some(ProfileKind::Credential),
        target: Some("db".to_owned()),
        ..ProfileFields::default()
    }
}

/// A profile keeps what it is made with, has its defaults, and each wrong field is named with its
/// bounds.
pub async fn a_profile_is_written_and_refused_by_its_fields(store: Arc<dyn Store>) {
    let grounds = Grounds::new(store).await;
    let World { vault, me, .. } = &grounds.world;
    let made = vault
        .create_profile(
            me,
            ProfileFields {
                creation_template: Some(Some(
                    "CREATE USER [#USERNAME#] PASSWORD [#NEW_PASSWORD#]".to_owned(),
                )),
                removal_template: Some(Some("DROP USER [#USERNAME#]".to_owned())),
                roles: Some(vec!["reader".to_owned()]),
                ..fields("reports")
            },
        )
        .await
        .expect("a profile");
    assert_eq!((made.ttl, made.enabled), (Ttl::default(), true));
    let long = vec!["p".to_owned(); 11];
    let cloud = ProfileKind::Cloud;
    for (wrong, field, part) in [
        (
            ProfileFields {
                ttl_seconds: Some(0),
                ..fields("a")
            },
            "ttl_seconds",
            "60 to 2592000",
        ),
        (
            ProfileFields {
                ttl_seconds: Some(315_360_000),
                ..fields("a")
            },
            "ttl_seconds",
            "30 days",
        ),
        (
            ProfileFields {
                creation_template: Some(Some("CREATE USER [#USER#]".to_owned())),
                ..fields("a")
            },
            "creation_template",
            "there is no tag [#USER#]",
        ),
        (
            ProfileFields {
                removal_template: Some(Some("DROP USER ephemeral".to_owned())),
                ..fields("a")
            },
            "removal_template",
            "[#USERNAME#]",
        ),
        (
            ProfileFields {
                kind: Some(cloud),
                policies: Some(long.clone()),
                ..fields("a")
            },
            "policies",
            "at most 10",
        ),
        (
            ProfileFields {
                policies: Some(long[..1].to_vec()),
                ..fields("a")
            },
            "policies",
            "only profiles of the kind cloud",
        ),
        (fields("1 a"), "identifier", "begin with a letter"),
        (
            ProfileFields {
                target: Some("nowhere".to_owned()),
                ..fields("a")
            },
            "target",
            "there is no such target",
        ),
        (
            ProfileFields {
                target: None,
                ..fields("a")
            },
            "target",
            "is required",
        ),
    ] {
        let error = vault.create_profile(me, wrong).await.expect_err(field);
        let Error::Invalid(errors) = error else {
            panic!("{field}: {error:?}")
        };
        assert_eq!(errors[0].field, field);
        assert!(
            errors[0].message.contains(part),
            "{field}: {}",
            errors[0].message
        );
    }
    let taken = vault.create_profile(me, fields("reports")).await;
    assert!(matches!(taken, Err(Error::Conflict(_))), "{taken:?}");
    let shorter = ProfileFields {
        ttl_seconds: Some(60),
        ..ProfileFields::default()
    };
    let changed = vault.update_profile(me, made.id, shorter, Some(1)).await;
    assert_eq!(changed.expect("changed").ttl.seconds(), 60);
    let moved = ProfileFields {
        target: Some("other".to_owned()),
        ..ProfileFields::default()
    };
    let moved = vault.update_profile(me, made.id, moved, None).await;
    assert!(matches!(moved, Err(Error::Invalid(_))), "{moved:?}");
    let filter = ProfileFilter {
        target: Some("db".to_owned()),
        ..ProfileFilter::default()
    };
    let listed = vault.list_profiles(me, filter, Page::first(10)).await;
    let listed = listed.expect("profiles").items;
    let names: Vec<_> = listed.iter().map(|it| it.identifier.as_str()).collect();
    assert_eq!(names, ["reports", "cloud", "web"]);
}

/// Of a disabled target no profile is made and by none of its profiles an account: the target is
/// named, in the history of the secret too, and what is served stays.
pub async fn a_profile_of_a_disabled_target_is_refused(store: Arc<dyn Store>) {
    let grounds = Grounds::new(store).await;
    let World { vault, me, .. } = &grounds.world;
    let id = grounds.secret("one", &["web"]).await;
    grounds.rotate(id).await;
    let target = vault
        .list_targets(me, Page::first(1))
        .await
        .expect("targets")
        .items
        .remove(0);
    let off = TargetFields {
        enabled: Some(false),
        ..TargetFields::default()
    };
    vault
        .update_target(me, target.id, off, None)
        .await
        .expect("disabled");
    let error = vault
        .create_profile(me, fields("late"))
        .await
        .expect_err("a disabled target");
    assert!(
        error.to_string().contains("the target db is disabled"),
        "{error}"
    );
    let error = vault
        .rotate_secret(me, id, None)
        .await
        .expect_err("a disabled target");
    let part = "the target db of the profile web is disabled";
    assert!(
        matches!(&error, Error::Conflict(it) if it.contains(part)),
        "{error}"
    );
    let errors = vault
        .list_secret_errors(me, id, Page::first(5))
        .await
        .expect("a history");
    assert_eq!(errors.items[0].operation, "provision");
    assert_eq!(errors.items[0].message, part);
    assert_eq!(errors.items[0].kind.as_deref(), Some("refused"));
    assert!(grounds.logs_in(id).await);
    assert_eq!(grounds.leases(None).await.len(), 1);
    // To a client it is a failure beside the unchanged secret.
    let (authorization, client) = grounds.client("app").await;
    vault
        .attach_secret(me, authorization.id, id)
        .await
        .expect("attached");
    let resource = crate::access::Resource::Application;
    let done = vault
        .provision_secret(&client, resource, id)
        .await
        .expect("an answer");
    assert!(done.secret.is_none());
    assert!(done.failures.iter().all(|it| it.kind == Failure::Refused));
    assert!(
        done.failures.iter().any(|it| it.message == part),
        "{:?}",
        done.failures
    );
}

/// Neither a profile nor a target is deleted of which something lives.
pub async fn what_is_in_use_is_not_deleted(store: Arc<dyn Store>) {
    let grounds = Grounds::new(store).await;
    let World { vault, me, .. } = &grounds.world;
    let id = grounds.secret("one", &["web"]).await;
    grounds.rotate(id).await;
    let filter = ProfileFilter {
        identifier: Some("web".to_owned()),
        ..ProfileFilter::default()
    };
    let listed = vault.list_profiles(me, filter, Page::first(1)).await;
    let profile = listed.expect("profiles").items.remove(0);
    let target = vault
        .list_targets(me, Page::first(1))
        .await
        .expect("targets")
        .items
        .remove(0);
    let refused = vault.delete_profile(me, profile.id, None).await;
    assert!(
        matches!(refused, Err(Error::Conflict(_))),
        "a lease lives: {refused:?}"
    );
    grounds.world.wait(3_600);
    grounds.world.work().await;
    let refused = vault.delete_profile(me, profile.id, None).await;
    assert!(
        matches!(refused, Err(Error::Conflict(_))),
        "a secret is of it: {refused:?}"
    );
    let refused = vault.delete_target(me, target.id, None).await;
    assert!(
        matches!(refused, Err(Error::Conflict(_))),
        "profiles are of it: {refused:?}"
    );
    vault.purge_secret(me, id, None).await.expect("purged");
    vault
        .delete_profile(me, profile.id, None)
        .await
        .expect("deleted");
}
