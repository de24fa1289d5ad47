//! What forwarding headers mean, written a second time and in another way: what the parser says of
//! generated headers is compared with it.

use std::net::IpAddr;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use proptest::prelude::*;

use super::{ForwardedHeader, Forwarding};

const TRUSTED: [&str; 4] = [
    "10.0.0.0/8",
    "127.0.0.1",
    "2001:db8:1::/48",
    "172.16.0.0/12",
];
/// Characters that something hangs on, in the headers or in addresses.
const ALPHABET: &str = "[0-9a-fxXgz.:,;=_ \t\"\\\\\\[\\]%/+*-]";

fn cases() -> u32 {
    let given = std::env::var("DSM_CASES").ok();
    given.map_or(4_096, |cases| cases.parse().expect("a number of cases"))
}

// The oracle. It works on characters and lists of them, from left to right, and has nothing of the
// standard library that knows addresses but the types.

fn v4(text: &str) -> Option<u32> {
    let mut bits = 0;
    let parts: Vec<&str> = text.split('.').collect();
    if parts.len() != 4 {
        return None;
    }
    for part in parts {
        let canonical = part == "0" || !part.starts_with('0');
        if part.is_empty() || part.len() > 3 || !canonical {
            return None;
        }
        let mut number = 0;
        for c in part.chars() {
            number = number * 10 + c.to_digit(10).filter(|_| c.is_ascii())?;
        }
        if number > 255 {
            return None;
        }
        bits = bits << 8 | number;
    }
    Some(bits)
}

/// The groups of one side of `::`; only the last may be an IPv4 address, which is two.
fn groups(text: &str, last: bool) -> Option<Vec<u16>> {
    let mut groups = Vec::new();
    if text.is_empty() {
        return Some(groups);
    }
    let parts: Vec<&str> = text.split(':').collect();
    for (index, part) in parts.iter().enumerate() {
        if part.contains('.') {
            if !last || index + 1 != parts.len() {
                return None;
            }
            let bits = v4(part)?;
            groups.push(u16::try_from(bits >> 16).ok()?);
            groups.push(u16::try_from(bits & 0xffff).ok()?);
        } else {
            if part.is_empty() || part.len() > 4 {
                return None;
            }
            let mut group = 0;
            for c in part.chars() {
                group = group << 4 | u16::try_from(c.to_digit(16)?).ok()?;
            }
            groups.push(group);
        }
    }
    Some(groups)
}

fn v6(text: &str) -> Option<[u16; 8]> {
    let halves: Vec<&str> = text.split("::").collect();
    let groups: Vec<u16> = match halves.as_slice() {
        [whole] => groups(whole, true)?,
        [left, right] => {
            let (left, right) = (groups(left, false)?, groups(right, true)?);
            let zeros = 8_usize.checked_sub(left.len() + right.len())?;
            if zeros == 0 {
                return None;
            }
            [left, vec![0; zeros], right].concat()
        }
        _ => return None,
    };
    groups.try_into().ok()
}

fn ip_of_v6(text: &str) -> Option<IpAddr> {
    let groups = v6(text)?;
    if groups[..5] == [0; 5] && groups[5] == 0xffff {
        let [a, b] = groups[6].to_be_bytes();
        let [c, d] = groups[7].to_be_bytes();
        return Some(IpAddr::from([a, b, c, d]));
    }
    Some(IpAddr::from(groups))
}

fn ip_of_v4(text: &str) -> Option<IpAddr> {
    v4(text).map(|bits| IpAddr::from(bits.to_be_bytes()))
}

fn is_port(text: &str) -> bool {
    let digits = text.chars().all(|c| "0123456789".contains(c));
    let number = text.chars().fold(0_u64, |number, c| {
        let digit = u64::from(c.to_digit(10).unwrap_or(0));
        number.saturating_mul(10).saturating_add(digit)
    });
    digits && !text.is_empty() && text.len() < 6 && number < 65_536
}

fn node(text: &str, brackets_needed: bool) -> Option<IpAddr> {
    if let Some(close) = text.find(']') {
        let (inside, after) = (&text[..close], &text[close + 1..]);
        let good = match after.chars().next() {
            None => true,
            Some(':') => is_port(&after[1..]),
            Some(_) => false,
        };
        return inside.strip_prefix('[').filter(|_| good).and_then(ip_of_v6);
    }
    match text.matches(':').count() {
        0 => ip_of_v4(text),
        1 => {
            let colon = text.find(':')?;
            let (address, port) = (&text[..colon], &text[colon + 1..]);
            is_port(port).then(|| ip_of_v4(address))?
        }
        _ if brackets_needed => None,
        _ => ip_of_v6(text),
    }
}

