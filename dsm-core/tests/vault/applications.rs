use dsm_core::access::{Operator, Permission, Rule};
use dsm_core::store::Page;
use dsm_core::vault::{
    ApplicationFields, ApplicationFilter, AuthorizationFilter, Caller, Error, Once, Registry,
    RegistryPatch,
};

use super::fixture::{Fixture, fields};

#[tokio::test]
async fn a_creation_with_a_key_happens_once() {
    let f = Fixture::new().await;
    let once = |key: &str, digest| Caller {
        once: Some(Once {
            key: key.to_owned(),
            digest: [digest; 32],
        }),
        ..f.me.clone()
    };
    let create =
        async |caller: Caller, name: &str| f.vault.create_secret(&caller, name, fields("1")).await;
    let first = create(once("k", 1), "a").await.unwrap();
    let second = create(once("k", 1), "a").await.unwrap();
    assert_eq!((first.id, first.version), (second.id, second.version));
    let error = create(once("k", 2), "b").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Idempotency-Key: was used for another request"
    );
    create(once("l", 2), "b").await.unwrap();
}

#[tokio::test]
async fn a_disabled_type_or_line_is_taken_off_applications_for_good() {
    let f = Fixture::new().await;
    let line = Registry::LineOfBusiness;
    let entry = f
        .vault
        .create_registry_entry(&f.me, line, "retail", "")
        .await
        .unwrap();
    let mut fields = ApplicationFields::new("shop");
    fields.line_of_business = Some(Some("retail".to_owned()));
    let application = f.vault.create_application(&f.me, fields).await.unwrap();
    let switch = async |enabled| {
        let patch = RegistryPatch {
            enabled: Some(enabled),
            ..Default::default()
        };
        f.vault
            .update_registry_entry(&f.me, line, entry.id, patch, None)
            .await
            .unwrap();
    };
    switch(false).await;
    switch(true).await;
    let now = f
        .vault
        .find_application(&f.me, application.id)
        .await
        .unwrap();
    assert_eq!(now.line_of_business, None);
}

#[tokio::test]
async fn names_are_unique_in_their_list_and_not_beyond() {
    let f = Fixture::new().await;
    let error = f
        .vault
        .create_registry_entry(&f.me, Registry::System, "sys", "")
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "the name is registered already");
    f.vault
        .create_registry_entry(&f.me, Registry::Environment, "sys", "")
        .await
        .unwrap();
    let engines = f
        .vault
        .list_registry(&f.me, Registry::Engine, Page::first(10))
        .await
        .unwrap();
    let mut names: Vec<_> = engines.items.iter().map(|e| e.name.clone()).collect();
    names.sort();
    assert_eq!(names, ["Ansible", "Generic", "GitLab", "Kubernetes"]);
}

#[tokio::test]
async fn filters_find_what_they_say() {
    let f = Fixture::new().await;
    let mut fields = ApplicationFields::new("tagged");
    fields.tags = Some(vec!["blue".to_owned()]);
    f.vault.create_application(&f.me, fields).await.unwrap();
    let count = async |filter| {
        f.vault
            .list_applications(&f.me, filter, Page::first(10))
            .await
            .unwrap()
            .items
            .len()
    };
    let tag = |tag: &str| ApplicationFilter {
        tag: Some(tag.to_owned()),
        ..Default::default()
    };
    assert_eq!(count(tag("blue")).await, 1);
    assert_eq!(count(tag("red")).await, 0);
    assert_eq!(
        count(ApplicationFilter {
            enabled: Some(true),
            ..Default::default()
        })
        .await,
        2
    );
    let filter = AuthorizationFilter {
        system: Some("sys".to_owned()),
        ..Default::default()
    };
    let found = f
        .vault
        .list_authorizations(&f.me, filter, Page::first(10))
        .await
        .unwrap();
    assert_eq!(found.items.len(), 1);
}

