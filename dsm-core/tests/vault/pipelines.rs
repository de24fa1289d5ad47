use dsm_core::access::{DenialClass, Rule};
use dsm_core::audit::{AuditQuery, ObjectKind, Operation, Outcome};
use dsm_core::pipeline::{
    Assignments, MappedCredential, MappedKeyValues, Mapping, ReviewStatus, Variable,
};
use dsm_core::store::Page;
use dsm_core::vault::{
    Error, RegisteredVariables, Stored, VariableFilter, VariablePatch, VariableRegistration,
    VaultOptions,
};

use super::fixture::{Fixture, identity};

const MANY: Page = Page {
    after: None,
    limit: 500,
};

async fn fixture() -> Fixture {
    Fixture::with(VaultOptions::default(), |mut fields| {
        let all = ["Application", "CI/CD", "Secret Management"];
        fields.resources = Some(all.map(str::to_owned).into());
        fields
    })
    .await
}

/// `DB_USER` and `DB_PASSWORD` make the secret `db/main`.
fn mapping() -> Mapping {
    Mapping {
        credentials: vec![MappedCredential {
            name: "db/main".to_owned(),
            user: Some("DB_USER".to_owned()),
            password: Some("DB_PASSWORD".to_owned()),
            ..MappedCredential::default()
        }],
        ..Mapping::default()
    }
}

async fn register(f: &Fixture, env: &str, mapping: Mapping) -> Result<RegisteredVariables, Error> {
    let variables = Assignments::parse(env).unwrap();
    let registration = VariableRegistration { variables, mapping };
    let client = f.principal().await;
    f.vault.register_variables(&client, registration).await
}

async fn variables(f: &Fixture) -> Vec<Stored<Variable>> {
    let filter = VariableFilter::default();
    let found = f.vault.list_variables(&f.me, filter, MANY).await.unwrap();
    found.items
}

async fn variable(f: &Fixture, name: &str) -> Stored<Variable> {
    let all = variables(f).await;
    all.into_iter().find(|one| one.name == name).unwrap()
}

const ENV: &str = "DB_USER=app\nDB_PASSWORD=one\nAPI_KEY=abc\nPATH=/bin\nCOLOUR=blue";

#[tokio::test]
async fn what_is_mapped_becomes_a_secret_and_the_rest_waits_for_review() {
    let f = fixture().await;
    let deploy = register(&f, ENV, mapping()).await.unwrap().deploy;
    assert_eq!((deploy.variables, deploy.secrets.len()), (5, 1));
    let client = f.principal().await;
    let opened = f.vault.read_secret(&client, &identity("db/main")).await;
    let opened = opened.unwrap();
    let shown = |name| opened.data[0].value(name).and_then(|value| value.expose());
    assert_eq!(
        (shown("DB_USER"), shown("DB_PASSWORD")),
        (Some("app"), Some("one"))
    );
    assert_eq!(opened.secret.name, "db/main");

    let all = variables(&f).await;
    let found: Vec<_> = all
        .iter()
        .rev()
        .map(|one| (&*one.name, one.status, one.sensitive, one.secret.is_some()))
        .collect();
    use ReviewStatus::{ApprovedAutomatically, PendingReview, RejectedAutomatically};
    assert_eq!(
        found,
        [
            ("DB_USER", ApprovedAutomatically, false, true),
            ("DB_PASSWORD", ApprovedAutomatically, true, true),
            ("API_KEY", PendingReview, true, false),
            ("PATH", RejectedAutomatically, false, false),
            ("COLOUR", PendingReview, false, false),
        ]
    );
}

