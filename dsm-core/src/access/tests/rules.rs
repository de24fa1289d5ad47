use chrono::TimeDelta;

use super::*;
use crate::access::{decide, operator};
use crate::audit;

const INSTANT: TimeDelta = TimeDelta::microseconds(1);

type Spoil = fn(&mut Case);

/// One way to fail each rule for applications.
const FAULTS: &[(Rule, Spoil)] = &[
    (Rule::ApplicationEnabled, |case| {
        case.application.enabled = false;
    }),
    (Rule::AuthorizationRevoked, |case| {
        case.authorization.revoked_at = Some(case.now);
    }),
    (Rule::AuthorizationEnabled, |case| {
        case.authorization.enabled = false;
    }),
    (Rule::AuthorizationExpired, |case| {
        case.authorization.expires_at = Some(case.now);
    }),
    (Rule::Ip, |case| {
        case.origin.ip = Some("192.0.2.8".parse().unwrap());
    }),
    (Rule::Referrer, |case| {
        case.authorization.allowed_referrers = referrer_rules(&["https://example.org"]);
    }),
    (Rule::Fingerprint, |case| {
        case.authorization.certificate_fingerprint = Some(Fingerprint::Sha256([1; 32]));
    }),
    (Rule::Resource, |case| {
        case.authorization.resources.clear();
    }),
    (Rule::ReadOnly, |case| {
        case.authorization.read_only = true;
    }),
    (Rule::ApplicationCreation, |case| {
        case.authorization.allow_application_creation = false;
    }),
    (Rule::ApplicationOwnership, |case| {
        if let Action::WriteApplication(Some(_)) = case.request.action() {
            let other = ApplicationTarget {
                id: ApplicationId(4),
                ..own_application()
            };
            case.request =
                Request::new(Resource::Application, Action::WriteApplication(Some(other)));
        }
    }),
    (Rule::SecretExists, |case| {
        let action = match case.request.action() {
            Action::ReadSecret(_) => Action::ReadSecret(None),
            Action::DeleteSecret(_) => Action::DeleteSecret(None),
            Action::ProvisionSecret(_) => Action::ProvisionSecret(None),
            _ => return,
        };
        case.request = Request::new(case.request.resource().unwrap(), action);
    }),
    (Rule::SecretAttached, |case| {
        change_secret(case, |secret| secret.attached_to = None);
    }),
    (Rule::SecretEnabled, |case| {
        change_secret(case, |secret| secret.enabled = false);
    }),
    (Rule::SecretExpired, |case| {
        let now = case.now;
        change_secret(case, |secret| secret.expires_at = Some(now));
    }),
];

fn change_secret(case: &mut Case, change: impl Fn(&mut SecretTarget)) {
    let changed = |target: Option<SecretTarget>| {
        target.map(|mut target| {
            change(&mut target);
            target
        })
    };
    let action = match case.request.action() {
        Action::ReadSecret(target) => Action::ReadSecret(changed(target)),
        Action::WriteSecret(target) => Action::WriteSecret(changed(target)),
        Action::DeleteSecret(target) => Action::DeleteSecret(changed(target)),
        Action::ProvisionSecret(target) => Action::ProvisionSecret(changed(target)),
        _ => return,
    };
    case.request = Request::new(case.request.resource().unwrap(), action);
}

/// What each fault comes to for each request: `.` permitted, `U` not authenticated, `I` inactive,
/// `F` forbidden, `N` not found, `C` conflict.
const OUTCOMES: &str = "
authenticate       UUUUUUU........
read_application   IIIIFFFF.......
create_application IIIIFFFFFF.....
write_application  IIIIFFFFF.F....
revoke_self        IIIIFFFFF......
list_secrets       IIIIFFFF.......
read_secret        IIIIFFFF...NNNN
create_secret      IIIIFFFFF......
write_secret       IIIIFFFFF...FCC
delete_secret      IIIIFFFFF..NNCC
provision_secret   IIIIFFFFF..NNCC
write_variables    IIIIFFFFF......
";

