//! Decisions against a second reading of the rules, written from their prose over plain facts.

use std::sync::Arc;

use chrono::TimeDelta;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::referrer::{Meaning, Writing, rule_and_page, writing};
use super::{Case, cases, ip, now};
use crate::access::*;
use crate::id::{ApplicationId, AuthorizationId, ClientId, SecretId};

type Written = (Meaning, Writing);

/// Everything a decision depends on, in words and numbers.
#[derive(Debug, Clone)]
struct Facts {
    application_on: bool,
    authorization_on: bool,
    revoked: bool,
    /// Microseconds until the authorization expires.
    expires_in: Option<i64>,
    ips: Vec<String>,
    ip: Option<String>,
    referrers: Vec<Written>,
    referrer: Option<Written>,
    /// First byte of the required digest, and whether it is a SHA-1.
    fingerprint: Option<(u8, bool)>,
    /// First bytes of the SHA-1 and the SHA-256 of what was shown.
    certificate: Option<(u8, u8)>,
    resources: Vec<&'static str>,
    read_only: bool,
    may_create: bool,
    sealed: bool,
    attached: Vec<u64>,
    asks: Asks,
    through: &'static str,
}

#[derive(Debug, Clone)]
struct Asks {
    verb: &'static str,
    secret: Option<Secret>,
    application: Option<Existing>,
}

#[derive(Debug, Clone)]
struct Secret {
    id: u64,
    on: bool,
    expires_in: Option<i64>,
}

#[derive(Debug, Clone)]
struct Existing {
    id: u64,
    made: bool,
    /// Id of the authorization that was found, and of the one that made it.
    found: Option<(u64, Option<u64>)>,
}

/// The application and authorization that call.
const OWN: (u64, u64) = (3, 30);

/// The rule that refuses, and what it comes to; none if it is permitted.
fn model(facts: &Facts) -> Option<(&'static str, DenialClass)> {
    let refusal = refusal(facts)?;
    let token = facts.asks.verb == "token";
    let class = match refusal {
        // At the token endpoint everything is an invalid client.
        _ if token => DenialClass::Unauthenticated,
        rule if rule.starts_with("authorization_") || rule == "application_enabled" => {
            DenialClass::Inactive
        }
        "secret_attached" if facts.asks.verb == "write" => DenialClass::Forbidden,
        "secret_exists" | "secret_attached" => DenialClass::NotFound,
        "secret_enabled" | "secret_expired" if facts.asks.verb == "read" => DenialClass::NotFound,
        "secret_enabled" | "secret_expired" => DenialClass::Conflict,
        _ => DenialClass::Forbidden,
    };
    Some((refusal, class))
}

fn refusal(facts: &Facts) -> Option<&'static str> {
    let over = |left: Option<i64>| left.is_some_and(|left| left <= 0);
    let verb = facts.asks.verb;
    if !facts.application_on {
        return Some("application_enabled");
    }
    if facts.revoked {
        return Some("authorization_revoked");
    }
    if !facts.authorization_on {
        return Some("authorization_enabled");
    }
    if over(facts.expires_in) {
        return Some("authorization_expired");
    }
    // An empty list rejects every request, and so does an address nobody knows.
    let mut ip_allowed = false;
    if let Some(address) = &facts.ip {
        for entry in &facts.ips {
            ip_allowed |= ip::oracle(entry, address);
        }
    }
    if !ip_allowed {
        return Some("ip");
    }
    // An empty list allows any referrer; otherwise one has to be there and match.
    if !facts.referrers.is_empty() {
        match &facts.referrer {
            Some((page, how)) if !how.is_spoilt() => {
                if facts.referrers.iter().all(|(rule, _)| !rule.covers(page)) {
                    return Some("referrer");
                }
            }
            _ => return Some("referrer"),
        }
    }
    match (facts.fingerprint, facts.certificate) {
        (None, _) => {}
        (Some((digest, true)), Some((sha1, _))) if digest == sha1 => {}
        (Some((digest, false)), Some((_, sha256))) if digest == sha256 => {}
        _ => return Some("fingerprint"),
    }
    if verb == "token" {
        return None;
    }
    if !facts.resources.contains(&facts.through) {
        return Some("resource");
    }
    let reads = ["application", "list", "read"];
    if facts.read_only && !reads.contains(&verb) {
        return Some("read_only");
    }
    if verb == "register" {
        let Some(existing) = &facts.asks.application else {
            return (!facts.may_create).then_some("application_creation");
        };
        let allowed = match existing.found {
            Some((id, maker)) => id == OWN.1 || maker == Some(OWN.1),
            None => existing.id == OWN.0 || existing.made,
        };
        return (!allowed).then_some("application_ownership");
    }
    if !["read", "write", "delete", "provision"].contains(&verb) {
        return None;
    }
    let Some(secret) = &facts.asks.secret else {
        return (verb != "write").then_some("secret_exists");
    };
    if !facts.attached.contains(&secret.id) {
        Some("secret_attached")
    } else if !secret.on {
        Some("secret_enabled")
    } else if over(secret.expires_in) {
        Some("secret_expired")
    } else {
        None
    }
}

