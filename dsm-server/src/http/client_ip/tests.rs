use std::net::IpAddr;

use dsm_core::oauth1::Scheme;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::{ForwardedHeader, Forwarding, Unresolved};

const PROXY: &str = "10.0.0.1";

fn forwarding(header: ForwardedHeader) -> Forwarding {
    let trusted = ["10.0.0.0/8", "2001:db8:1::/48", "::ffff:172.16.0.0/108"];
    Forwarding::new(trusted.map(|net| net.parse().expect("a network")), header)
}

fn headers(header: ForwardedHeader, instances: &[&str]) -> HeaderMap {
    let name = HeaderName::try_from(header.to_string()).expect("a name");
    let mut headers = HeaderMap::new();
    for instance in instances {
        let value = HeaderValue::from_bytes(instance.as_bytes()).expect("a value");
        headers.append(name.clone(), value);
    }
    headers
}

/// The client that a proxy's peer at `PROXY` names.
fn client(header: ForwardedHeader, instances: &[&str]) -> Option<String> {
    let peer = PROXY.parse().expect("an address");
    forwarding(header)
        .client(peer, &headers(header, instances))
        .ok()
        .map(|address| address.to_string())
}

#[test]
fn without_a_trusted_peer_headers_are_nothing() {
    let spoofed = headers(ForwardedHeader::XForwardedFor, &["192.0.2.9"]);
    for (peer, expected) in [
        ("203.0.113.1", "203.0.113.1"),
        ("::ffff:203.0.113.1", "203.0.113.1"),
        ("2001:db8:2::1", "2001:db8:2::1"),
    ] {
        let peer: IpAddr = peer.parse().expect("an address");
        let found = forwarding(ForwardedHeader::XForwardedFor).client(peer, &spoofed);
        assert_eq!(found.expect("the peer").to_string(), expected);
        assert_eq!(Forwarding::default().client(peer, &spoofed), found);
    }
    let loopback = "127.0.0.1".parse().expect("an address");
    assert_eq!(
        Forwarding::default().client(loopback, &spoofed),
        Ok(loopback)
    );
}

#[test]
fn only_the_configured_header_counts() {
    let other = headers(ForwardedHeader::XRealIp, &["192.0.2.9"]);
    let peer = PROXY.parse().expect("an address");
    assert_eq!(
        forwarding(ForwardedHeader::XForwardedFor).client(peer, &other),
        Err(Unresolved::Missing)
    );
}

#[test]
fn x_forwarded_for_is_read_from_the_right() {
    let client = |instances: &[&str]| client(ForwardedHeader::XForwardedFor, instances);
    for (instances, expected) in [
        (["192.0.2.9"].as_slice(), Some("192.0.2.9")),
        (&["6.6.6.6, 192.0.2.9"], Some("192.0.2.9")),
        (&["6.6.6.6,192.0.2.9\t, 10.1.1.1"], Some("192.0.2.9")),
        (
            &["6.6.6.6", "192.0.2.9", "10.1.1.1, 172.16.0.1"],
            Some("192.0.2.9"),
        ),
        (&["garbage, 192.0.2.9"], Some("192.0.2.9")),
        (&["192.0.2.9:4711"], Some("192.0.2.9")),
        (&["[2001:db8:2::1]:4711"], Some("2001:db8:2::1")),
        (&["[2001:db8:2::1]"], Some("2001:db8:2::1")),
        (&["2001:db8:2::1"], Some("2001:db8:2::1")),
        (&["::ffff:192.0.2.9"], Some("192.0.2.9")),
        (&["192.0.2.9, ::ffff:10.0.0.2"], Some("192.0.2.9")),
        (&["192.0.2.9, 2001:db8:1::2"], Some("192.0.2.9")),
        (&[], None),
        (&[""], None),
        (&["10.1.1.1"], None),
        (&["192.0.2.9, garbage"], None),
        (&["192.0.2.9,"], None),
        (&["192.0.2.9, , 10.1.1.1"], None),
        (&["192.0.2.9", ""], None),
        (&["192.0.2.09"], None),
        (&["192.0.2.0x9"], None),
        (&["3221225985"], None),
        (&["192.0.2"], None),
        (&["192.0.2.9:"], None),
        (&["192.0.2.9:65536"], None),
        (&["192.0.2.9:+80"], None),
        (&["[192.0.2.9]"], None),
        (&["[2001:db8::1"], None),
        (&["[2001:db8::1]80"], None),
        (&["fe80::1%eth0"], None),
        (&["192.0.2.9 10.1.1.1"], None),
        (&["\u{a0}192.0.2.9"], None),
        (&["\"192.0.2.9\""], None),
    ] {
        assert_eq!(client(instances).as_deref(), expected, "{instances:?}");
    }
}

