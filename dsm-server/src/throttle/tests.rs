use chrono::TimeDelta;
use dsm_core::time::Timestamp;

use super::{Throttle, ThrottleLimits, Throttled};

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + TimeDelta::days(20_000)
}

fn throttle() -> Throttle {
    Throttle::new(ThrottleLimits::default())
}

fn seconds(seconds: i64) -> TimeDelta {
    TimeDelta::seconds(seconds)
}

/// Fails `times` checks of `client` from `ip`.
fn fail(throttle: &Throttle, ip: &str, client: Option<&str>, times: u32) {
    for n in 0..times {
        let source = throttle.source(ip.parse().expect("an address"), n);
        throttle.failed(source, client, now());
    }
}

fn admit(throttle: &Throttle, ip: &str, credentials: &str, at: Timestamp) -> Result<(), Throttled> {
    let ip = ip.parse().expect("an address");
    throttle.admit(throttle.source(ip, credentials), at)
}

fn admit_client(throttle: &Throttle, ip: &str, client: &str) -> bool {
    let source = throttle.source(ip.parse().expect("an address"), "anything");
    throttle.admit_client(source, client, now()).is_ok()
}

#[test]
fn an_address_fails_sixty_times_a_minute() {
    let throttle = throttle();
    fail(&throttle, "192.0.2.1", None, 59);
    assert_eq!(admit(&throttle, "192.0.2.1", "new", now()), Ok(()));
    fail(&throttle, "192.0.2.1", None, 1);
    let at = now() + seconds(20);
    let refused = admit(&throttle, "192.0.2.1", "new", at).expect_err("too often");
    assert_eq!((refused.retry_after, refused.first), (40, Some(60)));
    let again = admit(&throttle, "192.0.2.1", "new", at).expect_err("too often");
    assert_eq!(again.first, None, "one record for a minute");
    // Whoever comes from elsewhere is not concerned, and after a minute nobody is.
    assert_eq!(admit(&throttle, "192.0.2.2", "new", at), Ok(()));
    let over = now() + seconds(60);
    assert_eq!(admit(&throttle, "192.0.2.1", "new", over), Ok(()));
    let before = now() - seconds(1);
    assert_eq!(admit(&throttle, "192.0.2.1", "new", before), Ok(()));
    let counts = throttle.counts();
    assert_eq!(
        (counts.failed, counts.by_address, counts.by_client),
        (60, 2, 0)
    );
}

#[test]
fn who_was_good_from_there_is_still_heard() {
    let throttle = throttle();
    let good = throttle.source("192.0.2.1".parse().expect("an address"), "good");
    throttle.succeeded(good);
    fail(&throttle, "192.0.2.1", None, 60);
    assert_eq!(admit(&throttle, "192.0.2.1", "good", now()), Ok(()));
    assert!(admit(&throttle, "192.0.2.1", "other", now()).is_err());
    // Until it is no longer good.
    throttle.failed(good, None, now());
    assert!(admit(&throttle, "192.0.2.1", "good", now()).is_err());
    // Elsewhere it was not good yet.
    fail(&throttle, "192.0.2.2", None, 60);
    throttle.succeeded(good);
    assert!(admit(&throttle, "192.0.2.2", "good", now()).is_err());
}

#[test]
fn a_client_fails_twenty_times_a_minute_from_one_address() {
    let throttle = throttle();
    fail(&throttle, "192.0.2.1", Some("abc"), 19);
    assert!(admit_client(&throttle, "192.0.2.1", "abc"));
    fail(&throttle, "192.0.2.1", Some(" ABC"), 1);
    assert!(!admit_client(&throttle, "192.0.2.1", "abc"));
    assert!(!admit_client(&throttle, "192.0.2.1", "aBc "));
    assert!(admit_client(&throttle, "192.0.2.1", "abd"));
    assert!(admit_client(&throttle, "192.0.2.2", "abc"));
    assert_eq!(admit(&throttle, "192.0.2.1", "any", now()), Ok(()));
    assert_eq!(throttle.counts().by_client, 2);
}

#[test]
fn ipv6_counts_by_the_first_64_bits_and_mapped_as_ipv4() {
    let throttle = throttle();
    fail(&throttle, "2001:db8::1", None, 30);
    fail(&throttle, "2001:db8::ffff:2", None, 30);
    assert!(admit(&throttle, "2001:db8::3", "new", now()).is_err());
    assert!(admit(&throttle, "2001:db8:0:1::3", "new", now()).is_ok());
    fail(&throttle, "::ffff:192.0.2.1", None, 60);
    assert!(admit(&throttle, "192.0.2.1", "new", now()).is_err());
}

#[test]
fn zero_is_no_limit_and_memory_is_bounded() {
    let throttle = Throttle::new(ThrottleLimits {
        address: 0,
        client: 0,
    });
    fail(&throttle, "192.0.2.1", Some("abc"), 1_000);
    assert!(admit(&throttle, "192.0.2.1", "new", now()).is_ok());
    assert!(admit_client(&throttle, "192.0.2.1", "abc"));

    let throttle = Throttle::new(ThrottleLimits::default());
    for n in 0..200_000_u32 {
        let ip = std::net::Ipv4Addr::from_bits(n).into();
        let source = throttle.source(ip, "x");
        throttle.failed(source, Some(&n.to_string()), now());
        throttle.succeeded(source);
    }
    assert!(throttle.addresses.windows.len() <= super::COUNTED);
    assert!(throttle.clients.windows.len() <= super::COUNTED);
    assert!(throttle.known.len() <= super::KNOWN);
}
