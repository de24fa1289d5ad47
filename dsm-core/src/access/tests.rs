//! What the tests of decisions share: a client that may do everything, to be spoilt one way.

mod explain;
mod ip;
mod model;
mod narrowing;
mod operator;
mod referrer;
mod rules;

use std::sync::Arc;

use super::*;
use crate::id::{ApplicationId, AuthorizationId, ClientId, RegistryId, SecretId};
use crate::time::Timestamp;

const APPLICATION: ApplicationId = ApplicationId(3);
const AUTHORIZATION: AuthorizationId = AuthorizationId(30);
const CLIENT: ClientId = ClientId(300);
const SECRET: SecretId = SecretId(7);

/// How many random cases a test tries: few by default, as many as `DSM_CASES` says in a campaign.
fn cases() -> proptest::test_runner::Config {
    let cases = std::env::var("DSM_CASES").map_or(5_000, |text| {
        text.parse().expect("DSM_CASES is a number of cases")
    });
    proptest::test_runner::Config {
        cases,
        failure_persistence: None,
        ..Default::default()
    }
}

fn now() -> Timestamp {
    "2026-05-01T12:00:00Z".parse().unwrap()
}

fn ip_rules(texts: &[&str]) -> Vec<IpRule> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn referrer_rules(texts: &[&str]) -> Vec<ReferrerRule> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn application() -> Application {
    Application {
        name: "billing".to_owned(),
        authentication_method: AuthenticationMethod::OAuth2,
        line_of_business: Some(RegistryId(1)),
        application_type: None,
        enabled: true,
        tags: vec!["eu".to_owned()],
        description: None,
        aws_arns: vec!["arn:aws:iam::123456789012:role/billing".to_owned()],
        automatic_provisioning: false,
        cloud_profiles: Vec::new(),
        credential_profiles: vec![CredentialProfile {
            device: "db.example.org".to_owned(),
            profile: "reader".to_owned(),
        }],
    }
}

fn authorization() -> Authorization {
    Authorization {
        application: APPLICATION,
        code: "c0de".to_owned(),
        name: "production".to_owned(),
        resources: Resource::ALL.into(),
        expires_at: None,
        enabled: true,
        revoked_at: None,
        encrypt_sensitive: false,
        encryption_format: SealingFormat::Jwe,
        allow_application_creation: true,
        environment: RegistryId(1),
        system: RegistryId(2),
        allowed_ips: ip_rules(&["192.0.2.7"]),
        allowed_referrers: Vec::new(),
        certificate_fingerprint: None,
        read_only: false,
        unique_key: None,
        created_by_authorization: None,
    }
}

fn origin() -> Origin {
    Origin {
        ip: Some("192.0.2.7".parse().unwrap()),
        referrer: None,
        certificate: None,
    }
}

/// A request in the making.
#[derive(Debug, Clone)]
struct Case {
    application: Application,
    authorization: Authorization,
    origin: Origin,
    request: Request,
    now: Timestamp,
}

impl Case {
    fn new(request: Request) -> Self {
        Self {
            application: application(),
            authorization: authorization(),
            origin: origin(),
            request,
            now: now(),
        }
    }

    fn principal(&self) -> Principal {
        Principal::new(
            Arc::new(self.application.clone()),
            AUTHORIZATION,
            Arc::new(self.authorization.clone()),
            (CLIENT, AuthenticationMethod::OAuth2),
            self.origin.clone(),
        )
    }

    /// Decides, and sees that the explanation agrees.
    fn decide(&self) -> Result<Permit, Denial> {
        let principal = self.principal();
        let decision = decide(&principal, self.request, self.now);
        let findings = explain(&principal, self.request, self.now);
        let first = findings.iter().find(|f| f.outcome == Outcome::Failed);
        assert_eq!(
            decision
                .as_ref()
                .err()
                .map(|denial| (denial.rule(), denial.reason())),
            first.map(|finding| (finding.rule, &*finding.why)),
        );
        decision
    }
}

fn target() -> SecretTarget {
    SecretTarget {
        id: SECRET,
        attached_to: Some(AUTHORIZATION),
        attachment: None,
        enabled: true,
        expires_at: None,
    }
}

fn own_application() -> ApplicationTarget {
    ApplicationTarget {
        id: APPLICATION,
        made_by_caller: false,
        authorization: None,
    }
}