#[test]
fn forwarded_follows_its_grammar() {
    let client = |instances: &[&str]| client(ForwardedHeader::Forwarded, instances);
    for (instances, expected) in [
        (["for=192.0.2.9"].as_slice(), Some("192.0.2.9")),
        (
            &["For=192.0.2.9;proto=https;by=10.0.0.1"],
            Some("192.0.2.9"),
        ),
        (
            &["for=6.6.6.6, proto=http; for=192.0.2.9 ; host=x"],
            Some("192.0.2.9"),
        ),
        (
            &["for=6.6.6.6", "for=192.0.2.9, for=10.2.2.2"],
            Some("192.0.2.9"),
        ),
        (&["for=\"[2001:db8:2::1]:4711\""], Some("2001:db8:2::1")),
        (&["for=\"192.0.2.9:80\""], Some("192.0.2.9")),
        (&["for=\"192\\.0.2.9\""], Some("192.0.2.9")),
        (&["for=unknown, for=192.0.2.9"], Some("192.0.2.9")),
        (
            &["for=192.0.2.9;host=\"a,b;for=6.6.6.6\""],
            Some("192.0.2.9"),
        ),
        (&["for=unknown"], None),
        (&["for=_hidden"], None),
        (&["for=192.0.2.9:80"], None),
        (&["for=\"2001:db8:2::1\""], None),
        (&["for=192.0.2.9;for=6.6.6.6"], None),
        (&["by=10.0.0.1"], None),
        (&["for=192.0.2.9,"], None),
        (&["for=192.0.2.9;"], None),
        (&["for=\"192.0.2.9"], None),
        (&["for=9.9.9.9;x=\"", "for=192.0.2.9;by=\"_y\""], None),
        (&["for=9.9.9.9;x=\", for=\"[2001:db8:2::1]\""], None),
        (&["for =192.0.2.9"], None),
        (&["192.0.2.9"], None),
        (&[""], None),
        (&[], None),
    ] {
        assert_eq!(client(instances).as_deref(), expected, "{instances:?}");
    }
}

#[test]
fn x_real_ip_is_one_address() {
    let client = |instances: &[&str]| client(ForwardedHeader::XRealIp, instances);
    assert_eq!(client(&[" 192.0.2.9 "]).as_deref(), Some("192.0.2.9"));
    assert_eq!(client(&["::ffff:192.0.2.9"]).as_deref(), Some("192.0.2.9"));
    for instances in [
        [].as_slice(),
        &["192.0.2.9, 192.0.2.9"],
        &["192.0.2.9", "192.0.2.9"],
        &["10.1.1.1"],
    ] {
        assert_eq!(client(instances), None, "{instances:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn no_header_makes_a_client_of_a_trusted_proxy(
        text in "[a-z0-9=;,:.\" \\\\\\[\\]]{0,60}",
        header in prop_oneof![
            Just(ForwardedHeader::Forwarded),
            Just(ForwardedHeader::XForwardedFor),
            Just(ForwardedHeader::XRealIp),
        ],
    ) {
        let peer = PROXY.parse().expect("an address");
        let forwarding = forwarding(header);
        if let Ok(found) = forwarding.client(peer, &headers(header, &[&text])) {
            prop_assert!(!forwarding.trusts(found));
            prop_assert!(text.contains(['.', ':']));
        }
    }
}

#[test]
fn what_a_client_speaks_is_what_a_trusted_proxy_says() {
    let trusted: ipnet::IpNet = "10.0.0.0/8".parse().expect("a network");
    let (proxy, client) = ("10.0.0.1", "192.0.2.1");
    for (header, peer, lines, expected) in [
        (
            ForwardedHeader::XForwardedFor,
            proxy,
            &[("x-forwarded-proto", "https")][..],
            Some(Scheme::Https),
        ),
        (
            ForwardedHeader::XRealIp,
            proxy,
            &[("x-forwarded-proto", " HTTPS ")],
            Some(Scheme::Https),
        ),
        (
            ForwardedHeader::XForwardedFor,
            proxy,
            &[("x-forwarded-proto", "http")],
            Some(Scheme::Http),
        ),
        // Nobody else is listened to.
        (
            ForwardedHeader::XForwardedFor,
            client,
            &[("x-forwarded-proto", "https")],
            Some(Scheme::Http),
        ),
        (
            ForwardedHeader::Forwarded,
            proxy,
            &[("x-forwarded-proto", "https")],
            Some(Scheme::Http),
        ),
        (
            ForwardedHeader::XForwardedFor,
            proxy,
            &[],
            Some(Scheme::Http),
        ),
        // What cannot be read decides nothing.
        (
            ForwardedHeader::XForwardedFor,
            proxy,
            &[("x-forwarded-proto", "https, http")],
            None,
        ),
        (
            ForwardedHeader::XForwardedFor,
            proxy,
            &[("x-forwarded-proto", "")],
            None,
        ),
        (
            ForwardedHeader::XForwardedFor,
            proxy,
            &[
                ("x-forwarded-proto", "https"),
                ("x-forwarded-proto", "https"),
            ],
            None,
        ),
        // Beside the address of the client, whatever the client itself has sent.
        (
            ForwardedHeader::Forwarded,
            proxy,
            &[(
                "forwarded",
                "for=192.0.2.9;proto=http, for=192.0.2.1;proto=https, for=10.0.0.2;proto=http",
            )],
            Some(Scheme::Https),
        ),
        (
            ForwardedHeader::Forwarded,
            proxy,
            &[("forwarded", "for=192.0.2.1")],
            Some(Scheme::Http),
        ),
        (
            ForwardedHeader::Forwarded,
            proxy,
            &[("forwarded", "for=192.0.2.1;proto=ws")],
            None,
        ),
        (
            ForwardedHeader::Forwarded,
            proxy,
            &[("forwarded", "for=192.0.2.1;proto=https;proto=http")],
            None,
        ),
    ] {
        let forwarding = Forwarding::new([trusted], header);
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let peer = peer.parse().expect("an address");
        let found = forwarding.scheme(peer, Scheme::Http, &headers);
        assert_eq!(found, expected, "{header} {peer} {lines:?}");
        let over_tls = forwarding.scheme(peer, Scheme::Https, &headers);
        assert_eq!(over_tls.is_none(), expected.is_none());
    }
}