#[tokio::test]
async fn the_same_again_makes_a_deploy_and_nothing_else() {
    let f = fixture().await;
    register(&f, ENV, mapping()).await.unwrap();
    let before = variables(&f).await;
    register(&f, ENV, mapping()).await.unwrap();
    assert_eq!(variables(&f).await, before);
    let secret = f.vault.find_secret(&f.me, 1.into()).await.unwrap();
    assert_eq!(
        secret.version, 1,
        "an identical registration makes no version"
    );
    let filter = VariableFilter::default();
    let deploys = f.vault.list_deploys(&f.me, filter, MANY).await.unwrap();
    assert_eq!(deploys.items.len(), 2);

    let changed = ENV.replace("one", "two").replace("abc", "def");
    register(&f, &changed, mapping()).await.unwrap();
    let secret = f.vault.find_secret(&f.me, 1.into()).await.unwrap();
    assert_eq!(secret.version, 2);
    let revisions: Vec<_> = variables(&f).await.iter().map(|one| one.revision).collect();
    assert_eq!(revisions, [1, 1, 2, 2, 1], "only what changed is written");
    let key = variable(&f, "API_KEY").await;
    let (_, value) = f.vault.reveal_variable(&f.me, key.id).await.unwrap();
    assert_eq!(value.expose(), "def");
}

#[tokio::test]
async fn other_kinds_of_values_in_a_mapped_secret_stay() {
    let f = fixture().await;
    register(&f, ENV, mapping()).await.unwrap();
    let pairs = Mapping {
        key_values: vec![MappedKeyValues {
            name: "db/main".to_owned(),
            variables: vec!["COLOUR".to_owned()],
        }],
        ..Mapping::default()
    };
    register(&f, ENV, pairs).await.unwrap();
    let client = f.principal().await;
    let opened = f.vault.read_secret(&client, &identity("db/main")).await;
    let data = opened.unwrap().data;
    assert!(data[0].value("DB_PASSWORD").is_some() && data[1].value("COLOUR").is_some());
}