/// `text` cut at each `separator` that stands outside of quotes; nothing when a quote stays open.
fn cut(text: &str, separator: char) -> Option<Vec<String>> {
    let (mut parts, mut quoted, mut escaped) = (vec![String::new()], false, false);
    for c in text.chars() {
        if c == separator && !quoted {
            parts.push(String::new());
            continue;
        }
        parts.last_mut()?.push(c);
        if escaped {
            escaped = false;
        } else if quoted && c == '\\' {
            escaped = true;
        } else if c == '"' {
            quoted = !quoted;
        }
    }
    (!quoted).then_some(parts)
}

fn blank_trimmed(text: &str) -> &str {
    let blank = |c: char| c == ' ' || c == '\t';
    text.trim_start_matches(blank).trim_end_matches(blank)
}

fn is_token(text: &str) -> bool {
    let special = "!#$%&'*+-.^_`|~";
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || special.contains(c))
}

fn unquoted(text: &str) -> Option<String> {
    if is_token(text) {
        return Some(text.to_owned());
    }
    let inner: Vec<char> = text.strip_prefix('"')?.chars().collect();
    let (mut value, mut at) = (String::new(), 0);
    loop {
        match inner.get(at)? {
            '"' => return (at + 1 == inner.len()).then_some(value),
            '\\' => {
                at += 1;
                value.push(*inner.get(at)?);
            }
            c => value.push(*c),
        }
        at += 1;
    }
}

/// The clients that a `Forwarded` header names; nothing when it breaks its grammar.
fn forwarded(text: &str) -> Option<Vec<Option<IpAddr>>> {
    let mut clients = Vec::new();
    for element in cut(text, ',')? {
        let mut named = Vec::new();
        for pair in cut(&element, ';')? {
            let pair = blank_trimmed(&pair);
            let equals = pair.find('=')?;
            let (name, value) = (&pair[..equals], unquoted(&pair[equals + 1..])?);
            if !is_token(name) {
                return None;
            }
            if name.to_lowercase() == "for" {
                named.push(value);
            }
        }
        match named.as_slice() {
            [one] => clients.push(node(one, true)),
            _ => return None,
        }
    }
    Some(clients)
}

fn is_trusted(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            a == 10 || [a, b, c, d] == [127, 0, 0, 1] || (a == 172 && b >> 4 == 1)
        }
        IpAddr::V6(ip) => ip.segments()[..3] == [0x2001, 0xdb8, 1],
    }
}

fn oracle(peer: IpAddr, header: ForwardedHeader, instances: &[Vec<u8>]) -> Option<IpAddr> {
    let peer = match peer {
        IpAddr::V6(ip) => ip_of_v6(&format!("{ip}"))?,
        v4 @ IpAddr::V4(_) => v4,
    };
    if !is_trusted(peer) {
        return Some(peer);
    }
    let readable = |b: &u8| *b == b'\t' || (b' '..=b'~').contains(b);
    if !instances.iter().flatten().all(readable) {
        return None;
    }
    let texts: Vec<String> = instances
        .iter()
        .map(|bytes| bytes.iter().map(|b| char::from(*b)).collect())
        .collect();
    let mut clients = Vec::new();
    match header {
        ForwardedHeader::XForwardedFor => {
            if texts.is_empty() {
                return None;
            }
            for hop in texts.join(",").split(',') {
                clients.push(node(blank_trimmed(hop), false));
            }
        }
        ForwardedHeader::Forwarded => {
            for text in &texts {
                clients.extend(forwarded(text)?);
            }
        }
        ForwardedHeader::XRealIp => {
            if texts.len() != 1 {
                return None;
            }
            clients.push(node(blank_trimmed(&texts[0]), false));
        }
    }
    while let Some(client) = clients.pop() {
        let client = client?;
        if !is_trusted(client) {
            return Some(client);
        }
    }
    None
}

// What is compared.

