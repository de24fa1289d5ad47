//! What clients ask for.

use std::num::NonZeroU32;
use std::sync::Arc;

use chrono::TimeDelta;
use futures_util::future::join_all;

use super::Grounds;
use crate::access::{DenialClass, Resource};
use crate::provision::LeaseState;
use crate::secret::{EphemeralCredential, Identity, SecretData};
use crate::store::{Page, Store};
use crate::testing::rotation::World;
use crate::vault::{
    ApplicationFields, AuthorizationFields, Container, Error, LeaseEnd, Registration, SecretFields,
    SecretFilter, VaultOptions,
};

fn container() -> Container {
    Container {
        pod_name: "invoices-7f9c".to_owned(),
        deploy: "invoices".to_owned(),
        namespace: "billing".to_owned(),
    }
}

fn is_denied<T: std::fmt::Debug>(result: &Result<T, Error>, class: DenialClass) {
    let denied = matches!(result, Err(Error::Denied(denial)) if denial.class() == class);
    assert!(denied, "{class:?} was expected, not {result:?}");
}

/// New accounts are in the answer, by the items of the secret and the profiles of the application,
/// and count for the authorization. A secret that is not attached is as if it was absent.
pub async fn a_client_has_its_secret_provisioned(store: Arc<dyn Store>) {
    let grounds = Grounds::new(store).await;
    let World { vault, me, .. } = &grounds.world;
    let id = grounds.secret("one", &["web"]).await;
    let (authorization, client) = grounds.client("app").await;
    let resource = Resource::Application;
    let absent = vault.provision_secret(&client, resource, id).await;
    is_denied(&absent, DenialClass::NotFound);
    let management = vault.provision_secret(&client, Resource::CiCd, id).await;
    is_denied(&management, DenialClass::Forbidden);
    vault
        .attach_secret(me, authorization.id, id)
        .await
        .expect("attached");
    let identity: Identity = "one".parse().expect("an identity");
    let mut users = Vec::new();
    for _ in 0..2 {
        let done = vault.provision_identity(&client, resource, &identity).await;
        let done = done.expect("provisioned");
        assert!(done.failures.is_empty(), "{:?}", done.failures);
        let secret = done.secret.expect("the secret");
        assert_eq!(secret.data.len(), 2, "by its item and by the cloud profile");
        assert!(secret.data.iter().all(|map| grounds.accepts(map)));
        let user = secret.data[0]
            .value("username")
            .and_then(|value| value.expose());
        users.push(user.expect("a user").to_owned());
    }
    assert_ne!(users[0], users[1]);
    let leases = grounds.leases(Some(true)).await;
    assert_eq!(leases.len(), 4, "those of before live to their time");
    assert!(
        leases
            .iter()
            .all(|it| it.authorization == Some(authorization.id))
    );
    let plain = SecretFields::new("p", SecretData::key_values([("A", "b")]));
    let plain = vault
        .create_secret(me, "plain", plain)
        .await
        .expect("a secret");
    let (other, other_client) = grounds.client("other").await;
    vault
        .attach_secret(me, other.id, plain.id)
        .await
        .expect("attached");
    let done = vault
        .provision_secret(&other_client, resource, plain.id)
        .await;
    let shown = done.expect("provisioned").secret.expect("the secret");
    assert_eq!(
        shown.data.len(),
        3,
        "the profiles of the application are listed in it"
    );
}

/// A client cannot put an item of a profile in a secret that is not its application's.
pub async fn a_client_uses_no_profile_of_others(store: Arc<dyn Store>) {
    let grounds = Grounds::new(store).await;
    let World { vault, me, .. } = &grounds.world;
    let plain = vault
        .create_application(me, ApplicationFields::new("plain"))
        .await;
    let plain = plain.expect("an application");
    grounds.client("registers the names").await;
    let mut fields = AuthorizationFields::new("here", "here");
    fields.allowed_ips = Some(vec!["*".to_owned()]);
    let authorization = vault.create_authorization(me, plain.id, fields).await;
    let client = grounds
        .principal(&authorization.expect("made").authorization)
        .await;
    let fields = |profile: &str| {
        let mut fields = SecretFields {
            name: Some("n".to_owned()),
            ..SecretFields::default()
        };
        fields.data.ephemeral_credentials = Some(vec![EphemeralCredential {
            profile: profile.to_owned(),
            ..EphemeralCredential::default()
        }]);
        fields
    };
    let identity: Identity = "own".parse().expect("an identity");
    let refused = vault.write_secret(&client, &identity, fields("web")).await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    let asked = vault.provision_container(&client, &container()).await;
    assert!(matches!(asked, Err(Error::Conflict(_))), "{asked:?}");
    let (_, client) = grounds.client("app").await;
    let written = vault.write_secret(&client, &identity, fields("web")).await;
    written.expect("its own profile");
    let refused = vault
        .write_secret(&client, &identity, fields("reports"))
        .await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
}

