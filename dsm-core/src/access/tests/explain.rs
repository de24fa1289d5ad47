use super::*;

#[test]
fn an_explanation_has_every_rule_and_says_why() {
    let mut case = Case::new(Request::authenticate());
    case.authorization.allowed_ips = ip_rules(&["198.51.100.1", "192.0.2.*"]);
    case.authorization.allowed_referrers = referrer_rules(&["https://*.example.org"]);
    case.origin.referrer = Some("https://www.example.org/x".to_owned());
    case.application.enabled = false;
    let findings = explain(&case.principal(), case.request, case.now);
    let rules: Vec<Rule> = findings.iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, Rule::ALL[..15]);
    let of = |rule: Rule| findings.iter().find(|f| f.rule == rule).unwrap();
    assert_eq!(of(Rule::ApplicationEnabled).outcome, Outcome::Failed);
    assert_eq!(of(Rule::Resource).outcome, Outcome::NotApplicable);
    assert_eq!(of(Rule::Ip).outcome, Outcome::Passed);
    assert_eq!(of(Rule::Ip).why, "the address is allowed by 192.0.2.*");
    assert_eq!(
        of(Rule::Referrer).why,
        "the referrer is allowed by https://*.example.org"
    );
    assert_eq!(
        serde_json::to_value(of(Rule::Fingerprint)).unwrap(),
        serde_json::json!({
            "rule": "fingerprint",
            "outcome": "passed",
            "why": "no client certificate is required",
        })
    );
    assert!(findings.iter().all(|finding| !finding.why.is_empty()));
}

#[test]
fn a_proof_is_explained_as_far_as_it_is_asked_about() {
    let application = application();
    let explained = |method, arn: Option<&str>| {
        let arn = arn.map(|arn| arn.parse().unwrap());
        let findings = explain_proof(&application, method, arn.as_ref());
        let told = |finding: Finding| (finding.rule, finding.outcome, finding.why);
        findings.into_iter().map(told).collect::<Vec<_>>()
    };
    let listed = "arn:aws:iam::123456789012:role/billing";
    let unlisted = "arn:aws:iam::123456789012:role/shipping";
    let (passed, failed) = (Outcome::Passed, Outcome::Failed);
    let (oauth2, aws) = (AuthenticationMethod::OAuth2, AuthenticationMethod::Aws);
    assert_eq!(explained(None, None), []);
    let why = "the application uses this method".to_owned();
    let method = (Rule::AuthenticationMethod, passed, why);
    assert_eq!(explained(Some(oauth2), None), [method]);
    let why = format!("the principal is allowed by {listed}");
    let arn = (Rule::AwsArn, passed, why);
    assert_eq!(explained(None, Some(listed)), [arn]);
    let why = "the application uses another method".to_owned();
    let method = (Rule::AuthenticationMethod, failed, why);
    let why = format!("{unlisted} is not among the ARNs of the application");
    let arn = (Rule::AwsArn, failed, why);
    assert_eq!(explained(Some(aws), Some(unlisted)), [method, arn]);
}
