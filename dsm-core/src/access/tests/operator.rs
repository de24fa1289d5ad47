use chrono::TimeDelta;

use super::*;
use crate::audit::Actor;
use crate::id::OperatorId;

fn operator() -> Operator {
    Operator {
        id: Some(OperatorId(5)),
        revision: 1,
        name: "ada".to_owned(),
        permissions: [Permission::SecretsView].into_iter().collect(),
        expires_at: None,
        revoked_at: None,
    }
}

#[test]
fn an_operator_has_the_permissions_given_and_no_other() {
    for &given in Permission::ALL {
        let operator = Operator {
            permissions: [given].into_iter().collect(),
            ..operator()
        };
        for &asked in Permission::ALL {
            match permit(&operator, asked, now()) {
                Ok(permit) => {
                    assert_eq!(asked, given);
                    assert_eq!(permit.permission(), Some(given));
                    assert_eq!(permit.action(), None);
                    assert_eq!(permit.secret(), None);
                    assert_eq!(permit.discloses(), None);
                    assert_eq!(permit.sealing(), None);
                    let stands_on = Basis {
                        operator: Some((OperatorId(5), 1)),
                        ..Basis::default()
                    };
                    assert_eq!(permit.basis(), stands_on);
                    assert_eq!(
                        permit.actor(),
                        &Actor::Operator {
                            id: Some(OperatorId(5)),
                            name: "ada".to_owned(),
                        }
                    );
                }
                Err(denial) => {
                    assert_ne!(asked, given);
                    assert_eq!(denial.rule(), Rule::Permission);
                    assert_eq!(denial.class(), DenialClass::Forbidden);
                    assert_eq!(
                        denial.reason(),
                        format!("the operator does not have {asked}")
                    );
                }
            }
        }
    }
}

#[test]
fn a_permit_for_a_secret_is_for_that_one_and_discloses_only_by_reveal() {
    let embedded = Operator::embedded("the program");
    for &permission in Permission::ALL {
        let permit = permit_secret(&embedded, permission, SECRET, now()).unwrap();
        assert_eq!(permit.secret(), Some(SECRET));
        assert_eq!(permit.permission(), Some(permission));
        let reveals = permission == Permission::SecretsReveal;
        assert_eq!(permit.discloses(), reveals.then_some(SECRET));
        assert_eq!(permit.basis(), Basis::default());
        assert_eq!(
            permit.actor(),
            &Actor::Operator {
                id: None,
                name: "the program".to_owned(),
            }
        );
    }
    let denial = permit_secret(&operator(), Permission::SecretsReveal, SECRET, now());
    assert_eq!(denial.unwrap_err().rule(), Rule::Permission);
}

#[test]
fn an_operator_lasts_until_expiry_or_revocation() {
    let instant = TimeDelta::microseconds(1);
    let expiring = Operator {
        expires_at: Some(now()),
        ..operator()
    };
    let rule_at = |operator: &Operator, at| {
        permit(operator, Permission::SecretsView, at)
            .err()
            .map(|denial| (denial.rule(), denial.class()))
    };
    let expired = Some((Rule::OperatorExpired, DenialClass::Unauthenticated));
    assert_eq!(rule_at(&expiring, now() - instant), None);
    assert_eq!(rule_at(&expiring, now()), expired);
    assert_eq!(rule_at(&expiring, now() + instant), expired);
    let revoked = Operator {
        revoked_at: Some(now()),
        ..expiring
    };
    let denied = Some((Rule::OperatorRevoked, DenialClass::Unauthenticated));
    for at in [now() - instant, now(), now() + instant] {
        assert_eq!(rule_at(&revoked, at), denied);
    }
}

#[test]
fn permissions_are_sets_by_name() {
    for &permission in Permission::ALL {
        assert_eq!(permission.to_string().parse(), Ok(permission));
        let json = serde_json::to_string(&permission).unwrap();
        assert_eq!(json, format!("\"{permission}\""));
        assert_eq!(
            serde_json::from_str::<Permission>(&json).unwrap(),
            permission
        );
    }
    assert_eq!(
        Permission::CloudCredentialsWrite.as_str(),
        "CloudCredentials.Write"
    );
    assert_eq!("secrets.view".parse::<Permission>(), Err(UnknownPermission));

    let two: Permissions = [Permission::AuditView, Permission::SecretsView]
        .into_iter()
        .collect();
    assert_eq!(
        two.iter().collect::<Vec<_>>(),
        [Permission::SecretsView, Permission::AuditView]
    );
    assert_eq!(
        serde_json::to_string(&two).unwrap(),
        r#"["Secrets.View","Audit.View"]"#
    );
    assert!(two.is_subset(&Permissions::all()));
    assert!(!Permissions::all().is_subset(&two));
    assert_eq!(Permissions::none().iter().count(), 0);
    assert_eq!(Permissions::all().iter().count(), Permission::ALL.len());
}

#[test]
fn an_operator_is_stored_without_its_id() {
    let json = serde_json::to_string(&operator()).unwrap();
    let read: Operator = serde_json::from_str(&json).unwrap();
    assert_eq!(
        read,
        Operator {
            id: None,
            revision: 0,
            ..operator()
        }
    );
}