#[tokio::test]
async fn an_application_with_authorizations_stays() {
    let f = Fixture::new().await;
    let id = f.authorization.application;
    let error = f
        .vault
        .delete_application(&f.me, id, None)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Conflict(_)));
    let free = f
        .vault
        .create_application(&f.me, ApplicationFields::new("free"))
        .await
        .unwrap();
    f.vault
        .delete_application(&f.me, free.id, None)
        .await
        .unwrap();
    assert!(matches!(
        f.vault.find_application(&f.me, free.id).await,
        Err(Error::NotFound(_))
    ));
}

#[tokio::test]
async fn each_permission_is_needed_for_what_it_names() {
    let f = Fixture::new().await;
    let secret = f.secret("a", "1").await;
    let without = |permission: Permission| {
        let mut operator = Operator::embedded("limited");
        operator.permissions = operator
            .permissions
            .iter()
            .filter(|p| *p != permission)
            .collect();
        Caller::from(operator)
    };
    let refused = |result: Result<(), Error>, permission: Permission| match result {
        Err(Error::Denied(denial)) => assert_eq!(denial.rule(), Rule::Permission, "{permission}"),
        other => panic!("{permission}: {other:?}"),
    };
    let p = Permission::SecretsReveal;
    refused(
        f.vault
            .reveal_version(&without(p), secret.id, 1)
            .await
            .map(drop),
        p,
    );
    let p = Permission::SecretsWrite;
    refused(
        f.vault
            .create_secret(&without(p), "b", fields("1"))
            .await
            .map(drop),
        p,
    );
    let p = Permission::SecretsPurge;
    refused(f.vault.purge_secret(&without(p), secret.id, None).await, p);
    let p = Permission::AuthorizationsReveal;
    refused(
        f.vault
            .reveal_credentials(&without(p), f.authorization.id)
            .await
            .map(drop),
        p,
    );
    let p = Permission::CredentialsWrite;
    let mut credentials = fields("1");
    credentials.data.credentials = Some(vec![dsm_core::secret::Credential::default()]);
    refused(
        f.vault
            .create_secret(&without(p), "c", credentials)
            .await
            .map(drop),
        p,
    );
}

#[tokio::test]
async fn operators_come_and_go_and_hand_out_no_more_than_they_have() {
    use dsm_core::access::Permissions;
    use dsm_core::vault::NewOperator;
    let f = Fixture::new().await;
    let few: Permissions = [Permission::OperatorsWrite, Permission::SecretsView]
        .into_iter()
        .collect();
    let new = NewOperator {
        permissions: few,
        ..NewOperator::new("few")
    };
    let (account, token) = f.vault.create_operator(&f.me, new).await.unwrap();
    let operator = f
        .vault
        .authenticate_operator(Some(token.expose()), None)
        .await
        .unwrap();
    assert_eq!(operator.id, Some(account.id));
    let error = f
        .vault
        .create_operator(&operator.into(), NewOperator::new("all"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "permissions: must not hold a permission that you do not have"
    );
    f.vault.revoke_operator(&f.me, account.id).await.unwrap();
    let error = f
        .vault
        .authenticate_operator(Some(token.expose()), None)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Denied(d) if d.rule() == Rule::OperatorToken),
        "{error:?}"
    );
    assert!(f.vault.authenticate_operator(None, None).await.is_err());
}

#[tokio::test]
async fn restoring_credentials_needs_the_permission_to_attach_them() {
    let f = Fixture::new().await;
    let mut with_credentials = fields("1");
    with_credentials.data.credentials = Some(vec![dsm_core::secret::Credential::default()]);
    let secret = f
        .vault
        .create_secret(&f.me, "a", with_credentials)
        .await
        .unwrap();
    let mut without = fields("2");
    without.data.credentials = Some(Vec::new());
    f.vault
        .update_secret(&f.me, secret.id, without, None)
        .await
        .unwrap();
    let mut operator = Operator::embedded("limited");
    operator.permissions = operator
        .permissions
        .iter()
        .filter(|p| *p != Permission::CredentialsWrite)
        .collect();
    let error = f
        .vault
        .restore_version(&operator.into(), secret.id, 1)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Denied(d) if d.rule() == Rule::Permission),
        "{error:?}"
    );
    f.vault.restore_version(&f.me, secret.id, 1).await.unwrap();
}
