use std::net::IpAddr;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::{ForwardedHeader, Forwarding};

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
        Some(loopback)
    );
}

#[test]
fn only_the_configured_header_counts() {
    let other = headers(ForwardedHeader::XRealIp, &["192.0.2.9"]);
    let peer = PROXY.parse().expect("an address");
    assert_eq!(
        forwarding(ForwardedHeader::XForwardedFor).client(peer, &other),
        None
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

/// One hop of a generated chain: what it means, and how it is written.
#[derive(Debug, Clone)]
struct Hop {
    meaning: Meaning,
    text: String,
}

#[derive(Debug, Clone)]
enum Meaning {
    Trusted,
    Client(IpAddr),
    Malformed,
}

fn address() -> impl Strategy<Value = (Meaning, IpAddr)> {
    let trusted_v4 = any::<[u8; 3]>().prop_map(|[a, b, c]| IpAddr::from([10, a, b, c]));
    let trusted_v6 = any::<[u16; 5]>()
        .prop_map(|[a, b, c, d, e]| IpAddr::from([0x2001, 0xdb8, 1, a, b, c, d, e]));
    let client_v4 = any::<[u8; 3]>().prop_map(|[a, b, c]| IpAddr::from([192, a, b, c]));
    let client_v6 = any::<[u16; 5]>()
        .prop_map(|[a, b, c, d, e]| IpAddr::from([0x2001, 0xdb8, 2, a, b, c, d, e]));
    prop_oneof![
        prop_oneof![trusted_v4, trusted_v6].prop_map(|ip| (Meaning::Trusted, ip)),
        prop_oneof![client_v4, client_v6].prop_map(|ip| (Meaning::Client(ip), ip)),
    ]
}

fn hop() -> impl Strategy<Value = Hop> {
    let written = (address(), 0..3_u8, 1..=65_535_u16, "[ \t]{0,2}").prop_map(
        |((meaning, ip), style, port, space)| {
            let text = match (ip, style) {
                (ip, 0) => ip.to_string(),
                (IpAddr::V4(ip), 1) => format!("::ffff:{ip}"),
                (IpAddr::V6(ip), 1) => format!("[{ip}]"),
                (ip, _) => std::net::SocketAddr::new(ip, port).to_string(),
            };
            let text = format!("{space}{text}{space}");
            Hop { meaning, text }
        },
    );
    let garbage = prop_oneof![
        Just(""),
        Just("unknown"),
        Just("010.0.0.1"),
        Just("0x0a.0.0.1"),
        Just("10.0.0.1/8"),
        Just("[10.0.0.1]"),
        Just("10.0.0.1:99999"),
    ];
    let malformed = garbage.prop_map(|text| Hop {
        meaning: Meaning::Malformed,
        text: text.to_owned(),
    });
    prop_oneof![8 => written, 1 => malformed]
}

fn oracle(hops: &[Hop]) -> Option<IpAddr> {
    let last = hops
        .iter()
        .rev()
        .find(|hop| !matches!(hop.meaning, Meaning::Trusted));
    match last?.meaning {
        Meaning::Client(ip) => Some(ip),
        Meaning::Trusted | Meaning::Malformed => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn generated_chains_resolve_as_the_oracle_says(
        hops in proptest::collection::vec(hop(), 0..8),
        cuts in any::<u8>(),
    ) {
        let mut instances = Vec::new();
        for (index, hop) in hops.iter().enumerate() {
            match instances.last_mut() {
                Some(last) if cuts >> index & 1 == 0 => {
                    *last = format!("{last},{}", hop.text);
                }
                _ => instances.push(hop.text.clone()),
            }
        }
        let instances: Vec<&str> = instances.iter().map(String::as_str).collect();
        let found = client(ForwardedHeader::XForwardedFor, &instances);
        prop_assert_eq!(found, oracle(&hops).map(|ip| ip.to_string()));
    }

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
        if let Some(found) = forwarding.client(peer, &headers(header, &[&text])) {
            prop_assert!(!forwarding.trusts(found));
            prop_assert!(text.contains(['.', ':']));
        }
    }
}
