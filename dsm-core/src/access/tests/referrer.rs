//! Referrers against an oracle that knows what a text means because it wrote it.

use proptest::prelude::*;
use proptest::sample::select;

use super::cases;
use crate::access::{Referrer, ReferrerError, ReferrerRule};

/// What a referrer or a rule means, before anybody writes it down.
#[derive(Debug, Clone)]
pub(super) struct Meaning {
    secure: bool,
    /// The labels of the name; `*` in front for the names below it.
    labels: Vec<&'static str>,
    port: u16,
    segments: Vec<&'static str>,
    /// Whether the path ends in a slash.
    folder: bool,
}

/// How it is written down, and what spoils it.
#[derive(Debug, Clone)]
pub(super) struct Writing {
    upper: bool,
    port_always: bool,
    encoded: bool,
    query: bool,
    spoilt: Option<Spoilt>,
}

#[derive(Debug, Clone, Copy)]
enum Spoilt {
    User,
    Fragment,
    DotSegment(&'static str),
    Backslash,
    Space,
    Scheme,
    Port,
    Host,
}

impl Meaning {
    pub(super) fn write(&self, how: &Writing) -> String {
        let case = |text: &str| {
            if how.upper {
                text.to_ascii_uppercase()
            } else {
                text.to_owned()
            }
        };
        let mut text = case(if self.secure { "https" } else { "http" });
        if let Some(Spoilt::Scheme) = how.spoilt {
            text.push('x');
        }
        text.push_str("://");
        if let Some(Spoilt::User) = how.spoilt {
            text.push_str("name:word@");
        }
        text.push_str(&case(&self.labels.join(".")));
        if let Some(Spoilt::Host) = how.spoilt {
            text.push('.');
        }
        let default = if self.secure { 443 } else { 80 };
        match how.spoilt {
            Some(Spoilt::Port) => text.push_str(":0443"),
            _ if how.port_always || self.port != default => {
                text.extend([":", &self.port.to_string()]);
            }
            _ => {}
        }
        for segment in &self.segments {
            text.push('/');
            if how.encoded {
                for byte in segment.bytes() {
                    text.extend(["%", &data_encoding::HEXLOWER.encode(&[byte])]);
                }
            } else {
                text.push_str(segment);
            }
        }
        match how.spoilt {
            Some(Spoilt::DotSegment(dots)) => text.extend(["/", dots, "/"]),
            Some(Spoilt::Backslash) => text.push_str("/\\"),
            Some(Spoilt::Space) => text.push_str("/ "),
            _ if self.folder => text.push('/'),
            _ => {}
        }
        if how.query {
            text.push_str("?next=https://example.org/../");
        }
        if let Some(Spoilt::Fragment) = how.spoilt {
            text.push_str("#part");
        }
        text
    }

