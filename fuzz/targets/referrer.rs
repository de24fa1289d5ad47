//! Referrers and the rules for them.
#![no_main]

use dsm_core::access::{Referrer, ReferrerRule};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (one, two) = text.split_once('\n').unwrap_or((text, text));
    let rule: Result<ReferrerRule, _> = one.parse();
    let referrer: Result<Referrer, _> = two.parse();
    if let Ok(rule) = &rule {
        let written = rule.to_string();
        let again: ReferrerRule = written.parse().expect("what is written reads back");
        assert_eq!(again.to_string(), written);
        assert!(rule.is_within(&again) && again.is_within(rule));
        if let Ok(referrer) = &referrer {
            assert_eq!(rule.allows(referrer), again.allows(referrer));
        }
    }
});