fn address() -> impl Strategy<Value = IpAddr> {
    let interesting = prop_oneof![
        Just([10, 0, 0, 1]),
        Just([127, 0, 0, 1]),
        Just([127, 0, 0, 2]),
        Just([172, 31, 255, 255]),
        Just([172, 32, 0, 0]),
        Just([0, 0, 0, 0]),
        Just([255, 255, 255, 255]),
        any::<[u8; 4]>(),
        any::<[u8; 3]>().prop_map(|[b, c, d]| [10, b, c, d]),
    ];
    let long = prop_oneof![
        any::<[u16; 5]>().prop_map(|[a, b, c, d, e]| [0x2001, 0xdb8, 1, a, b, c, d, e]),
        any::<[u16; 5]>().prop_map(|[a, b, c, d, e]| [0x2001, 0xdb8, 2, a, b, c, d, e]),
        Just([0; 8]),
        Just([0, 0, 0, 0, 0, 0, 0, 1]),
        proptest::array::uniform8(prop_oneof![Just(0), any::<u16>()]),
    ];
    prop_oneof![
        2 => interesting.prop_map(IpAddr::from),
        1 => long.prop_map(IpAddr::from),
    ]
}

/// An address, written in one of the ways in which addresses are written, wrong ones among them.
fn written() -> impl Strategy<Value = String> {
    (address(), 0..16_u8, any::<u32>()).prop_map(|(ip, way, number)| {
        let port = number % 70_000;
        match (ip, way) {
            (ip, 0..=3) => ip.to_string(),
            (IpAddr::V4(ip), 4 | 5) => format!("{ip}:{port}"),
            (IpAddr::V6(ip), 4 | 5) => format!("[{ip}]:{port}"),
            (IpAddr::V4(ip), 6 | 7) => format!("::ffff:{ip}"),
            (IpAddr::V6(ip), 6 | 7) => format!("[{ip}]"),
            (IpAddr::V4(ip), 8) => format!("[::FFFF:{ip}]:{port}"),
            (IpAddr::V4(ip), 9) => {
                let [a, b, c, d] = ip.octets();
                format!("{a:03}.{b}.{c:02}.{d}")
            }
            (IpAddr::V4(ip), 10) => format!("0x{:08x}", ip.to_bits()),
            (IpAddr::V4(ip), 11) => ip.to_bits().to_string(),
            (IpAddr::V4(ip), 12) => format!("[{ip}]"),
            (IpAddr::V6(ip), 8) => ip.to_string().to_uppercase(),
            (IpAddr::V6(ip), 9) => {
                let groups = ip.segments().map(|group| format!("{group:04x}"));
                groups.join(":")
            }
            (IpAddr::V6(ip), 10) => format!("{ip}%eth0"),
            (IpAddr::V6(ip), 11) => format!("{ip}:{port}"),
            (_, 13) => "unknown".to_owned(),
            (_, 14) => format!("_hidden{number}"),
            (_, 15) => String::new(),
            (ip, _) => format!("{ip}/24"),
        }
    })
}

/// An element of `Forwarded` around `node`.
fn element() -> impl Strategy<Value = String> {
    let quoted = |text: &str, escaped: bool| {
        let inner: String = text
            .chars()
            .map(|c| {
                if escaped {
                    format!("\\{c}")
                } else {
                    c.to_string()
                }
            })
            .collect();
        format!("\"{inner}\"")
    };
    (written(), 0..12_u8).prop_map(move |(node, way)| match way {
        0 => format!("for={node}"),
        1 => format!("For={};proto=https", quoted(&node, false)),
        2 => format!("proto=http ; for={}", quoted(&node, true)),
        3 => format!("for={};host=\"a,b;for=6.6.6.6\"", quoted(&node, false)),
        4 => format!("by=_x;for={};by=_y", quoted(&node, false)),
        5 => format!("for={};for={node}", quoted(&node, false)),
        6 => format!("for ={node}"),
        7 => format!("for= {node}"),
        8 => format!("for={};", quoted(&node, false)),
        9 => "by=10.0.0.1".to_owned(),
        10 => node,
        _ => format!("for={}", quoted(&node, false)),
    })
}

fn header() -> impl Strategy<Value = ForwardedHeader> {
    prop_oneof![
        3 => Just(ForwardedHeader::XForwardedFor),
        3 => Just(ForwardedHeader::Forwarded),
        1 => Just(ForwardedHeader::XRealIp),
    ]
}

