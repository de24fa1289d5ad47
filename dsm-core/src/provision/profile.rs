use serde::{Deserialize, Deserializer, Serialize};

use crate::provider::Template;

/// How many policies a cloud profile has at most.
pub const MAX_POLICIES: usize = 10;

/// How many roles a profile has at most.
const MAX_ROLES: usize = 64;

/// How an account that lives for a while is made on a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Unique; the names of its accounts begin with it, so it stays.
    pub identifier: String,
    /// What is made; stays.
    pub kind: ProfileKind,
    /// On which target, by name; stays.
    pub target: String,
    /// How an account is made, in place of the provider's own way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_template: Option<Template>,
    /// How it is removed, in place of the provider's own way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removal_template: Option<Template>,
    /// What an account may do there: roles, or groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// What a cloud account may do, at most ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// For how long an account lives.
    pub ttl: Ttl,
    /// Whether accounts are made.
    pub enabled: bool,
}

/// What a profile makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ProfileKind {
    /// An account with a password.
    Credential,
    /// A cloud user with an access key.
    Cloud,
}

impl ProfileKind {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::Cloud => "cloud",
        }
    }
}

impl Profile {
    /// What an account is given at the target: roles of a credential, policies of a cloud user.
    pub fn grants(&self) -> &[String] {
        match self.kind {
            ProfileKind::Credential => &self.roles,
            ProfileKind::Cloud => &self.policies,
        }
    }
}

/// For how long an account lives: 60 s to 30 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Ttl(u32);

/// The life is out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 60 to 2592000 seconds, a minute to 30 days")]
pub struct TtlError;

impl Ttl {
    /// The shortest, in seconds.
    pub const MIN: u32 = 60;
    /// The longest, in seconds: 30 days.
    pub const MAX: u32 = 2_592_000;

    /// A life of so many seconds.
    ///
    /// # Errors
    ///
    /// [`TtlError`] outside the bounds.
    pub fn from_seconds(seconds: i64) -> Result<Self, TtlError> {
        match u32::try_from(seconds) {
            Ok(seconds @ Self::MIN..=Self::MAX) => Ok(Self(seconds)),
            _ => Err(TtlError),
        }
    }

    /// Its seconds.
    pub fn seconds(self) -> u32 {
        self.0
    }
}

impl Default for Ttl {
    /// An hour.
    fn default() -> Self {
        Self(3_600)
    }
}

impl<'de> Deserialize<'de> for Ttl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = u32::deserialize(deserializer)?;
        Self::from_seconds(seconds.into()).map_err(serde::de::Error::custom)
    }
}

/// What is wrong with an identifier, if anything is: account names are made of it.
pub(crate) fn check_identifier(identifier: &str) -> Option<&'static str> {
    let mut bytes = identifier.bytes();
    let good = (1..=48).contains(&identifier.len())
        && bytes
            .next()
            .is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    (!good).then_some("must have 1 to 48 letters, digits, `_` and `-`, and begin with a letter")
}

/// What is wrong with a list of roles or policies, if anything is.
pub(crate) fn check_names(kind: ProfileKind, names: &[String]) -> Option<String> {
    let most = match kind {
        ProfileKind::Credential => MAX_ROLES,
        ProfileKind::Cloud => MAX_POLICIES,
    };
    if names.len() > most {
        return Some(format!("must be at most {most}"));
    }
    let bad =
        |name: &String| name.is_empty() || name.len() > 2_048 || name.chars().any(char::is_control);
    let message = "each must have 1 to 2048 bytes and no control characters";
    names.iter().any(bad).then(|| message.to_owned())
}

/// The host in an address of a target, as far as one shows: what a credential says where it is
/// valid.
pub(crate) fn host_of(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    let place = authority.rsplit_once('@').map_or(authority, |(_, it)| it);
    if let Some(bracketed) = place.strip_prefix('[') {
        return bracketed
            .split_once(']')
            .map_or(bracketed, |(host, _)| host);
    }
    match place.split_once(':') {
        // More than one colon is an IPv6 address without brackets.
        Some((host, port)) if !port.contains(':') => host,
        _ => place,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_has_bounds() {
        for (seconds, good) in [
            (i64::MIN, false),
            (0, false),
            (59, false),
            (60, true),
            (3_600, true),
            (2_592_000, true),
            (2_592_001, false),
            (315_360_000, false),
        ] {
            assert_eq!(Ttl::from_seconds(seconds).is_ok(), good, "{seconds}");
        }
        assert_eq!(Ttl::default().seconds(), 3_600);
        assert!(serde_json::from_str::<Ttl>("0").is_err());
    }

    #[test]
    fn identifiers_make_names_that_every_target_takes() {
        for good in ["a", "web", "Web-1_x", &"w".repeat(48)] {
            assert_eq!(check_identifier(good), None, "{good}");
        }
        for bad in [
            "",
            "1web",
            "_web",
            "we b",
            "wéb",
            "a.b",
            "a'b",
            &"w".repeat(49),
        ] {
            assert!(check_identifier(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_cloud_profile_has_at_most_ten_policies() {
        let names = |count| vec!["arn:aws:iam::aws:policy/ReadOnlyAccess".to_owned(); count];
        assert_eq!(check_names(ProfileKind::Cloud, &names(10)), None);
        let error = check_names(ProfileKind::Cloud, &names(11));
        assert_eq!(error.as_deref(), Some("must be at most 10"));
        assert_eq!(check_names(ProfileKind::Credential, &names(11)), None);
        assert!(check_names(ProfileKind::Credential, &[String::new()]).is_some());
    }

    #[test]
    fn the_host_is_found_in_every_form_of_address() {
        for (address, host) in [
            ("db.example.org", "db.example.org"),
            ("db.example.org:5432", "db.example.org"),
            (
                "postgres://db.example.org:5432/app?sslmode=require",
                "db.example.org",
            ),
            ("https://user@iam.example.org/path", "iam.example.org"),
            ("10.0.0.1:22", "10.0.0.1"),
            ("[2001:db8::1]:22", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("here", "here"),
            ("", ""),
        ] {
            assert_eq!(host_of(address), host, "{address}");
        }
    }
}
