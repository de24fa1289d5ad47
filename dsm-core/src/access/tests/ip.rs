//! Addresses against an oracle that works on digits instead of numbers.

use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::select;

use super::cases;
use crate::access::{IpRule, IpRuleError};

/// The bits of an address as text, after `4` or `6`; none if it is not one in strict form.
fn bits_of(text: &str) -> Option<String> {
    if text.contains(':') {
        let (head, tail) = match text.split_once("::") {
            Some((head, _)) if head.contains('.') => return None,
            Some((head, tail)) => (groups_of(head)?, Some(groups_of(tail)?)),
            None => (groups_of(text)?, None),
        };
        let all = match tail {
            Some(tail) => {
                let missing = 8_usize.checked_sub(head.len() + tail.len())?;
                // "::" stands for at least one group.
                if missing == 0 {
                    return None;
                }
                [head, vec![0; missing], tail].concat()
            }
            None => head,
        };
        if all.len() != 8 {
            return None;
        }
        let groups: Vec<String> = all.iter().map(|group| format!("{group:016b}")).collect();
        let bits = groups.concat();
        let marker = "0".repeat(80) + &"1".repeat(16);
        return Some(match bits.strip_prefix(&marker) {
            Some(v4) => format!("4{v4}"),
            None => format!("6{bits}"),
        });
    }
    let octets: Vec<&str> = text.split('.').collect();
    if octets.len() != 4 || !octets.iter().all(|octet| is_decimal(octet, 255)) {
        return None;
    }
    let bits: Vec<String> = octets.iter().map(|octet| octet_bits(octet)).collect();
    Some(format!("4{}", bits.concat()))
}

fn groups_of(text: &str) -> Option<Vec<u16>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let parts: Vec<&str> = text.split(':').collect();
    let mut groups = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        if part.contains('.') {
            if index + 1 != parts.len() {
                return None;
            }
            let bits = bits_of(part)?;
            groups.push(u16::from_str_radix(&bits[1..17], 2).unwrap());
            groups.push(u16::from_str_radix(&bits[17..33], 2).unwrap());
        } else {
            let hex = part.chars().all(|c| c.is_ascii_hexdigit());
            if !hex || part.is_empty() || part.len() > 4 {
                return None;
            }
            groups.push(u16::from_str_radix(part, 16).unwrap());
        }
    }
    Some(groups)
}

fn octet_bits(decimal: &str) -> String {
    format!("{:08b}", decimal.parse::<u8>().unwrap())
}

fn is_decimal(text: &str, max: u32) -> bool {
    (0..=max).any(|number| number.to_string() == text)
}

/// The bits that a rule asks for, `?` for a free one; `*` alone for any address.
pub(super) fn pattern_of(rule: &str) -> Option<String> {
    if rule == "*" {
        return Some("*".to_owned());
    }
    if let Some((address, length)) = rule.split_once('/') {
        let bits = bits_of(address)?;
        let written = if address.contains(':') { 128 } else { 32 };
        if !is_decimal(length, written) {
            return None;
        }
        let length: usize = length.parse().unwrap();
        // How many of the bits written down are no longer there in the mapped form.
        let dropped = written as usize - (bits.len() - 1);
        let fixed = match length.checked_sub(dropped) {
            Some(fixed) => 1 + fixed,
            // The marker of a mapped address has bits set where this network is free.
            None => return None,
        };
        if bits[fixed..].contains('1') {
            return None;
        }
        return Some(format!(
            "{}{}",
            &bits[..fixed],
            "?".repeat(bits.len() - fixed)
        ));
    }
    if rule.contains('*') {
        let octets: Vec<&str> = rule.split('.').collect();
        if octets.len() != 4 {
            return None;
        }
        let mut pattern = "4".to_owned();
        for octet in octets {
            if octet == "*" {
                pattern.push_str("????????");
            } else if is_decimal(octet, 255) {
                pattern.push_str(&octet_bits(octet));
            } else {
                return None;
            }
        }
        return Some(pattern);
    }
    bits_of(rule)
}

fn covers(pattern: &str, bits: &str) -> bool {
    pattern == "*"
        || bits != "*"
            && pattern.len() == bits.len()
            && std::iter::zip(pattern.chars(), bits.chars()).all(|(p, b)| p == '?' || p == b)
}

/// Whether the rule allows the address, both as text.
pub(super) fn oracle(rule: &str, ip: &str) -> bool {
    let pattern = pattern_of(rule).expect("the rule is well formed");
    covers(&pattern, &bits_of(ip).expect("the address is well formed"))
}

/// Octets close enough to each other that networks and addresses meet.
fn octet() -> impl Strategy<Value = u8> + Clone {
    select(vec![0, 1, 2, 127, 128, 192, 254, 255])
}