/// A container has a secret of its own, the same however often it asks, and gives its accounts back.
pub async fn a_container_has_accounts_until_it_gives_them_back(store: Arc<dyn Store>) {
    let grounds = Grounds::new(store).await;
    let world = &grounds.world;
    let World { vault, .. } = world;
    let (authorization, client) = grounds.client("app").await;
    let container = container();
    for _ in 0..3 {
        let failures = vault.provision_container(&client, &container).await;
        assert_eq!(failures.expect("provisioned"), []);
    }
    assert_eq!(grounds.leases(None).await.len(), 2, "once");
    let attached = vault
        .attached_secrets(authorization.id)
        .await
        .expect("attached");
    assert_eq!(attached.len(), 1);
    let view = vault
        .read_application(&client)
        .await
        .expect("the application");
    assert_eq!(view.secrets[0].data.len(), 2);
    assert!(view.secrets[0].data.iter().all(|map| grounds.accepts(map)));
    // Another authorization's container of the same name is another.
    let (_, other) = grounds.client("other").await;
    let failures = vault.provision_container(&other, &container).await;
    assert_eq!(failures.expect("provisioned"), []);
    assert_eq!(grounds.leases(None).await.len(), 4);
    let id = attached[0];
    let stranger = vault.deprovision_container(&other, id, &container).await;
    is_denied(&stranger, DenialClass::NotFound);
    let wrong = Container {
        pod_name: "another".to_owned(),
        ..container.clone()
    };
    let wrong = vault.deprovision_container(&client, id, &wrong).await;
    assert!(matches!(wrong, Err(Error::Invalid(_))), "{wrong:?}");
    for _ in 0..2 {
        let given = vault.deprovision_container(&client, id, &container).await;
        given.expect("given back");
    }
    assert_eq!(world.work().await.over, 2);
    assert_eq!(world.target.account_names().len(), 2, "those of the other");
    let ended = grounds.leases(Some(false)).await;
    assert!(
        ended
            .iter()
            .all(|it| it.end == Some(LeaseEnd::Deprovisioned))
    );
    assert_eq!(grounds.served(id).await.len(), 2);
    let view = vault
        .read_application(&client)
        .await
        .expect("the application");
    assert!(
        view.secrets[0]
            .data
            .iter()
            .all(|map| map.value("password").is_none())
    );
    // What was given back can be had again.
    let failures = vault.provision_container(&client, &container).await;
    assert_eq!(failures.expect("provisioned"), []);
    assert!(grounds.logs_in(id).await);
    for bad in ["", "a/b", "..", "a b"] {
        let bad = Container {
            namespace: bad.to_owned(),
            ..container.clone()
        };
        let refused = vault.provision_container(&client, &bad).await;
        let Err(Error::Invalid(errors)) = refused else {
            panic!("{bad:?}: {refused:?}")
        };
        assert_eq!(errors[0].field, "namespace");
    }
}

/// An authorization that is revoked, by an operator or by itself, and a secret that is purged lose
/// their accounts at once.
pub async fn an_ended_authorization_loses_its_accounts(store: Arc<dyn Store>) {
    let grounds = Grounds::new(store).await;
    let world = &grounds.world;
    let World { vault, me, .. } = world;
    for (number, by_itself) in [(0, false), (1, true)] {
        let (authorization, client) = grounds.client(&format!("app{number}")).await;
        let container = container();
        let failures = vault.provision_container(&client, &container).await;
        assert_eq!(failures.expect("provisioned"), []);
        assert_eq!(world.target.account_names().len(), 2);
        if by_itself {
            vault.revoke_self(&client).await.expect("revoked");
        } else {
            let revoked = vault.revoke_authorization(me, authorization.id, None).await;
            revoked.expect("revoked");
        }
        assert_eq!(world.work().await.over, 2);
        grounds.check_end("after the authorization").await;
        let ended = grounds.leases(None).await;
        assert_eq!(ended[0].end, Some(LeaseEnd::OwnerEnded));
        // Nothing is made for it any more, also where it was under way.
        let late = vault.provision_container(&client, &container).await;
        assert!(late.is_err(), "{late:?}");
        grounds.end_everything().await;
        grounds.check_end("after a late client").await;
    }
    let id = grounds.secret("one", &["web"]).await;
    grounds.rotate(id).await;
    vault.purge_secret(me, id, None).await.expect("purged");
    assert_eq!(world.work().await.over, 1);
    let id = grounds.secret("two", &["web"]).await;
    grounds.rotate(id).await;
    vault.expire_secret(me, id).await.expect("expired");
    assert_eq!(world.work().await.over, 1);
    grounds.check_end("after the secrets").await;
}

