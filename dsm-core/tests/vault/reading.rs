use chrono::TimeDelta;
use dsm_core::access::{DenialClass, Rule};
use dsm_core::vault::{AuthorizationFields, Error, VaultOptions};

use super::fixture::{Fixture, identity, value};

fn denied(error: Error) -> (Rule, DenialClass) {
    match error {
        Error::Denied(denial) => (denial.rule(), denial.class()),
        other => panic!("not a denial: {other:?}"),
    }
}

#[tokio::test]
async fn an_attached_secret_is_read_with_its_value() {
    let f = Fixture::new().await;
    f.secret("db/main", "hunter2").await;
    let opened = f
        .vault
        .read_secret(&f.principal().await, &identity("db/main"))
        .await
        .unwrap();
    assert_eq!(value(&opened), Some("hunter2"));
    assert_eq!(opened.engine, "Generic");
}

#[tokio::test]
async fn absent_and_unattached_look_the_same_outside_and_not_inside() {
    let f = Fixture::new().await;
    f.vault
        .create_secret(&f.me, "other", super::fixture::fields("x"))
        .await
        .unwrap();
    let client = f.principal().await;
    let absent = f
        .vault
        .read_secret(&client, &identity("absent"))
        .await
        .unwrap_err();
    let other = f
        .vault
        .read_secret(&client, &identity("other"))
        .await
        .unwrap_err();
    let (absent, other) = (denied(absent), denied(other));
    assert_eq!(absent, (Rule::SecretExists, DenialClass::NotFound));
    assert_eq!(other, (Rule::SecretAttached, DenialClass::NotFound));
}

#[tokio::test]
async fn wrong_credentials_and_tokens_are_refused_alike() {
    let f = Fixture::new().await;
    let id = &f.credentials.client_id;
    let wrong = f
        .vault
        .authenticate(id, "wrong", f.origin())
        .await
        .unwrap_err();
    let unknown = f
        .vault
        .authenticate(&"0".repeat(42), "wrong", f.origin())
        .await
        .unwrap_err();
    let token = f
        .vault
        .principal("dsm_at_nonsense", f.origin())
        .await
        .unwrap_err();
    assert_eq!(
        denied(wrong),
        (Rule::ClientSecret, DenialClass::Unauthenticated)
    );
    assert_eq!(
        denied(unknown),
        (Rule::Client, DenialClass::Unauthenticated)
    );
    assert_eq!(denied(token), (Rule::Token, DenialClass::Unauthenticated));
}

#[tokio::test]
async fn a_token_ends_at_its_instant() {
    let f = Fixture::new().await;
    let secret = f.credentials.client_secret.expose();
    let token = f
        .vault
        .authenticate(&f.credentials.client_id, secret, f.origin())
        .await
        .unwrap();
    assert_eq!(token.expires_in.as_secs(), 3600);
    f.clock.advance(TimeDelta::seconds(3599));
    f.vault
        .principal(token.token.expose(), f.origin())
        .await
        .unwrap();
    f.clock.advance(TimeDelta::seconds(1));
    let error = f
        .vault
        .principal(token.token.expose(), f.origin())
        .await
        .unwrap_err();
    assert_eq!(denied(error).0, Rule::TokenExpired);
}

#[tokio::test]
async fn disabling_suspends_tokens_and_enabling_revives_them() {
    let f = Fixture::new().await;
    f.secret("a", "1").await;
    let secret = f.credentials.client_secret.expose();
    let token = f
        .vault
        .authenticate(&f.credentials.client_id, secret, f.origin())
        .await
        .unwrap();
    let switch = async |enabled| {
        let fields = AuthorizationFields {
            enabled: Some(enabled),
            ..Default::default()
        };
        f.vault
            .update_authorization(&f.me, f.authorization.id, fields, None)
            .await
            .unwrap();
    };
    switch(false).await;
    let client = f
        .vault
        .principal(token.token.expose(), f.origin())
        .await
        .unwrap();
    let error = f
        .vault
        .read_secret(&client, &identity("a"))
        .await
        .unwrap_err();
    assert_eq!(
        denied(error),
        (Rule::AuthorizationEnabled, DenialClass::Inactive)
    );
    switch(true).await;
    let client = f
        .vault
        .principal(token.token.expose(), f.origin())
        .await
        .unwrap();
    f.vault.read_secret(&client, &identity("a")).await.unwrap();
}

