//! Names of accounts: the profile's identifier and 13 hexadecimal digits.
//!
//! Seven of the digits tell accounts of a profile apart, six are a mark of the vault that made the
//! account. Somebody else's account whose name begins alike, and one that another vault made on the
//! same target, are told from its own by the mark and never removed as leftovers.

/// How many digits tell accounts of a profile apart.
const OWN: usize = 7;
/// How many digits mark the vault.
const MARK: usize = 6;

/// The part of an account's name before the mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountStem(String);

impl AccountStem {
    /// A new one; of the random number 28 bits are used.
    pub(crate) fn new(identifier: &str, random: u32) -> Self {
        Self(format!("{identifier}_{:07x}", random >> 4))
    }

    /// As text, which the mark is made of.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the names of all accounts of a profile begin with.
pub(crate) fn account_prefix(identifier: &str) -> String {
    format!("{identifier}_")
}

/// The name with this stem, marked by the first bytes of `mark`.
pub(crate) fn account_name(stem: &AccountStem, mark: [u8; 16]) -> String {
    let [a, b, c, ..] = mark;
    format!("{}{a:02x}{b:02x}{c:02x}", stem.0)
}

/// The stem of an account's name, if it has the form of one of this profile. Whose it is shows by
/// its mark.
pub(crate) fn stem_of(identifier: &str, name: &str) -> Option<AccountStem> {
    let digits = name.strip_prefix(identifier)?.strip_prefix('_')?;
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let fits = digits.len() == OWN + MARK && digits.bytes().all(is_digit);
    fits.then(|| AccountStem(name[..name.len() - MARK].to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_its_identifier_and_thirteen_digits() {
        let stem = AccountStem::new("web", 0x0123_4567);
        assert_eq!(stem.as_str(), "web_0123456");
        let name = account_name(&stem, *b"\x01\xab\xff3456789012345");
        assert_eq!(name, "web_012345601abff");
        assert_eq!(stem_of("web", &name), Some(stem));
        assert!(name.starts_with(&account_prefix("web")));
        assert_eq!(AccountStem::new("w", u32::MAX).as_str(), "w_fffffff");
    }

    #[test]
    fn names_of_others_are_not_taken_for_own() {
        for other in [
            "web",
            "web_",
            "web_admin",
            "web_001234501abf",
            "web_001234501abff0",
            "web_001234501ABFF",
            "web_00123450éabf",
            "web_a_001234501abff",
            "xweb_001234501abff",
        ] {
            assert_eq!(stem_of("web", other), None, "{other}");
        }
        // A profile whose identifier is another's with an underscore has its own names.
        assert!(stem_of("web_a", "web_a_001234501abff").is_some());
    }
}
