use dsm_core::access::{DenialClass, Rule};
use dsm_core::vault::{
    ApplicationFields, AuthorizationFields, Error, Registration, SecretFields, VaultOptions,
};

use super::fixture::{Fixture, fields, identity};

fn registration(application: &str, system: &str, environment: &str) -> Registration {
    Registration {
        application: ApplicationFields {
            name: Some(application.to_owned()),
            ..ApplicationFields::default()
        },
        authorization: AuthorizationFields {
            system: Some(system.to_owned()),
            environment: Some(environment.to_owned()),
            ..AuthorizationFields::default()
        },
    }
}

async fn auto() -> Fixture {
    Fixture::with(
        VaultOptions {
            auto_register: true,
            ..Default::default()
        },
        |fields| fields,
    )
    .await
}

#[tokio::test]
async fn a_new_application_gets_credentials_that_work_from_where_the_caller_is() {
    let f = auto().await;
    let client = f.principal().await;
    let made = f
        .vault
        .register_application(&client, registration("new", "s2", "e2"))
        .await
        .unwrap();
    assert!(made.application_created && made.authorization_created);
    assert_eq!(made.authorization.allowed_ips, f.authorization.allowed_ips);
    assert!(!made.authorization.allow_application_creation);
    let credentials = made.credentials.into_oauth2().unwrap();
    let id = &credentials.client_id;
    let secret = credentials.client_secret.expose();
    f.vault.authenticate(id, secret, f.origin()).await.unwrap();
    // The same again finds both and gives the same credentials.
    let again = f
        .vault
        .register_application(&client, registration("new", "s2", "e2"))
        .await
        .unwrap();
    assert!(!again.application_created && !again.authorization_created);
    let again = again.credentials.into_oauth2().unwrap();
    assert_eq!(&again.client_id, id);
    assert!(again.client_secret == credentials.client_secret);
}

#[tokio::test]
async fn the_own_authorization_is_found_by_system_and_environment() {
    let f = Fixture::new().await;
    let client = f.principal().await;
    let found = f
        .vault
        .register_application(&client, registration("app", "sys", "dev"))
        .await
        .unwrap();
    assert_eq!(found.authorization.id, f.authorization.id);
    let found = found.credentials.into_oauth2().unwrap();
    assert_eq!(found.client_id, f.credentials.client_id);
}

#[tokio::test]
async fn names_that_are_not_registered_are_refused_unless_configured() {
    let f = Fixture::new().await;
    let client = f.principal().await;
    let error = f
        .vault
        .register_application(&client, registration("new", "s2", "e2"))
        .await
        .unwrap_err();
    let Error::Invalid(errors) = &error else {
        panic!("{error:?}")
    };
    let fields: Vec<_> = errors.iter().map(|e| e.field.as_str()).collect();
    assert_eq!(fields, ["environment", "system"]);
}

#[tokio::test]
async fn credentials_of_others_are_never_given() {
    let f = auto().await;
    let other = f
        .vault
        .create_application(&f.me, ApplicationFields::new("other"))
        .await
        .unwrap();
    let mut theirs = AuthorizationFields::new("sys", "dev");
    theirs.allowed_ips = Some(vec!["*".to_owned()]);
    f.vault
        .create_authorization(&f.me, other.id, theirs)
        .await
        .unwrap();
    let client = f.principal().await;
    for environment in ["dev", "unheard-of"] {
        let wanted = registration("other", "sys", environment);
        let error = f
            .vault
            .register_application(&client, wanted)
            .await
            .unwrap_err();
        assert!(
            matches!(&error, Error::Denied(d) if d.class() == DenialClass::Forbidden),
            "{environment}: {error:?}"
        );
    }
}

#[tokio::test]
async fn what_is_wider_than_the_caller_is_refused_by_name() {
    let f = auto().await;
    let client = f.principal().await;
    let mut wanted = registration("new", "s2", "e2");
    wanted.authorization.allowed_ips = Some(vec!["0.0.0.0/0".to_owned()]);
    let error = f
        .vault
        .register_application(&client, wanted)
        .await
        .unwrap_err();
    let Error::Denied(denial) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(
        (denial.rule(), denial.field()),
        (Rule::NotWider, Some("allowed_ips"))
    );
    let mut narrow = registration("new", "s2", "e2");
    narrow.authorization.allowed_ips = Some(vec!["10.1.0.0/16".to_owned()]);
    f.vault.register_application(&client, narrow).await.unwrap();
}

#[tokio::test]
async fn creation_needs_the_flag() {
    let f = Fixture::with(
        VaultOptions {
            auto_register: true,
            ..Default::default()
        },
        |fields| AuthorizationFields {
            allow_application_creation: Some(false),
            ..fields
        },
    )
    .await;
    let client = f.principal().await;
    let error = f
        .vault
        .register_application(&client, registration("new", "sys", "dev"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Denied(d) if d.rule() == Rule::ApplicationCreation),
        "{error:?}"
    );
    f.vault
        .register_application(&client, registration("app", "sys", "dev"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_made_authorization_sees_only_its_own_secrets() {
    let f = auto().await;
    f.secret("mine", "1").await;
    let client = f.principal().await;
    let made = f
        .vault
        .register_application(&client, registration("new", "s2", "e2"))
        .await
        .unwrap();
    let credentials = made.credentials.into_oauth2().unwrap();
    let secret = credentials.client_secret.expose();
    let token = f
        .vault
        .authenticate(&credentials.client_id, secret, f.origin())
        .await
        .unwrap();
    let other = f
        .vault
        .principal(token.token.expose(), f.origin())
        .await
        .unwrap();
    assert!(
        f.vault
            .read_secret(&other, &identity("mine"))
            .await
            .is_err()
    );
    f.vault
        .write_secret(&other, &identity("theirs"), fields("2"))
        .await
        .unwrap();
    assert!(
        f.vault
            .read_secret(&client, &identity("theirs"))
            .await
            .is_err()
    );
    let fields = SecretFields {
        enabled: Some(false),
        ..fields("3")
    };
    assert!(
        f.vault
            .write_secret(&client, &identity("theirs"), fields)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_unique_key_of_others_is_refused_like_everything_else_of_theirs() {
    let f = auto().await;
    let other = f
        .vault
        .create_application(&f.me, ApplicationFields::new("other"))
        .await
        .unwrap();
    let mut theirs = AuthorizationFields::new("sys", "dev");
    theirs.unique_key = Some(Some("their-key".to_owned()));
    f.vault
        .create_authorization(&f.me, other.id, theirs)
        .await
        .unwrap();
    let client = f.principal().await;
    for application in ["app", "other", "unheard-of"] {
        let mut wanted = registration(application, "sys", "dev");
        wanted.authorization.unique_key = Some(Some("their-key".to_owned()));
        let error = f
            .vault
            .register_application(&client, wanted)
            .await
            .unwrap_err();
        assert!(
            matches!(&error, Error::Denied(d) if d.rule() == Rule::ApplicationOwnership),
            "{application}: {error:?}"
        );
    }
}

#[tokio::test]
async fn two_that_register_the_same_at_once_both_get_it() {
    let f = std::sync::Arc::new(auto().await);
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let f = f.clone();
            tokio::spawn(async move {
                let client = f.principal().await;
                for _ in 0..20 {
                    let wanted = registration("new", "s2", "e2");
                    match f.vault.register_application(&client, wanted).await {
                        Err(Error::Stale) => tokio::task::yield_now().await,
                        result => return result.unwrap().application.id,
                    }
                }
                panic!("never got through");
            })
        })
        .collect();
    let mut ids = Vec::new();
    for task in tasks {
        ids.push(task.await.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
}