    /// Whether a rule of this meaning covers a page of that.
    pub(super) fn covers(&self, page: &Meaning) -> bool {
        let host = match self.labels.split_first() {
            Some((&"*", domain)) => {
                page.labels.len() > domain.len() && page.labels.ends_with(domain)
            }
            _ => self.labels == page.labels,
        };
        let path = page.segments.starts_with(&self.segments)
            && (!self.folder
                || self.segments.is_empty()
                || page.folder
                || page.segments.len() > self.segments.len());
        host && path && (self.secure, self.port) == (page.secure, page.port)
    }
}

impl Writing {
    pub(super) fn is_spoilt(&self) -> bool {
        self.spoilt.is_some()
    }
}

fn meaning(wildcards: bool) -> impl Strategy<Value = Meaning> {
    let mut hosts = vec![
        vec!["example", "org"],
        vec!["a", "example", "org"],
        vec!["b", "a", "example", "org"],
        vec!["aexample", "org"],
        vec!["org"],
        vec!["example", "net"],
        vec!["192", "0", "2", "7"],
        vec!["xn--bcher-kva", "example", "org"],
    ];
    if wildcards {
        hosts.extend([
            vec!["*", "example", "org"],
            vec!["*", "a", "example", "org"],
            vec!["*", "org"],
        ]);
    }
    let segment = select(vec!["app", "apple", "x", "~me", "a-b_c"]);
    (
        any::<bool>(),
        select(hosts),
        select(vec![80, 443, 8443]),
        proptest::collection::vec(segment, 0..3),
        any::<bool>(),
    )
        .prop_map(|(secure, labels, port, segments, folder)| Meaning {
            secure,
            labels,
            port,
            segments,
            folder,
        })
}

/// A rule and a page, often near each other.
pub(super) fn rule_and_page() -> impl Strategy<Value = (Meaning, Meaning)> {
    (meaning(true), meaning(false), any::<[bool; 4]>()).prop_map(|(rule, mut page, same)| {
        if same[0] {
            page.secure = rule.secure;
            page.port = rule.port;
        }
        if same[1] {
            page.labels = match rule.labels.split_first() {
                Some((&"*", domain)) => [&["www"], domain].concat(),
                _ => rule.labels.clone(),
            };
        }
        if same[2] {
            page.segments = rule
                .segments
                .iter()
                .chain(&page.segments)
                .copied()
                .collect();
        }
        if same[3] {
            page.segments.clone_from(&rule.segments);
        }
        (rule, page)
    })
}

pub(super) fn writing(query: bool) -> impl Strategy<Value = Writing> {
    let dots = select(vec![
        ".", "..", "%2e", "%2E%2e", ".%2e", "..;a=b", "%2f", "%5c", "%252e", "%", "%4", "%zz",
        "%00", "%1F", "%7f",
    ]);
    let spoilt = prop_oneof![
        3 => dots.prop_map(Spoilt::DotSegment),
        5 => select(vec![
            Spoilt::User,
            Spoilt::Fragment,
            Spoilt::Backslash,
            Spoilt::Space,
            Spoilt::Scheme,
            Spoilt::Port,
            Spoilt::Host,
        ]),
    ];
    (any::<[bool; 4]>(), proptest::option::weighted(0.2, spoilt)).prop_map(
        move |([upper, port_always, encoded, with_query], spoilt)| Writing {
            upper,
            port_always,
            encoded,
            query: query && with_query,
            spoilt,
        },
    )
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn rules_cover_what_the_oracle_covers(
        (rule, page) in rule_and_page(),
        rule_as in writing(false),
        page_as in writing(true),
    ) {
        let rule_text = rule.write(&rule_as);
        let page_text = page.write(&page_as);
        let parsed: Result<ReferrerRule, _> = rule_text.parse();
        let header: Result<Referrer, _> = page_text.parse();
        prop_assert_eq!(parsed.is_err(), rule_as.is_spoilt(), "{}", rule_text);
        prop_assert_eq!(header.is_err(), page_as.is_spoilt(), "{}", page_text);
        if let (Ok(parsed), Ok(header)) = (parsed, header) {
            prop_assert_eq!(
                parsed.allows(&header),
                rule.covers(&page),
                "{} covers {}", rule_text, page_text
            );
            prop_assert_eq!(parsed.to_string().parse(), Ok(parsed));
        }
    }

    #[test]
    fn what_lies_within_allows_no_more(
        (outer, page) in rule_and_page(),
        inner in meaning(true),
        plain in Just(Writing {
            upper: false, port_always: false, encoded: false, query: false, spoilt: None,
        }),
    ) {
        let outer: ReferrerRule = outer.write(&plain).parse().unwrap();
        let exact: ReferrerRule = page.write(&plain).parse().unwrap();
        let inner: ReferrerRule = inner.write(&plain).parse().unwrap();
        let page: Referrer = page.write(&plain).parse().unwrap();
        // A page taken as a rule lies within exactly what allows the page, except that it covers
        // what is below it too.
        prop_assert_eq!(exact.is_within(&outer), outer.allows(&page));
        for (inner, outer) in [(&inner, &outer), (&outer, &inner), (&exact, &inner)] {
            if inner.is_within(outer) && inner.allows(&page) {
                prop_assert!(outer.allows(&page), "{} in {}", inner, outer);
            }
        }
        prop_assert!(inner.is_within(&inner) && outer.is_within(&outer));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(https?://)?[!-~ é\\\\]{0,40}") {
        // What is read has a form that reads as the same again.
        if let Ok(rule) = text.parse::<ReferrerRule>() {
            prop_assert_eq!(rule.to_string().parse(), Ok(rule));
        }
        if let Ok(referrer) = text.parse::<Referrer>() {
            prop_assert_eq!(text.parse(), Ok(referrer));
        }
    }
}

#[test]
fn the_forms_in_canonical_spelling() {
    for (text, canonical) in [
        ("https://example.org", "https://example.org"),
        ("HTTPS://EXAMPLE.org/", "https://example.org"),
        ("https://example.org:443", "https://example.org"),
        ("https://example.org:80", "https://example.org:80"),
        ("http://example.org:80/", "http://example.org"),
        ("http://example.org:443", "http://example.org:443"),
        ("https://example.org:65535", "https://example.org:65535"),
        ("https://*.Example.org", "https://*.example.org"),
        ("https://*.internal:8443/App", "https://*.internal:8443/App"),
        ("https://example.org/app/", "https://example.org/app/"),
        (
            "https://example.org/%61%2d%7E%c3%a9",
            "https://example.org/a-~%C3%A9",
        ),
        ("https://example.org/a%20b", "https://example.org/a%20b"),
        ("https://[2001:DB8:0::7]:8443", "https://[2001:db8::7]:8443"),
        ("https://[::]:8443", "https://[::]:8443"),
        ("https://[::1]", "https://[::1]"),
        ("https://192.0.2.7/x", "https://192.0.2.7/x"),
        ("https://my_host", "https://my_host"),
        ("https://3scale", "https://3scale"),
        ("https://0xyz.0x0g", "https://0xyz.0x0g"),
        (
            "https://example.org/a;b=1/.c/..d/...",
            "https://example.org/a;b=1/.c/..d/...",
        ),
        ("https://example.org//a", "https://example.org//a"),
    ] {
        let rule: ReferrerRule = text.parse().unwrap();
        assert_eq!(rule.to_string(), canonical);
        let json = serde_json::to_string(&rule).unwrap();
        assert_eq!(json, format!("\"{canonical}\""));
        assert_eq!(serde_json::from_str::<ReferrerRule>(&json).unwrap(), rule);
    }
    assert!(serde_json::from_str::<ReferrerRule>("\"example.org\"").is_err());
}

#[test]
fn what_is_wrong_is_said() {
    use ReferrerError::{
        Character, Fragment, Host, Path, Port, Query, Scheme, UserInformation, Wildcard,
    };
    let long_label = format!("https://{}.org", "a".repeat(64));
    let long_name = format!("https://{}org", "a.".repeat(126));
    for (text, error) in [
        ("", Scheme),
        ("*", Scheme),
        ("example.org", Scheme),
        ("//example.org", Scheme),
        ("https:/example.org", Scheme),
        ("ftp://example.org", Scheme),
        ("android-app://org.example", Scheme),
        ("about:blank", Scheme),
        (" https://example.org", Character),
        ("https://example.org/a b", Character),
        ("https://example.org\t", Character),
        ("https://example.org\\x", Character),
        ("https://bücher.example", Character),
        ("https://example.org/\u{7f}", Character),
        ("https://name@example.org", UserInformation),
        ("https://name:word@example.org", UserInformation),
        ("https://@example.org", UserInformation),
        ("https://example.org#", Fragment),
        ("https://example.org/#part", Fragment),
        ("https://example.org?", Query),
        ("https://example.org/?a=b", Query),
        ("https://", Host),
        ("https:///app", Host),
        ("https://:443", Host),
        ("https://example.org.", Host),
        ("https://.example.org", Host),
        ("https://example..org", Host),
        ("https://-a.org", Host),
        ("https://a-.org", Host),
        ("https://a!.org", Host),
        ("https://ex%61mple.org", Host),
        ("https://[2001:db8::7", Host),
        ("https://2001:db8::7]", Host),
        ("https://[192.0.2.7]", Host),
        ("https://[::1]x", Host),
        ("https://192.0.2.256", Host),
        ("https://127.1", Host),
        ("https://2130706433", Host),
        ("https://0x7f.0x1", Host),
        ("https://a.0X7F", Host),
        ("https://a.0x", Host),
        (&long_label, Host),
        (&long_name, Host),
        ("https://*", Wildcard),
        ("https://*.", Wildcard),
        ("https://*.*.org", Wildcard),
        ("https://a.*.org", Wildcard),
        ("https://*a.org", Wildcard),
        ("https://a*.org", Wildcard),
        ("https://*.192.0.2.7", Wildcard),
        ("https://*.[::1]", Wildcard),
        ("https://*.2.7", Wildcard),
        ("https://example.org/*", Wildcard),
        ("https://example.org:", Port),
        ("https://example.org:0", Port),
        ("https://example.org:+80", Port),
        ("https://example.org:080", Port),
        ("https://example.org:65536", Port),
        ("https://example.org:8 0", Character),
        ("https://example.org:80:80", Port),
        ("https://[::1]:x", Port),
        ("https://example.org/.", Path),
        ("https://example.org/a/../b", Path),
        ("https://example.org/a/..", Path),
        ("https://example.org/..;a=b/c", Path),
        ("https://example.org/.;/c", Path),
        ("https://example.org/%2e%2e/b", Path),
        ("https://example.org/.%2E/b", Path),
        ("https://example.org/a%2Fb", Path),
        ("https://example.org/a%5cb", Path),
        ("https://example.org/a%252eb", Path),
        ("https://example.org/a%00", Path),
        ("https://example.org/a%1f", Path),
        ("https://example.org/a%7F", Path),
        ("https://example.org/100%", Path),
        ("https://example.org/%4", Path),
        ("https://example.org/%4g", Path),
    ] {
        assert_eq!(text.parse::<ReferrerRule>(), Err(error), "{text}");
        // A header may have a query; an asterisk is no wildcard in it.
        match error {
            Query => assert!(text.parse::<Referrer>().is_ok(), "{text}"),
            Wildcard => match text {
                "https://example.org/*" => assert!(text.parse::<Referrer>().is_ok()),
                _ => assert_eq!(text.parse::<Referrer>(), Err(Host), "{text}"),
            },
            error => assert_eq!(text.parse::<Referrer>(), Err(error), "{text}"),
        }
    }
    // The longest label and the longest name are still names.
    let longest_label = format!("https://{}.org", "a".repeat(63));
    assert!(longest_label.parse::<ReferrerRule>().is_ok());
    let longest_name = format!("https://{}a", "a.".repeat(126));
    assert!(longest_name.parse::<ReferrerRule>().is_ok());
}

#[test]
fn pages_are_allowed_on_whole_labels_and_segments() {
    let allows = |rule: &str, page: &str| {
        let rule: ReferrerRule = rule.parse().unwrap();
        rule.allows(&page.parse().unwrap())
    };
    for (rule, page, allowed) in [
        ("https://example.org", "https://example.org", true),
        ("https://example.org", "https://EXAMPLE.ORG:443/x?y", true),
        ("https://example.org", "http://example.org", false),
        ("https://example.org", "http://example.org:443", false),
        ("https://example.org", "https://example.org:8443", false),
        ("https://example.org", "https://www.example.org", false),
        ("https://example.org", "https://example.org.evil.com", false),
        (
            "https://example.org",
            "https://evil.com/https://example.org",
            false,
        ),
        (
            "https://example.org",
            "https://evil.com/?https://example.org",
            false,
        ),
        ("https://*.example.org", "https://a.example.org", true),
        ("https://*.example.org", "https://b.a.example.org/x", true),
        ("https://*.example.org", "https://example.org", false),
        ("https://*.example.org", "https://evilexample.org", false),
        (
            "https://*.example.org",
            "https://a.example.org.evil.com",
            false,
        ),
        ("https://example.org/app", "https://example.org/app", true),
        ("https://example.org/app", "https://example.org/app/", true),
        (
            "https://example.org/app",
            "https://example.org/app/x/y",
            true,
        ),
        ("https://example.org/app", "https://example.org/app?x", true),
        ("https://example.org/app", "https://example.org/%61pp", true),
        (
            "https://example.org/app",
            "https://example.org/apple",
            false,
        ),
        ("https://example.org/app", "https://example.org/App", false),
        ("https://example.org/app", "https://example.org//app", false),
        ("https://example.org/app", "https://example.org/", false),
        (
            "https://example.org/app",
            "https://example.org/?/app",
            false,
        ),
        ("https://example.org/app/", "https://example.org/app", false),
        ("https://example.org/app/", "https://example.org/app/", true),
        (
            "https://example.org/app/",
            "https://example.org/app/x",
            true,
        ),
        ("https://[2001:db8::7]", "https://[2001:db8:0::7]/x", true),
        ("https://[2001:db8::7]", "https://[2001:db8::8]/x", false),
    ] {
        assert_eq!(allows(rule, page), allowed, "{rule} {page}");
    }
}

#[test]
fn rules_within_rules() {
    let within = |inner: &str, outer: &str| {
        let inner: ReferrerRule = inner.parse().unwrap();
        inner.is_within(&outer.parse().unwrap())
    };
    for (inner, outer, expected) in [
        ("https://example.org/app", "https://example.org", true),
        ("https://example.org", "https://example.org/app", false),
        ("https://example.org/app", "https://example.org/app/", false),
        ("https://example.org/app/", "https://example.org/app", true),
        (
            "https://example.org/apple",
            "https://example.org/app",
            false,
        ),
        ("https://*.example.org", "https://*.example.org", true),
        ("https://*.a.example.org", "https://*.example.org", true),
        ("https://*.example.org", "https://*.a.example.org", false),
        ("https://*.aexample.org", "https://*.example.org", false),
        ("https://a.example.org", "https://*.example.org", true),
        ("https://example.org", "https://*.example.org", false),
        ("https://*.example.org", "https://example.org", false),
        ("https://*.example.org", "https://a.example.org", false),
        ("http://a.example.org", "https://*.example.org", false),
        ("https://a.example.org:1", "https://*.example.org", false),
    ] {
        assert_eq!(within(inner, outer), expected, "{inner} in {outer}");
    }
}