/// Nothing new is made for an authorization that is disabled or has expired; what it has lives to its
/// time.
pub async fn a_stopped_authorization_gets_no_new_account(store: Arc<dyn Store>) {
    let grounds = Grounds::new(store).await;
    let world = &grounds.world;
    let World { vault, me, .. } = world;
    let id = grounds.secret("one", &["web"]).await;
    let (authorization, _) = grounds.client("app").await;
    let attached = vault.attach_secret(me, authorization.id, id).await;
    attached.expect("attached");
    grounds.rotate(id).await;
    let set = async |fields| {
        let changed = vault.update_authorization(me, authorization.id, fields, None);
        changed.await.expect("changed");
    };
    let enabled = |enabled| AuthorizationFields {
        enabled: Some(enabled),
        ..AuthorizationFields::default()
    };
    let expires = AuthorizationFields {
        expires_at: Some(Some(vault.now() + TimeDelta::seconds(10))),
        ..AuthorizationFields::default()
    };
    let nothing_is_made = async || {
        let served = world.find(id).await.version;
        let rotated = vault.rotate_secret(me, id, None).await;
        rotated.expect("nothing to be done");
        world.work().await;
        assert_eq!(world.find(id).await.version, served);
        assert!(grounds.logs_in(id).await, "what it has lives on");
    };
    set(enabled(false)).await;
    nothing_is_made().await;
    set(enabled(true)).await;
    let served = world.find(id).await.version;
    grounds.rotate(id).await;
    assert_eq!(world.find(id).await.version, served + 1);
    set(expires).await;
    world.wait(10);
    nothing_is_made().await;
    grounds.end_everything().await;
    grounds.check_end("after all").await;
}

/// However many are asked for at once, no more accounts live than an authorization may have, and
/// places become free.
pub async fn no_more_accounts_live_than_an_authorization_may_have(store: Arc<dyn Store>) {
    let most = 5;
    let options = VaultOptions {
        leases_per_authorization: NonZeroU32::new(most).expect("five"),
        ..VaultOptions::default()
    };
    let grounds = Grounds::with(store, options).await;
    let world = &grounds.world;
    let World { vault, me, .. } = world;
    let (authorization, client) = grounds.client("app").await;
    let mut ids = Vec::new();
    for number in 0..8 {
        let id = grounds.secret(&format!("s{number}"), &["web"]).await;
        vault
            .attach_secret(me, authorization.id, id)
            .await
            .expect("attached");
        ids.push(id);
    }
    let resource = Resource::Application;
    let asked = ids
        .iter()
        .map(|id| vault.provision_secret(&client, resource, *id));
    let mut refused = 0;
    for done in join_all(asked).await {
        let done = done.expect("an answer");
        for failure in &done.failures {
            assert!(
                failure.message.contains("may have 5"),
                "{}",
                failure.message
            );
            refused += 1;
        }
    }
    // Each asks for two: one by its item, one by the cloud profile.
    assert_eq!(refused, 6);
    let live = grounds.leases(Some(true)).await;
    assert!(live.len() <= most as usize, "{} live", live.len());
    assert!(
        live.iter()
            .all(|it| it.progress.state == LeaseState::Active)
    );
    let errors = vault.list_secrets(
        me,
        SecretFilter {
            has_error: Some(true),
            ..SecretFilter::default()
        },
        Page::first(20),
    );
    assert_eq!(errors.await.expect("secrets").items.len(), 6);
    world.wait(3_600);
    world.work().await;
    let done = vault.provision_secret(&client, resource, ids[0]).await;
    assert_eq!(done.expect("an answer").failures, []);
}

/// A client that registers an authorization of an application with automatic provisioning finds its
/// accounts in a secret of it.
pub async fn a_new_authorization_is_provisioned_automatically(store: Arc<dyn Store>) {
    let grounds = Grounds::new(store).await;
    let world = &grounds.world;
    let World { vault, me, .. } = world;
    let (_, client) = grounds.client("app").await;
    vault
        .create_registry_entry(me, crate::vault::Registry::System, "other", "")
        .await
        .expect("registered");
    let registration = Registration {
        application: ApplicationFields {
            name: Some("app".to_owned()),
            ..ApplicationFields::default()
        },
        authorization: AuthorizationFields {
            system: Some("other".to_owned()),
            environment: Some("here".to_owned()),
            ..AuthorizationFields::default()
        },
    };
    let made = vault.register_application(&client, registration).await;
    let made = made.expect("registered");
    assert!(made.authorization_created);
    assert_eq!(world.work().await.promoted, 1);
    let client = grounds.principal(&made.authorization).await;
    let view = vault
        .read_application(&client)
        .await
        .expect("the application");
    assert_eq!(view.secrets.len(), 1);
    assert_eq!(view.secrets[0].data.len(), 2);
    assert!(view.secrets[0].data.iter().all(|map| grounds.accepts(map)));
    let leases = grounds.leases(Some(true)).await;
    assert!(
        leases
            .iter()
            .all(|it| it.authorization == Some(made.authorization.id))
    );
    vault.revoke_self(&client).await.expect("revoked");
    assert_eq!(world.work().await.over, 2);
    grounds.check_end("after the authorization").await;
}