/// One request of every kind that can be permitted, by a name.
fn requests() -> Vec<(&'static str, Request)> {
    use Resource::{Application, CiCd, SecretManagement};
    let some = Some(target());
    vec![
        ("authenticate", Request::authenticate()),
        (
            "read_application",
            Request::new(Application, Action::ReadApplication),
        ),
        (
            "create_application",
            Request::new(Application, Action::WriteApplication(None)),
        ),
        (
            "write_application",
            Request::new(
                Application,
                Action::WriteApplication(Some(own_application())),
            ),
        ),
        ("revoke_self", Request::new(Application, Action::RevokeSelf)),
        (
            "list_secrets",
            Request::new(SecretManagement, Action::ListSecrets),
        ),
        (
            "read_secret",
            Request::new(SecretManagement, Action::ReadSecret(some)),
        ),
        (
            "create_secret",
            Request::new(SecretManagement, Action::WriteSecret(None)),
        ),
        (
            "write_secret",
            Request::new(SecretManagement, Action::WriteSecret(some)),
        ),
        (
            "delete_secret",
            Request::new(SecretManagement, Action::DeleteSecret(some)),
        ),
        (
            "provision_secret",
            Request::new(Application, Action::ProvisionSecret(some)),
        ),
        (
            "write_variables",
            Request::new(CiCd, Action::WriteVariables),
        ),
    ]
}

#[test]
fn what_is_stored_reads_back() {
    let application = application();
    let json = serde_json::to_value(&application).unwrap();
    assert_eq!(json["authentication_method"], "oauth2");
    assert_eq!(
        serde_json::from_value::<Application>(json).unwrap(),
        application
    );
    for (method, name) in [
        (AuthenticationMethod::OAuth1, "oauth1"),
        (AuthenticationMethod::Aws, "aws"),
    ] {
        assert_eq!(serde_json::to_value(method).unwrap(), name);
    }

    let authorization = Authorization {
        expires_at: Some(now()),
        encryption_format: SealingFormat::OaepSha256,
        allowed_ips: ip_rules(&["192.168.1.*", "2001:db8::/32", "*"]),
        allowed_referrers: referrer_rules(&["https://*.example.org/app"]),
        certificate_fingerprint: Some(Fingerprint::Sha1([9; 20])),
        unique_key: Some("a key".to_owned()),
        ..authorization()
    };
    let json = serde_json::to_value(&authorization).unwrap();
    assert_eq!(
        json["resources"],
        serde_json::json!(["Application", "CI/CD", "Secret Management"])
    );
    assert_eq!(
        json["allowed_ips"],
        serde_json::json!(["192.168.1.*", "2001:db8::/32", "*"])
    );
    assert_eq!(json["encryption_format"], "oaep-sha256");
    assert_eq!(
        serde_json::from_value::<Authorization>(json).unwrap(),
        authorization
    );
    for (format, name) in [
        (SealingFormat::Jwe, "jwe"),
        (SealingFormat::OaepSha1, "oaep-sha1"),
    ] {
        assert_eq!(serde_json::to_value(format).unwrap(), name);
    }
}

#[test]
fn debug_shows_no_credentials_and_no_queries() {
    let mut case = Case::new(Request::authenticate());
    case.authorization.unique_key = Some("canary".to_owned());
    case.origin.referrer = Some("https://example.org/?token=canary".to_owned());
    let text = format!("{:?}", case.principal());
    assert!(!text.contains("canary"), "{text}");
    assert!(text.contains("c0de"), "{text}");
    assert!(text.contains("ip: Some(192.0.2.7)"), "{text}");
    let referrer: Referrer = "https://example.org/canary".parse().unwrap();
    let text = format!("{referrer:?}");
    assert!(!text.contains("canary"), "{text}");
    assert!(text.contains("example.org"), "{text}");
}

#[test]
fn a_principal_tells_who_it_is() {
    let principal = Case::new(Request::authenticate()).principal();
    assert_eq!(principal.application_id(), APPLICATION);
    assert_eq!(principal.authorization_id(), AUTHORIZATION);
    assert_eq!(principal.client_id(), CLIENT);
    assert_eq!(principal.application(), &application());
    assert_eq!(principal.origin(), &origin());
    assert_eq!(
        principal.actor(),
        crate::audit::Actor::Authorization {
            application: APPLICATION,
            authorization: AUTHORIZATION,
            client: CLIENT,
        }
    );
}