fn letter(class: DenialClass) -> char {
    match class {
        DenialClass::Unauthenticated => 'U',
        DenialClass::Inactive => 'I',
        DenialClass::Forbidden => 'F',
        DenialClass::NotFound => 'N',
        DenialClass::Conflict => 'C',
    }
}

#[test]
fn every_fault_has_its_outcome_for_every_request() {
    let mut outcomes = "\n".to_owned();
    for (name, request) in requests() {
        outcomes.extend([name, &" ".repeat(19 - name.len())]);
        for (rule, spoil) in FAULTS {
            let mut case = Case::new(request);
            spoil(&mut case);
            match case.decide() {
                Ok(_) => outcomes.push('.'),
                Err(denial) => {
                    assert_eq!(denial.rule(), *rule, "{name}");
                    outcomes.push(letter(denial.class()));
                }
            }
        }
        outcomes.push('\n');
    }
    assert_eq!(outcomes, OUTCOMES);
}

#[test]
fn the_operation_in_the_trail_tells_the_class_that_the_request_was_refused_with() {
    use audit::Operation;
    let recorded = [
        ("authenticate", Operation::IssueToken),
        ("read_secret", Operation::ReadSecret),
        ("create_secret", Operation::CreateSecret),
        ("write_secret", Operation::UpdateSecret),
        ("delete_secret", Operation::DisableSecret),
        ("provision_secret", Operation::ProvisionSecret),
    ];
    for (name, request) in requests() {
        let Some((_, operation)) = recorded.iter().find(|(of, _)| *of == name) else {
            continue;
        };
        for (rule, spoil) in FAULTS {
            let mut case = Case::new(request);
            spoil(&mut case);
            if let Err(denial) = case.decide() {
                assert_eq!(rule.class_in(*operation), denial.class(), "{name}: {rule}");
            }
        }
    }
}

#[test]
fn of_two_faults_the_earlier_rule_is_named() {
    let applies = |name: &str, rule: usize| {
        let line = OUTCOMES
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap();
        line.chars().nth(19 + rule).unwrap() != '.'
    };
    for (name, request) in requests() {
        for (i, (first, spoil_first)) in FAULTS.iter().enumerate() {
            for (j, (_, spoil_second)) in FAULTS.iter().enumerate().skip(i + 1) {
                if !applies(name, i) {
                    continue;
                }
                let mut case = Case::new(request);
                // The later fault first, so that the order of spoiling does not help.
                spoil_second(&mut case);
                spoil_first(&mut case);
                let denial = case.decide().unwrap_err();
                assert_eq!(denial.rule(), *first, "{name}, fault {i} before {j}");
            }
        }
    }
}

#[test]
fn the_tables_have_every_rule_in_order() {
    let in_tables: Vec<Rule> = decide::RULES
        .iter()
        .map(|(rule, _)| *rule)
        .chain(operator::RULES.iter().map(|(rule, _)| *rule))
        .collect();
    assert_eq!(in_tables, Rule::ALL[..in_tables.len()]);
    let with_fault: Vec<Rule> = FAULTS.iter().map(|(rule, _)| *rule).collect();
    assert_eq!(with_fault, in_tables[..decide::RULES.len()]);
    let names: Vec<&str> = Rule::ALL.iter().map(|rule| rule.as_str()).collect();
    assert_eq!(
        names,
        [
            "application_enabled",
            "authorization_revoked",
            "authorization_enabled",
            "authorization_expired",
            "ip",
            "referrer",
            "fingerprint",
            "resource",
            "read_only",
            "application_creation",
            "application_ownership",
            "secret_exists",
            "secret_attached",
            "secret_enabled",
            "secret_expired",
            "operator_revoked",
            "operator_expired",
            "permission",
            "not_wider",
            "client",
            "client_secret",
            "authentication_method",
            "token",
            "token_expired",
            "token_revoked",
            "client_ended",
            "signature_parameters",
            "signature_method",
            "signature",
            "timestamp",
            "nonce",
            "aws_endpoint",
            "aws_request",
            "aws_request_age",
            "aws_identity",
            "aws_arn",
            "unique_key",
            "operator_token",
            "origin",
            "throttle",
        ]
    );
    assert_eq!(serde_json::to_string(&Rule::Ip).unwrap(), "\"ip\"");
}