fn v4() -> impl Strategy<Value = [u8; 4]> + Clone {
    prop_oneof![
        4 => [octet(), octet(), octet(), octet()],
        1 => any::<[u8; 4]>(),
    ]
}

fn v6() -> impl Strategy<Value = u128> {
    let group = select(vec![0_u16, 1, 0x2001, 0xdb8, 0xffff, 0x8000]);
    let groups = [
        group.clone(),
        group.clone(),
        group.clone(),
        group.clone(),
        group.clone(),
        group.clone(),
        group.clone(),
        group,
    ];
    prop_oneof![
        4 => groups.prop_map(|groups| {
            groups.iter().fold(0, |bits, group| bits << 16 | u128::from(*group))
        }),
        1 => any::<u128>(),
        1 => any::<u32>().prop_map(u128::from),
    ]
}

/// Addresses as text, with the IPv4 ones in both their forms.
pub(super) fn address() -> impl Strategy<Value = String> {
    let dotted = |[a, b, c, d]: [u8; 4]| format!("{a}.{b}.{c}.{d}");
    prop_oneof![
        3 => v4().prop_map(dotted),
        1 => v4().prop_map(move |octets| format!("::ffff:{}", dotted(octets))),
        1 => v4().prop_map(|[a, b, c, d]| format!("::FFFF:{a:02x}{b:02x}:{c:02x}{d:02x}")),
        2 => v6().prop_map(|bits| std::net::Ipv6Addr::from(bits).to_string()),
        1 => v6().prop_map(|bits| {
            let groups: Vec<String> = (0..8)
                .map(|index| format!("{:04X}", (bits >> (112 - 16 * index)) & 0xFFFF))
                .collect();
            groups.join(":")
        }),
    ]
}

/// Rules that are well formed.
pub(super) fn rule() -> impl Strategy<Value = String> {
    let v4_network = (v4(), 0..=32_u32).prop_map(|(octets, length)| {
        let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
        let network = std::net::Ipv4Addr::from(u32::from_be_bytes(octets) & mask);
        (network, length)
    });
    let v6_network = (v6(), prop_oneof![Just(0), Just(127), 0..=128_u32]);
    let part = prop_oneof![octet().prop_map(|o| o.to_string()), Just("*".to_owned())];
    prop_oneof![
        1 => Just("*".to_owned()),
        3 => address(),
        2 => v4_network.clone().prop_map(|(network, length)| format!("{network}/{length}")),
        1 => v4_network
            .prop_map(|(network, length)| format!("::ffff:{network}/{}", length + 96)),
        2 => v6_network.prop_map(|(bits, length)| {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            format!("{}/{length}", std::net::Ipv6Addr::from(bits & mask))
        }),
        2 => [part.clone(), part.clone(), part.clone(), part]
            .prop_map(|parts| parts.join(".")),
    ]
}

/// Texts that may or may not be rules.
fn text() -> impl Strategy<Value = String> {
    let damage = || {
        (
            rule(),
            any::<proptest::sample::Index>(),
            select(vec![
                "0", " ", "0x", ".", ":", "/", "*", "+", "1", "-", "%1", "\t", "٣", ",", "::",
            ]),
        )
    };
    prop_oneof![
        1 => rule(),
        2 => damage().prop_map(|(rule, at, extra)| {
            let at = at.index(rule.len() + 1);
            format!("{}{extra}{}", &rule[..at], &rule[at..])
        }),
        1 => damage().prop_map(|(mut rule, at, _)| {
            rule.remove(at.index(rule.len()));
            rule
        }),
        1 => "[0-9a-f.:*/ x]{0,20}",
    ]
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn rules_allow_what_the_oracle_allows(rule in rule(), ip in address()) {
        let parsed: IpRule = rule.parse().unwrap();
        let ip_parsed: IpAddr = ip.parse().unwrap();
        prop_assert_eq!(parsed.allows(ip_parsed), oracle(&rule, &ip));
    }

    #[test]
    fn what_is_a_rule_is_as_the_oracle_has_it(text in text()) {
        prop_assert_eq!(text.parse::<IpRule>().is_ok(), pattern_of(&text).is_some(), "{}", text);
    }

    #[test]
    fn a_rule_is_written_as_it_reads(rule in rule()) {
        let parsed: IpRule = rule.parse().unwrap();
        prop_assert_eq!(parsed.to_string().parse(), Ok(parsed));
        prop_assert_eq!(pattern_of(&parsed.to_string()), pattern_of(&rule));
    }

    #[test]
    fn containment_is_as_the_oracle_has_it(
        (inner, outer) in prop_oneof![
            (rule(), rule()),
            rule().prop_map(|rule| (rule.clone(), rule)),
        ]
    ) {
        let within = inner.parse::<IpRule>().unwrap().is_within(&outer.parse().unwrap());
        let expected = covers(&pattern_of(&outer).unwrap(), &pattern_of(&inner).unwrap());
        prop_assert_eq!(within, expected, "{} in {}", inner, outer);
    }

    #[test]
    fn a_mapped_address_is_the_one_it_maps(rule in rule(), octets in v4()) {
        let rule: IpRule = rule.parse().unwrap();
        let v4 = std::net::Ipv4Addr::from(octets);
        prop_assert_eq!(
            rule.allows(v4.into()),
            rule.allows(v4.to_ipv6_mapped().into())
        );
    }
}