#[tokio::test]
async fn revoking_is_for_good() {
    let f = Fixture::new().await;
    let client = f.principal().await;
    f.vault.revoke_self(&client).await.unwrap();
    let secret = f.credentials.client_secret.expose();
    let error = f
        .vault
        .authenticate(&f.credentials.client_id, secret, f.origin())
        .await
        .unwrap_err();
    assert_eq!(denied(error).1, DenialClass::Unauthenticated);
    let fields = AuthorizationFields {
        enabled: Some(true),
        ..Default::default()
    };
    let error = f
        .vault
        .update_authorization(&f.me, f.authorization.id, fields, None)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "{error:?}");
}

#[tokio::test]
async fn lists_leave_out_what_is_disabled_or_expired() {
    let f = Fixture::new().await;
    f.secret("a", "1").await;
    let disabled = f.secret("b", "2").await;
    let expired = f.secret("c", "3").await;
    f.vault
        .disable_secret(&f.me, disabled.id, None)
        .await
        .unwrap();
    f.vault.expire_secret(&f.me, expired.id).await.unwrap();
    let client = f.principal().await;
    let listed = f.vault.read_secrets(&client).await.unwrap();
    let names: Vec<_> = listed
        .iter()
        .map(|s| s.secret.identity.to_string())
        .collect();
    assert_eq!(names, ["a"]);
    let view = f.vault.read_application(&client).await.unwrap();
    assert_eq!(
        (view.system.as_str(), view.environment.as_str()),
        ("sys", "dev")
    );
    assert_eq!(view.secrets.len(), 1);
}

#[tokio::test]
async fn an_authorization_without_addresses_refuses_every_request() {
    let f = Fixture::with(VaultOptions::default(), |fields| AuthorizationFields {
        allowed_ips: None,
        ..fields
    })
    .await;
    let secret = f.credentials.client_secret.expose();
    let error = f
        .vault
        .authenticate(&f.credentials.client_id, secret, f.origin())
        .await
        .unwrap_err();
    assert_eq!(denied(error), (Rule::Ip, DenialClass::Unauthenticated));
}

#[tokio::test]
async fn values_never_leave_in_clear_where_there_is_no_key_to_seal_them_to() {
    let f = Fixture::that_lost_its_key().await;
    f.secret("a", "1").await;
    let client = f.principal().await;
    let error = f
        .vault
        .read_secret(&client, &identity("a"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "{error:?}");
    let error = f.vault.read_secrets(&client).await.unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "{error:?}");
    let written = super::fixture::fields("2");
    let error = f
        .vault
        .write_secret(&client, &identity("b"), written)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "{error:?}");
}

#[tokio::test]
async fn expiry_of_an_authorization_is_an_end() {
    let f = Fixture::new().await;
    let at = dsm_core::time::Clock::now(&*f.clock) + TimeDelta::seconds(60);
    let fields = AuthorizationFields {
        expires_at: Some(Some(at)),
        ..Default::default()
    };
    f.vault
        .update_authorization(&f.me, f.authorization.id, fields, None)
        .await
        .unwrap();
    f.clock.advance(TimeDelta::seconds(60));
    let fields = AuthorizationFields {
        expires_at: Some(None),
        ..Default::default()
    };
    let error = f
        .vault
        .update_authorization(&f.me, f.authorization.id, fields, None)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "the authorization has expired");
    f.vault
        .revoke_authorization(&f.me, f.authorization.id, None)
        .await
        .unwrap();
}