#[test]
fn a_permit_tells_what_it_is_for() {
    for (name, request) in requests() {
        let mut case = Case::new(request);
        case.authorization.encryption_format = SealingFormat::OaepSha1;
        let permit = case.decide().expect("everything is permitted");
        assert_eq!(permit.actor(), &case.principal().actor());
        assert_eq!(permit.action(), Some(request.action()));
        assert_eq!(permit.permission(), None);
        assert_eq!(permit.sealing(), None);
        let names_secret = [
            "read_secret",
            "write_secret",
            "delete_secret",
            "provision_secret",
        ];
        let secret = names_secret.contains(&name).then_some(SECRET);
        assert_eq!(permit.secret(), secret, "{name}");
        let disclosed = secret.filter(|_| name != "delete_secret");
        assert_eq!(permit.discloses(), disclosed, "{name}");

        case.authorization.encrypt_sensitive = true;
        let permit = case.decide().expect("everything is permitted");
        assert_eq!(permit.sealing(), Some(SealingFormat::OaepSha1));
    }
}

#[test]
fn a_permit_stands_on_the_revisions_it_was_decided_on() {
    let policy = Basis {
        application: Some((APPLICATION, 4)),
        authorization: Some((AUTHORIZATION, 5)),
        ..Basis::default()
    };
    let attachment = Some((8, 2));
    let attached = SecretTarget {
        attachment,
        ..target()
    };
    let read = Action::ReadSecret(Some(attached));
    for (action, attachment) in [(read, attachment), (Action::ListSecrets, None)] {
        let case = Case::new(Request::new(Resource::SecretManagement, action));
        let principal = case.principal().at(policy);
        let permit = decide(&principal, case.request, case.now).expect("it is permitted");
        let stands_on = Basis {
            attachment,
            ..policy
        };
        assert_eq!(permit.basis(), stands_on);
    }
}

#[test]
fn a_denial_names_rule_and_reason_to_the_trail_only() {
    let mut case = Case::new(Request::authenticate());
    case.origin.ip = Some("192.0.2.9".parse().unwrap());
    let denial = case.decide().unwrap_err();
    assert_eq!(
        denial.outcome(),
        audit::Outcome::Denied {
            rule: "ip".to_owned(),
            reason: "the address 192.0.2.9 is not among the allowed ones".to_owned(),
        }
    );
    assert_eq!(denial.to_string(), "refused by rule ip");
    assert!(!denial.to_string().contains(denial.reason()));
}

#[test]
fn reasons_name_the_instant() {
    let reason = |request: Request, spoil: Spoil| {
        let mut case = Case::new(request);
        spoil(&mut case);
        case.decide().unwrap_err().reason().to_owned()
    };
    let read = Request::new(
        Resource::SecretManagement,
        Action::ReadSecret(Some(target())),
    );
    for (rule, expected) in [
        (
            Rule::AuthorizationRevoked,
            "the authorization was revoked at 2026-05-01T12:00:00Z",
        ),
        (
            Rule::AuthorizationExpired,
            "the authorization expired at 2026-05-01T12:00:00Z",
        ),
        (
            Rule::SecretExpired,
            "the secret expired at 2026-05-01T12:00:00Z",
        ),
    ] {
        let (_, spoil) = FAULTS.iter().find(|(of, _)| *of == rule).unwrap();
        assert_eq!(reason(read, *spoil), expected);
    }
}

#[test]
fn an_authorization_lasts_until_the_instant_of_its_expiry() {
    let mut case = Case::new(Request::authenticate());
    case.authorization.expires_at = Some(case.now);
    for (at, rule) in [
        (now() - INSTANT, None),
        (now(), Some(Rule::AuthorizationExpired)),
        (now() + INSTANT, Some(Rule::AuthorizationExpired)),
    ] {
        case.now = at;
        assert_eq!(case.decide().err().map(|denial| denial.rule()), rule);
    }
}

