//! What a client may hand on: nothing wider than its own authorization.

use chrono::TimeDelta;

use super::*;

fn restricted() -> Authorization {
    Authorization {
        resources: [Resource::Application, Resource::CiCd].into(),
        expires_at: Some(now()),
        encrypt_sensitive: true,
        allow_application_creation: false,
        allowed_ips: ip_rules(&["192.0.2.0/25", "192.0.2.128/25", "2001:db8::/32"]),
        allowed_referrers: referrer_rules(&["https://example.org/app", "https://*.example.net"]),
        certificate_fingerprint: Some(Fingerprint::Sha256([1; 32])),
        read_only: true,
        ..authorization()
    }
}

fn open() -> Authorization {
    Authorization {
        allowed_ips: ip_rules(&["*"]),
        ..authorization()
    }
}

#[test]
fn nothing_is_wider_than_itself_or_than_what_is_open() {
    for authorization in [authorization(), restricted(), open()] {
        assert_eq!(authorization.wider_than(&authorization), [""; 0]);
    }
    assert_eq!(restricted().wider_than(&open()), [""; 0]);
}

#[test]
fn every_wider_field_is_named() {
    assert_eq!(
        open().wider_than(&restricted()),
        [
            "allowed_ips",
            "allowed_http_referers",
            "certificate_fingerprint",
            "authorized_resources",
            "encryption_enabled",
            "expiration_date",
            "allow_application_creation",
            "read_only",
        ]
    );
}

#[test]
fn one_field_at_a_time() {
    let caller = restricted();
    let changed = |change: &dyn Fn(&mut Authorization)| {
        let mut new = caller.clone();
        change(&mut new);
        new.wider_than(&caller)
    };
    let ips = |texts: &[&str]| changed(&|new| new.allowed_ips = ip_rules(texts));
    assert_eq!(ips(&[]), [""; 0]);
    assert_eq!(ips(&["192.0.2.4", "2001:db8:1::/48"]), [""; 0]);
    assert_eq!(ips(&["192.0.2.0/24"]), ["allowed_ips"]);
    assert_eq!(ips(&["192.0.2.4", "198.51.100.1"]), ["allowed_ips"]);
    assert_eq!(ips(&["*"]), ["allowed_ips"]);

    let referrers = |texts: &[&str]| changed(&|new| new.allowed_referrers = referrer_rules(texts));
    assert_eq!(referrers(&[]), ["allowed_http_referers"]);
    assert_eq!(
        referrers(&["https://a.example.net/x", "https://example.org/app/x"]),
        [""; 0]
    );
    assert_eq!(
        referrers(&["https://a.example.net", "https://example.org"]),
        ["allowed_http_referers"]
    );

    let fingerprint = |to| changed(&|new| new.certificate_fingerprint = to);
    assert_eq!(fingerprint(None), ["certificate_fingerprint"]);
    let other = Some(Fingerprint::Sha256([2; 32]));
    assert_eq!(fingerprint(other), ["certificate_fingerprint"]);

    let resources = |to: &[Resource]| changed(&|new| new.resources = to.iter().copied().collect());
    assert_eq!(resources(&[]), [""; 0]);
    assert_eq!(resources(&[Resource::CiCd]), [""; 0]);
    assert_eq!(
        resources(&[Resource::SecretManagement]),
        ["authorized_resources"]
    );

    let expiry = |to| changed(&|new| new.expires_at = to);
    let instant = TimeDelta::microseconds(1);
    assert_eq!(expiry(None), ["expiration_date"]);
    assert_eq!(expiry(Some(now() + instant)), ["expiration_date"]);
    assert_eq!(expiry(Some(now() - instant)), [""; 0]);

    assert_eq!(
        changed(&|new| new.encrypt_sensitive = false),
        ["encryption_enabled"]
    );
    assert_eq!(
        changed(&|new| new.allow_application_creation = true),
        ["allow_application_creation"]
    );
    assert_eq!(changed(&|new| new.read_only = false), ["read_only"]);
}

#[test]
fn what_the_caller_does_not_restrict_may_be_anything() {
    let caller = open();
    let changes: [fn(&mut Authorization); 8] = [
        |new| new.allowed_ips = ip_rules(&["*", "::/0", "192.0.2.*"]),
        |new| new.allowed_referrers = referrer_rules(&["http://example.com"]),
        |new| new.certificate_fingerprint = Some(Fingerprint::Sha1([3; 20])),
        |new| new.encrypt_sensitive = true,
        |new| new.expires_at = Some(now()),
        |new| new.allow_application_creation = false,
        |new| new.read_only = true,
        |new| new.resources.clear(),
    ];
    for change in changes {
        let mut new = caller.clone();
        change(&mut new);
        assert_eq!(new.wider_than(&caller), [""; 0]);
    }
}