/// The same facts as the code under test takes them.
fn case(facts: &Facts) -> Case {
    let from_now = |left: Option<i64>| left.map(|left| now() + TimeDelta::microseconds(left));
    let secret = facts.asks.secret.as_ref().map(|secret| SecretTarget {
        id: SecretId(secret.id),
        // One that is attached to another authorization is as good as unattached.
        attached_to: if facts.attached.contains(&secret.id) {
            Some(super::AUTHORIZATION)
        } else {
            secret
                .on
                .then_some(AuthorizationId(super::AUTHORIZATION.0 + 1))
        },
        attachment: None,
        enabled: secret.on,
        expires_at: from_now(secret.expires_in),
    });
    let application = facts.asks.application.as_ref().map(|it| ApplicationTarget {
        id: ApplicationId(it.id),
        made_by_caller: it.made,
        authorization: it.found.map(|(id, maker)| AuthorizationTarget {
            id: AuthorizationId(id),
            created_by: maker.map(AuthorizationId),
        }),
    });
    let action = match facts.asks.verb {
        "application" => Some(Action::ReadApplication),
        "register" => Some(Action::WriteApplication(application)),
        "leave" => Some(Action::RevokeSelf),
        "list" => Some(Action::ListSecrets),
        "read" => Some(Action::ReadSecret(secret)),
        "write" => Some(Action::WriteSecret(secret)),
        "delete" => Some(Action::DeleteSecret(secret)),
        "provision" => Some(Action::ProvisionSecret(secret)),
        "variables" => Some(Action::WriteVariables),
        _ => None,
    };
    let mut case = Case::new(action.map_or_else(Request::authenticate, |action| {
        Request::new(facts.through.parse().unwrap(), action)
    }));
    case.application.enabled = facts.application_on;
    let authorization = &mut case.authorization;
    authorization.enabled = facts.authorization_on;
    authorization.revoked_at = facts.revoked.then(now);
    authorization.expires_at = from_now(facts.expires_in);
    authorization.allowed_ips = facts.ips.iter().map(|ip| ip.parse().unwrap()).collect();
    authorization.allowed_referrers = facts
        .referrers
        .iter()
        .map(|(rule, how)| rule.write(how).parse().unwrap())
        .collect();
    authorization.certificate_fingerprint = facts.fingerprint.map(|(digest, sha1)| {
        let hex = format!("{digest:02X}:{}", "00".repeat(if sha1 { 19 } else { 31 }));
        hex.parse().unwrap()
    });
    authorization.resources = facts.resources.iter().map(|r| r.parse().unwrap()).collect();
    authorization.read_only = facts.read_only;
    authorization.allow_application_creation = facts.may_create;
    authorization.encrypt_sensitive = facts.sealed;
    case.origin = Origin {
        ip: facts.ip.as_ref().map(|ip| ip.parse().unwrap()),
        referrer: facts.referrer.as_ref().map(|(page, how)| page.write(how)),
        certificate: facts.certificate.map(|(first, second)| {
            let (mut sha1, mut sha256) = ([0; 20], [0; 32]);
            (sha1[0], sha256[0]) = (first, second);
            CertificateDigests::new(sha1, sha256)
        }),
    };
    case
}

/// Mostly yes, so that later rules are reached.
fn likely() -> impl Strategy<Value = bool> {
    proptest::bool::weighted(0.95)
}

fn expiry() -> impl Strategy<Value = Option<i64>> {
    proptest::option::weighted(
        0.3,
        prop_oneof![
            8 => 1..=1_000_000_000_i64,
            1 => select(vec![-1_000_000, -1, 0]),
        ],
    )
}