#[test]
fn an_authorization_is_in_force_while_a_client_could_authenticate_with_it() {
    let given: [fn(&mut Authorization); 6] = [
        |_| {},
        |it| it.enabled = false,
        |it| it.revoked_at = Some(now() - INSTANT),
        |it| it.expires_at = Some(now() - INSTANT),
        |it| it.expires_at = Some(now()),
        |it| it.expires_at = Some(now() + INSTANT),
    ];
    let in_force = given.map(|change| {
        let mut case = Case::new(Request::authenticate());
        change(&mut case.authorization);
        let in_force = case.authorization.is_in_force(case.now);
        assert_eq!(in_force, case.decide().is_ok());
        in_force
    });
    assert_eq!(in_force, [true, false, false, false, false, true]);
}

#[test]
fn a_secret_lasts_until_the_instant_of_its_expiry() {
    let secret = SecretTarget {
        expires_at: Some(now()),
        ..target()
    };
    for resource in Resource::ALL {
        let mut case = Case::new(Request::new(resource, Action::ReadSecret(Some(secret))));
        for (at, rule) in [
            (now() - INSTANT, None),
            (now(), Some(Rule::SecretExpired)),
            (now() + INSTANT, Some(Rule::SecretExpired)),
        ] {
            case.now = at;
            assert_eq!(case.decide().err().map(|denial| denial.rule()), rule);
        }
    }
}

#[test]
fn a_revocation_holds_even_if_its_instant_seems_to_lie_ahead() {
    let mut case = Case::new(Request::authenticate());
    case.authorization.revoked_at = Some(case.now + INSTANT);
    let denial = case.decide().unwrap_err();
    assert_eq!(denial.rule(), Rule::AuthorizationRevoked);
}

#[test]
fn no_address_is_allowed_by_no_list_and_an_unknown_one_by_none() {
    let mut case = Case::new(Request::authenticate());
    case.authorization.allowed_ips = ip_rules(&["*"]);
    assert!(case.decide().is_ok());
    case.origin.ip = None;
    assert_eq!(case.decide().unwrap_err().rule(), Rule::Ip);
    case.authorization.allowed_ips.clear();
    for ip in [None, origin().ip] {
        case.origin.ip = ip;
        assert_eq!(case.decide().unwrap_err().rule(), Rule::Ip);
    }
}

#[test]
fn a_restricted_referrer_has_to_be_there_well_formed_and_listed() {
    let mut case = Case::new(Request::authenticate());
    for referrer in [None, Some("what is this"), Some("https://example.org/")] {
        case.origin.referrer = referrer.map(str::to_owned);
        assert!(case.decide().is_ok(), "any referrer without a list");
    }
    case.authorization.allowed_referrers =
        referrer_rules(&["https://example.net", "https://example.org/app"]);
    for (referrer, allowed) in [
        (None, false),
        (Some(""), false),
        (Some("what is this"), false),
        (Some("https://example.org/"), false),
        (Some("https://canary@example.org/app"), false),
        (Some("https://example.org/app?x=1"), true),
        (Some("https://example.net"), true),
    ] {
        case.origin.referrer = referrer.map(str::to_owned);
        match case.decide() {
            Ok(_) => assert!(allowed, "{referrer:?}"),
            Err(denial) => {
                assert!(!allowed, "{referrer:?}");
                assert_eq!(denial.rule(), Rule::Referrer);
                assert!(!denial.reason().contains("canary"), "nothing is repeated");
            }
        }
    }
}