#[tokio::test]
async fn what_an_operator_said_stays_until_it_is_managed() {
    let f = fixture().await;
    register(&f, ENV, Mapping::default()).await.unwrap();
    let password = variable(&f, "DB_PASSWORD").await;
    let review = |status| VariablePatch {
        status: Some(status),
        ..VariablePatch::default()
    };
    let approved = review(ReviewStatus::ApprovedManually);
    let reviewed = f
        .vault
        .review_variable(&f.me, password.id, approved, Some(1))
        .await
        .unwrap();
    assert_eq!(reviewed.revision, 2);
    for status in [
        ReviewStatus::PendingReview,
        ReviewStatus::RejectedAutomatically,
    ] {
        let refused = f
            .vault
            .review_variable(&f.me, password.id, review(status), None)
            .await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
    let stale = review(ReviewStatus::RejectedManually);
    let refused = f.vault.review_variable(&f.me, password.id, stale, Some(1));
    assert!(matches!(refused.await, Err(Error::Stale)));

    let changed = ENV.replace("one", "two");
    register(&f, &changed, Mapping::default()).await.unwrap();
    let kept = variable(&f, "DB_PASSWORD").await;
    assert_eq!(kept.status, ReviewStatus::ApprovedManually);
    let (_, value) = f.vault.reveal_variable(&f.me, kept.id).await.unwrap();
    assert_eq!(value.expose(), "two");
    register(&f, &changed, mapping()).await.unwrap();
    let managed = variable(&f, "DB_PASSWORD").await;
    assert_eq!(managed.status, ReviewStatus::ApprovedAutomatically);

    f.vault
        .delete_variable(&f.me, managed.id, None)
        .await
        .unwrap();
    assert_eq!(variables(&f).await.len(), 4);
}

#[tokio::test]
async fn values_open_after_the_root_key_is_rotated_and_the_status_has_changed() {
    let f = fixture().await;
    register(&f, ENV, mapping()).await.unwrap();
    let key = variable(&f, "API_KEY").await;
    let rejected = VariablePatch {
        status: Some(ReviewStatus::RejectedManually),
        ..VariablePatch::default()
    };
    f.vault
        .review_variable(&f.me, key.id, rejected, None)
        .await
        .unwrap();
    let seen = f.vault.rewrap(&f.me, |_| ()).await.unwrap().seen;
    assert!(seen > 5, "variables are among what is wrapped anew: {seen}");
    let (_, value) = f.vault.reveal_variable(&f.me, key.id).await.unwrap();
    assert_eq!(value.expose(), "abc");
}

#[tokio::test]
async fn a_refused_registration_stores_nothing_in_part() {
    let f = fixture().await;
    let theirs = f
        .vault
        .create_secret(&f.me, "theirs", super::fixture::fields("1"));
    theirs.await.unwrap();
    let disabled = f.secret("off", "1").await;
    f.vault
        .disable_secret(&f.me, disabled.id, None)
        .await
        .unwrap();
    let onto = |name: &str| {
        let mut mapping = mapping();
        mapping.key_values.push(MappedKeyValues {
            name: name.to_owned(),
            variables: vec!["API_KEY".to_owned()],
        });
        mapping
    };
    for (name, class, rule) in [
        ("theirs", DenialClass::Forbidden, Rule::SecretAttached),
        ("off", DenialClass::Conflict, Rule::SecretEnabled),
    ] {
        let refused = register(&f, ENV, onto(name)).await.unwrap_err();
        let Error::Denied(denial) = &refused else {
            panic!("{refused:?}");
        };
        assert_eq!((denial.class(), denial.rule()), (class, rule));
    }
    let unknown = onto("a b");
    let refused = register(&f, ENV, unknown).await.unwrap_err();
    let Error::Invalid(wrong) = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(wrong[0].field, "map.key_value[0].name");
    assert!(variables(&f).await.is_empty());
    let client = f.principal().await;
    let nothing = f.vault.read_secret(&client, &identity("db/main")).await;
    assert!(matches!(nothing, Err(Error::Denied(_))));
}

#[tokio::test]
async fn each_effect_is_recorded_without_a_value() {
    let f = fixture().await;
    register(&f, ENV, mapping()).await.unwrap();
    let page = f
        .vault
        .search_audit(&f.me, &AuditQuery::newest(20))
        .await
        .unwrap();
    let mut told: Vec<_> = page
        .found
        .iter()
        .filter(|found| found.event.outcome == Outcome::Allowed)
        .map(|found| found.event.operation)
        .take_while(|operation| *operation != Operation::IssueToken)
        .collect();
    told.reverse();
    let expected = [
        Operation::RegisterVariables,
        Operation::CreateSecret,
        Operation::AttachSecret,
        Operation::ViewAudit,
    ];
    assert_eq!(told, expected);
    let register = page
        .found
        .iter()
        .find(|found| found.event.operation == Operation::RegisterVariables)
        .unwrap();
    let object = register.event.object.as_ref().unwrap();
    assert_eq!((object.kind, object.id), (ObjectKind::Deploy, Some(1)));
    let written = format!("{page:?}");
    assert!(!written.contains("abc") && !written.contains("\"one\""));
}

#[tokio::test]
async fn variables_are_told_apart_by_filters() {
    let f = fixture().await;
    register(&f, ENV, mapping()).await.unwrap();
    let names = async |filter| {
        let found = f.vault.list_variables(&f.me, filter, MANY).await.unwrap();
        let names = found.items.iter().map(|one| one.name.clone());
        names.collect::<Vec<_>>()
    };
    let pending = VariableFilter {
        status: Some(ReviewStatus::PendingReview),
        sensitive: Some(true),
        ..VariableFilter::default()
    };
    assert_eq!(names(pending).await, ["API_KEY"]);
    let here = VariableFilter {
        application: Some(f.authorization.application),
        system: Some("sys".to_owned()),
        environment: Some("dev".to_owned()),
        ..VariableFilter::default()
    };
    assert_eq!(names(here).await.len(), 5);
    let elsewhere = VariableFilter {
        application: Some(99.into()),
        ..VariableFilter::default()
    };
    assert!(names(elsewhere).await.is_empty());
}