fn ips() -> impl Strategy<Value = (Vec<String>, Option<String>)> {
    let lists = (
        proptest::collection::vec(ip::rule(), 0..4),
        proptest::option::weighted(0.95, ip::address()),
        any::<proptest::sample::Index>(),
        0..4_u8,
    );
    lists.prop_map(|(mut rules, ip, at, how)| {
        let at = at.index(rules.len() + 1);
        match (&ip, how) {
            (Some(ip), 0 | 1) => rules.insert(at, ip.clone()),
            (_, 2) => rules.insert(at, "*".to_owned()),
            _ => {}
        }
        (rules, ip)
    })
}

fn referrers() -> impl Strategy<Value = (Vec<Written>, Option<Written>)> {
    let plain = || writing(false).prop_filter("a rule is well formed", |how| !how.is_spoilt());
    let rule = || (rule_and_page(), plain());
    let restricted = (
        rule(),
        proptest::collection::vec(rule(), 0..2),
        proptest::option::weighted(0.9, writing(true)),
    )
        .prop_map(|(((first, page), how), others, header)| {
            let mut rules = vec![(first, how)];
            rules.extend(others.into_iter().map(|((rule, _), how)| (rule, how)));
            (rules, header.map(|how| (page, how)))
        });
    let header = (rule_and_page(), writing(true)).prop_map(|((_, page), how)| (page, how));
    let free = proptest::option::of(header).prop_map(|header| (Vec::new(), header));
    prop_oneof![1 => restricted, 1 => free]
}

fn asks() -> impl Strategy<Value = Asks> {
    let verbs = vec![
        "token",
        "application",
        "register",
        "register",
        "leave",
        "list",
        "read",
        "read",
        "write",
        "write",
        "delete",
        "provision",
        "variables",
    ];
    let secret = (1..4_u64, likely(), expiry()).prop_map(|(id, on, expires_in)| Secret {
        id,
        on,
        expires_in,
    });
    let found = (30..33_u64, proptest::option::of(30..33_u64));
    let existing = (2..5_u64, any::<bool>(), proptest::option::of(found))
        .prop_map(|(id, made, found)| Existing { id, made, found });
    (
        select(verbs),
        proptest::option::weighted(0.8, secret),
        proptest::option::weighted(0.7, existing),
    )
        .prop_map(|(verb, secret, application)| Asks {
            verb,
            secret,
            application,
        })
}