#[test]
fn the_certificate_has_to_be_shown_and_be_the_one() {
    let shown = CertificateDigests::new([1; 20], [2; 32]);
    let mut case = Case::new(Request::authenticate());
    case.origin.certificate = Some(shown);
    assert!(case.decide().is_ok(), "none is required");
    for (fingerprint, certificate, allowed) in [
        (Fingerprint::Sha1([1; 20]), Some(shown), true),
        (Fingerprint::Sha256([2; 32]), Some(shown), true),
        (Fingerprint::Sha1([2; 20]), Some(shown), false),
        (Fingerprint::Sha256([1; 32]), Some(shown), false),
        (Fingerprint::Sha1([1; 20]), None, false),
    ] {
        case.authorization.certificate_fingerprint = Some(fingerprint);
        case.origin.certificate = certificate;
        assert_eq!(
            case.decide().err().map(|denial| denial.rule()),
            (!allowed).then_some(Rule::Fingerprint),
            "{fingerprint}"
        );
    }
}

#[test]
fn each_resource_has_to_be_authorized_by_itself() {
    for asked in Resource::ALL {
        for authorized in Resource::ALL {
            let mut case = Case::new(Request::new(asked, Action::ReadApplication));
            case.authorization.resources = [authorized].into();
            assert_eq!(case.decide().is_ok(), asked == authorized);
        }
    }
}

#[test]
fn applications_are_written_only_by_those_who_own_or_made_them() {
    let stranger = AuthorizationId(99);
    let other = ApplicationId(4);
    for (id, made_by_caller, found, allowed) in [
        (APPLICATION, false, None, true),
        (other, false, None, false),
        (other, true, None, true),
        (APPLICATION, false, Some((AUTHORIZATION, None)), true),
        (APPLICATION, false, Some((stranger, None)), false),
        (APPLICATION, true, Some((stranger, Some(stranger))), false),
        (other, true, Some((stranger, None)), false),
        (other, true, Some((stranger, Some(AUTHORIZATION))), true),
        (other, false, Some((stranger, Some(AUTHORIZATION))), true),
    ] {
        let target = ApplicationTarget {
            id,
            made_by_caller,
            authorization: found.map(|(id, created_by)| AuthorizationTarget { id, created_by }),
        };
        let action = Action::WriteApplication(Some(target));
        let mut case = Case::new(Request::new(Resource::Application, action));
        // Changing what exists takes no leave to create.
        case.authorization.allow_application_creation = false;
        assert_eq!(
            case.decide().err().map(|denial| denial.rule()),
            (!allowed).then_some(Rule::ApplicationOwnership),
            "{target:?}"
        );
    }
}

#[test]
fn absent_and_not_attached_look_alike_from_outside() {
    let disabled = SecretTarget {
        id: SecretId(8),
        attached_to: None,
        attachment: None,
        enabled: false,
        expires_at: Some(now()),
    };
    for action in [
        Action::ReadSecret,
        Action::DeleteSecret,
        Action::ProvisionSecret,
    ] {
        let class = |target| {
            let case = Case::new(Request::new(Resource::SecretManagement, action(target)));
            let denial = case.decide().unwrap_err();
            (denial.class(), denial.rule())
        };
        let foreign = SecretTarget {
            id: SecretId(8),
            attached_to: None,
            ..target()
        };
        assert_eq!(class(None), (DenialClass::NotFound, Rule::SecretExists));
        for there in [foreign, disabled] {
            assert_eq!(
                class(Some(there)),
                (DenialClass::NotFound, Rule::SecretAttached)
            );
        }
    }
}

#[test]
fn refusals_outside_the_tables_have_their_class_and_may_name_a_field() {
    for (rule, class) in [
        (Rule::NotWider, DenialClass::Forbidden),
        (Rule::Client, DenialClass::Unauthenticated),
        (Rule::ClientSecret, DenialClass::Unauthenticated),
        (Rule::AuthenticationMethod, DenialClass::Unauthenticated),
        (Rule::Token, DenialClass::Unauthenticated),
        (Rule::TokenExpired, DenialClass::Unauthenticated),
        (Rule::OperatorToken, DenialClass::Unauthenticated),
    ] {
        let denial = Denial::of(rule, "why");
        assert_eq!((denial.rule(), denial.class()), (rule, class));
        assert_eq!((denial.reason(), denial.field()), ("why", None));
        assert_eq!(denial.about("allowed_ips").field(), Some("allowed_ips"));
    }
}