/// A header with its instances: a chain, put together as proxies do, then damaged now and then.
fn sent() -> impl Strategy<Value = (ForwardedHeader, Vec<Vec<u8>>)> {
    let blank = prop_oneof![Just(","), Just(", "), Just(" ,\t"), Just(",,")];
    let damage = (any::<prop::sample::Index>(), 0..3_u8, ALPHABET);
    let hops = proptest::collection::vec((element(), written(), blank, 0..4_u8), 0..7);
    let damages = prop_oneof![
        2 => Just(Vec::new()),
        1 => proptest::collection::vec(damage, 1..4),
    ];
    let garbage = proptest::collection::vec(
        proptest::string::string_regex(&format!("{ALPHABET}{{0,40}}")).expect("a pattern"),
        0..3,
    );
    let chain = (header(), hops, damages).prop_map(|(header, hops, damages)| {
        let mut instances: Vec<String> = Vec::new();
        for (element, written, blank, cut) in hops {
            let hop = match header {
                ForwardedHeader::Forwarded => element,
                ForwardedHeader::XForwardedFor | ForwardedHeader::XRealIp => written,
            };
            match instances.last_mut() {
                Some(last) if cut > 0 => *last = format!("{last}{blank}{hop}"),
                _ => instances.push(hop),
            }
        }
        for (place, way, text) in damages {
            if instances.is_empty() {
                continue;
            }
            let count = instances.len();
            let instance = &mut instances[place.index(count)];
            let at = place.index(instance.len() + 1);
            match way {
                0 => instance.insert_str(at, &text),
                1 if at < instance.len() => drop(instance.remove(at)),
                2 if at < instance.len() => instance.replace_range(at..=at, &text),
                _ => {}
            }
        }
        let bytes = instances.into_iter().map(String::into_bytes);
        (header, bytes.collect::<Vec<_>>())
    });
    let noise = (header(), garbage)
        .prop_map(|(header, texts)| (header, texts.into_iter().map(String::into_bytes).collect()));
    let bytes = proptest::collection::vec(proptest::collection::vec(0x20..=0xff_u8, 0..30), 1..3);
    let bytes = (header(), bytes).prop_map(|(header, instances)| (header, instances));
    prop_oneof![8 => chain, 2 => noise, 1 => bytes]
}

fn peer() -> impl Strategy<Value = IpAddr> {
    let mapped = any::<[u8; 3]>()
        .prop_map(|[b, c, d]| IpAddr::V6(std::net::Ipv4Addr::new(10, b, c, d).to_ipv6_mapped()));
    prop_oneof![6 => Just(IpAddr::from([10, 0, 0, 1])), 1 => mapped, 1 => address()]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn generated_chains_resolve_as_the_oracle_says((header, instances) in sent(), peer in peer()) {
        let trusted = TRUSTED.map(|net| match net.parse::<IpNet>() {
            Ok(net) => net,
            Err(_) => net.parse::<IpAddr>().expect("an address").into(),
        });
        let name = HeaderName::try_from(header.to_string()).expect("a name");
        let mut headers = HeaderMap::new();
        let mut taken = Vec::new();
        for instance in &instances {
            // What no connection would let through is no header.
            if let Ok(value) = HeaderValue::from_bytes(instance) {
                headers.append(name.clone(), value);
                taken.push(instance.clone());
            }
        }
        let found = Forwarding::new(trusted, header).client(peer, &headers).ok();
        prop_assert_eq!(found, oracle(peer, header, &taken), "{:?}", taken);
    }

    #[test]
    fn generated_addresses_are_read_as_the_oracle_says(
        text in prop_oneof![
            2 => written(),
            1 => proptest::string::string_regex("[0-9a-fA-Fx.:]{0,24}").expect("a pattern"),
            1 => proptest::string::string_regex("([0-9]{1,4}[.:]){0,4}[0-9a-f]{0,4}")
                .expect("a pattern"),
            1 => proptest::string::string_regex("([0-9a-f]{0,4}:){1,8}[0-9.]{0,12}")
                .expect("a pattern"),
        ],
        bracketed in any::<bool>(),
    ) {
        prop_assert_eq!(super::parse_node(&text, bracketed), node(&text, bracketed), "{}", text);
    }
}

#[test]
fn the_oracle_knows_what_is_known() {
    for (text, expected) in [
        ("::ffff:192.0.2.1", Some("192.0.2.1")),
        ("[::ffff:c000:201]:80", Some("192.0.2.1")),
        ("1:2:3:4:5:6:7::", Some("1:2:3:4:5:6:7:0")),
        ("1:2:3:4::5:6:7:8", None),
        ("1::2::3", None),
        ("::192.0.2.1", Some("::192.0.2.1")),
        ("192.0.2.1::", None),
        ("192.0.2.01", None),
        ("192.0.2.256", None),
        ("192.0.2.1:65536", None),
    ] {
        let found = node(text, false).map(|ip| ip.to_string());
        let expected: Option<IpAddr> = expected.map(|text| text.parse().expect("an address"));
        assert_eq!(found, expected.map(|ip| ip.to_string()), "{text}");
    }
}