#[test]
fn the_forms_in_canonical_spelling() {
    for (text, canonical) in [
        ("*", "*"),
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7/32", "192.0.2.7"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("192.168.1.*", "192.168.1.*"),
        ("*.0.*.1", "*.0.*.1"),
        ("*.*.*.*", "*.*.*.*"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::FFFF:c000:207", "192.0.2.7"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("2001:DB8:0::7", "2001:db8::7"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("2001:db8::1/128", "2001:db8::1"),
        ("::/0", "::/0"),
    ] {
        let rule: IpRule = text.parse().unwrap();
        assert_eq!(rule.to_string(), canonical);
        let json = serde_json::to_string(&rule).unwrap();
        assert_eq!(json, format!("\"{canonical}\""));
        assert_eq!(serde_json::from_str::<IpRule>(&json).unwrap(), rule);
    }
    assert!(serde_json::from_str::<IpRule>("\"192.0.2.256\"").is_err());
}

#[test]
fn what_is_wrong_is_said() {
    let malformed = IpRuleError::Form;
    let prefix = |max| IpRuleError::Prefix { max };
    let host_bits = |network: &str| IpRuleError::HostBits {
        network: network.parse().unwrap(),
    };
    for (text, error) in [
        ("", malformed),
        ("localhost", malformed),
        ("192.0.2", malformed),
        ("192.0.2.7.1", malformed),
        ("192.0.2.256", malformed),
        ("192.0.02.7", malformed),
        ("0xc0.0.2.7", malformed),
        (" 192.0.2.7", malformed),
        ("192.0.2.7 ", malformed),
        ("192.0. 2.7", malformed),
        ("192.0.2.7,192.0.2.8", malformed),
        ("[2001:db8::1]", malformed),
        ("fe80::1%eth0", malformed),
        ("::ffff:192.0.02.7", malformed),
        ("192.0.2.7:80", malformed),
        ("/24", malformed),
        ("192.0.2.0/33", prefix(32)),
        ("192.0.2.0/+24", prefix(32)),
        ("192.0.2.0/024", prefix(32)),
        ("192.0.2.0/", prefix(32)),
        ("192.0.2.0/24/24", prefix(32)),
        ("192.0.2.0/255.255.255.0", prefix(32)),
        ("2001:db8::/129", prefix(128)),
        ("192.0.2.7/24", host_bits("192.0.2.0/24")),
        ("2001:db8::1/64", host_bits("2001:db8::/64")),
        ("::ffff:192.0.2.7/120", host_bits("192.0.2.0/24")),
        ("::ffff:192.0.2.7/80", host_bits("::/80")),
        ("192.168.*", IpRuleError::Octets),
        ("192.168.1.1.*", IpRuleError::Octets),
        ("192.168.01.*", IpRuleError::Octets),
        ("192.168.1.1*", IpRuleError::Octets),
        ("192.168.256.*", IpRuleError::Octets),
        ("192.168.-1.*", IpRuleError::Octets),
        ("192.168. 1.*", IpRuleError::Octets),
        ("**", IpRuleError::Octets),
        ("2001:db8::*", IpRuleError::Octets),
        (" *", IpRuleError::Octets),
    ] {
        assert_eq!(text.parse::<IpRule>(), Err(error), "{text:?}");
    }
    assert!(
        host_bits("192.0.2.0/24")
            .to_string()
            .contains("192.0.2.0/24")
    );
}

#[test]
fn the_two_families_never_meet_but_under_the_asterisk() {
    let v4: IpAddr = "192.0.2.7".parse().unwrap();
    let v6: IpAddr = "2001:db8::7".parse().unwrap();
    for (rule, allows_v4, allows_v6) in [
        ("*", true, true),
        ("*.*.*.*", true, false),
        ("0.0.0.0/0", true, false),
        ("::/0", false, true),
    ] {
        let rule: IpRule = rule.parse().unwrap();
        assert_eq!(rule.allows(v4), allows_v4);
        assert_eq!(rule.allows(v6), allows_v6);
    }
    let address = IpRule::from(v4);
    assert!(address.allows(v4) && !address.allows(v6));
}