fn facts() -> impl Strategy<Value = Facts> {
    let resources = vec!["Application", "CI/CD", "Secret Management"];
    let standing = (likely(), likely(), likely(), expiry());
    let digest = || 1..3_u8;
    let certificates = (
        proptest::option::weighted(0.3, (digest(), any::<bool>())),
        proptest::option::weighted(0.7, (digest(), digest())),
    );
    let rights = (
        prop_oneof![2 => Just(resources.clone()), 1 => subsequence(resources.clone(), 0..=3)],
        likely(),
        any::<bool>(),
        any::<bool>(),
        prop_oneof![2 => Just(vec![1, 2, 3]), 1 => subsequence(vec![1_u64, 2, 3], 0..=3)],
    );
    (
        standing,
        ips(),
        referrers(),
        certificates,
        rights,
        asks(),
        select(resources),
    )
        .prop_map(
            |(standing, (ips, ip), (referrers, referrer), certificates, rights, asks, through)| {
                Facts {
                    application_on: standing.0,
                    authorization_on: standing.1,
                    revoked: !standing.2,
                    expires_in: standing.3,
                    ips,
                    ip,
                    referrers,
                    referrer,
                    fingerprint: certificates.0,
                    certificate: certificates.1,
                    resources: rights.0,
                    read_only: !rights.1,
                    may_create: rights.2,
                    sealed: rights.3,
                    attached: rights.4,
                    asks,
                    through,
                }
            },
        )
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn decisions_are_those_of_the_model(facts in facts()) {
        let expected = model(&facts);
        match case(&facts).decide() {
            Ok(permit) => {
                prop_assert_eq!(expected, None);
                prop_assert_eq!(permit.sealing().is_some(), facts.sealed);
                let on_secret = ["read", "write", "delete", "provision"].contains(&facts.asks.verb);
                let secret = facts.asks.secret.filter(|_| on_secret);
                prop_assert_eq!(permit.secret(), secret.map(|secret| SecretId(secret.id)));
            }
            Err(denial) => {
                prop_assert_eq!(Some((denial.rule().as_str(), denial.class())), expected);
            }
        }
    }

    #[test]
    fn a_further_restriction_never_widens(facts in facts(), which in 0..14_usize) {
        let mut narrowed = facts.clone();
        match which {
            0 => narrowed.application_on = false,
            1 => narrowed.authorization_on = false,
            2 => narrowed.revoked = true,
            3 => narrowed.expires_in = Some(facts.expires_in.map_or(1, |left| left - 1)),
            4 => drop(narrowed.ips.pop()),
            5 => narrowed.ip = None,
            // Taking away the last entry would open the list.
            6 if narrowed.referrers.len() > 1 => drop(narrowed.referrers.pop()),
            6 | 7 => narrowed.referrer = None,
            8 => narrowed.certificate = None,
            9 => drop(narrowed.resources.pop()),
            10 => narrowed.read_only = true,
            11 => narrowed.may_create = false,
            12 => drop(narrowed.attached.pop()),
            _ => {
                if let Some(secret) = &mut narrowed.asks.secret {
                    secret.on = false;
                }
            }
        }
        if case(&facts).decide().is_err() {
            prop_assert!(case(&narrowed).decide().is_err());
        }
    }

    #[test]
    fn a_first_restriction_never_widens(facts in facts(), other in facts()) {
        let mut narrowed = facts.clone();
        if narrowed.referrers.is_empty() {
            narrowed.referrers = other.referrers;
        }
        narrowed.fingerprint = narrowed.fingerprint.or(other.fingerprint);
        narrowed.expires_in = narrowed.expires_in.or(other.expires_in);
        if case(&facts).decide().is_err() {
            prop_assert!(case(&narrowed).decide().is_err());
        }
    }

    #[test]
    fn an_empty_list_of_addresses_denies_everything(mut facts in facts()) {
        facts.ips.clear();
        prop_assert!(case(&facts).decide().is_err());
    }

    #[test]
    fn a_mapped_address_decides_as_the_one_it_maps(facts in facts()) {
        let case = case(&facts);
        let mut mapped = case.clone();
        mapped.origin.ip = case.origin.ip.map(|ip| match ip {
            std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
            v6 @ std::net::IpAddr::V6(_) => v6.to_canonical(),
        });
        let rule = |case: &Case| case.decide().err().map(|denial| denial.rule());
        prop_assert_eq!(rule(&case), rule(&mapped));
    }

    #[test]
    fn what_is_not_wider_permits_no_more(caller in facts(), other in facts(), keep in any::<[bool; 8]>()) {
        let caller_case = case(&caller);
        let mut new = caller_case.authorization.clone();
        let other = case(&other).authorization;
        let take = keep.map(|keep| !keep);
        if take[0] { new.allowed_ips = other.allowed_ips; }
        if take[1] { new.allowed_referrers = other.allowed_referrers; }
        if take[2] { new.certificate_fingerprint = other.certificate_fingerprint; }
        if take[3] { new.resources = other.resources; }
        if take[4] { new.encrypt_sensitive = other.encrypt_sensitive; }
        if take[5] { new.expires_at = other.expires_at; }
        if take[6] { new.allow_application_creation = other.allow_application_creation; }
        if take[7] { new.read_only = other.read_only; }
        if new.wider_than(&caller_case.authorization).is_empty() {
            let new_case = Case { authorization: new, ..caller_case.clone() };
            if let Ok(permit) = new_case.decide() {
                let callers = caller_case.decide();
                prop_assert!(callers.is_ok());
                prop_assert!(permit.sealing().is_some() >= callers.unwrap().sealing().is_some());
            }
        }
    }
}

/// The model and the code could agree by refusing everything.
#[test]
fn every_rule_and_the_permit_occur_among_the_cases() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..3_000 {
        let facts = facts().new_tree(&mut runner).unwrap().current();
        let rule = model(&facts).map_or("permitted", |(rule, _)| rule);
        *seen.entry(rule).or_insert(0) += 1;
    }
    assert!(seen["permitted"] > 300, "{seen:?}");
    for rule in &Rule::ALL[..15] {
        assert!(seen.contains_key(rule.as_str()), "{rule}: {seen:?}");
    }
}

#[test]
fn the_caller_of_the_model_is_that_of_the_cases() {
    let principal = Principal::new(
        Arc::new(super::application()),
        AuthorizationId(OWN.1),
        Arc::new(super::authorization()),
        (ClientId(300), AuthenticationMethod::OAuth2),
        Origin::default(),
    );
    let case = Case::new(Request::authenticate()).principal();
    assert_eq!(principal.application_id(), ApplicationId(OWN.0));
    assert_eq!(principal.actor(), case.actor());
}
