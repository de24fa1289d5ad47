//! Names of AWS principals, and lists of them with wildcards.

use std::fmt;
use std::str::FromStr;

/// The ARN of a principal: `arn:partition:service:region:account:resource`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arn(String);

/// The text is no ARN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no ARN: arn:partition:service:region:account-id:resource")]
pub struct ArnError;

impl FromStr for Arn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        // What AWS says names one principal.
        if is_pattern(text) && !text.contains(['*', '?']) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ArnError)
        }
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text has the six parts of an ARN, wildcards among them or not.
pub(crate) fn is_pattern(text: &str) -> bool {
    let Some([arn, partition, service, _region, _account, resource]) = parts(text) else {
        return false;
    };
    arn == "arn"
        && ![partition, service, resource].contains(&"")
        && text.len() <= 2048
        && !text.chars().any(|c| c.is_control() || c.is_whitespace())
}

/// The entry of an application's list that the principal is one of, if there is one.
///
/// `*` stands for any characters and `?` for one, each within its part of the ARN; in the last part
/// also for `/` and `:`. Who has assumed a role is
/// `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION` and is compared both as that and as its role,
/// `arn:aws:iam::ACCOUNT:role/ROLE`. AWS leaves out the path of a role there; since the name of a role
/// is unique in its account, an entry with a path and without wildcards is compared by its name.
pub fn is_listed<'l>(list: &'l [String], principal: &Arn) -> Option<&'l str> {
    let role = role_of(&principal.0);
    let listed = |entry: &str| {
        matches(entry, &principal.0)
            || role.as_deref().is_some_and(|role| {
                matches(entry, role) || without_path(entry).as_deref() == Some(role)
            })
    };
    list.iter().map(String::as_str).find(|entry| listed(entry))
}

/// The ARN of the role that a principal has assumed.
fn role_of(principal: &str) -> Option<String> {
    let ["arn", partition, "sts", "", account, resource] = parts(principal)? else {
        return None;
    };
    let mut names = resource.split('/');
    let (Some("assumed-role"), Some(role), Some(_), None) =
        (names.next(), names.next(), names.next(), names.next())
    else {
        return None;
    };
    Some(format!("arn:{partition}:iam::{account}:role/{role}"))
}

/// An entry that names one role, without the role's path.
fn without_path(entry: &str) -> Option<String> {
    if entry.contains(['*', '?']) {
        return None;
    }
    let ["arn", partition, "iam", "", account, resource] = parts(entry)? else {
        return None;
    };
    let (_, name) = resource.strip_prefix("role/")?.rsplit_once('/')?;
    Some(format!("arn:{partition}:iam::{account}:role/{name}"))
}

fn parts(text: &str) -> Option<[&str; 6]> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    parts.try_into().ok()
}

fn matches(pattern: &str, arn: &str) -> bool {
    match (parts(pattern), parts(arn)) {
        (Some(patterns), Some(parts)) => patterns
            .iter()
            .zip(parts)
            .all(|(pattern, part)| glob(pattern.as_bytes(), part.as_bytes())),
        _ => false,
    }
}

/// Matches with the last `*` taken up again where a later part does not fit.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut place) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while place < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, place));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[place] => {
                at += 1;
                place += 1;
            }
            _ => match star {
                Some((before, taken)) => {
                    star = Some((before, taken + 1));
                    at = before + 1;
                    place = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::{Arn, glob, is_listed, is_pattern};

    fn listed(entry: &str, principal: &str) -> bool {
        let list = ["arn:aws:iam::999:user/nobody".to_owned(), entry.to_owned()];
        let principal: Arn = principal.parse().expect("an ARN");
        is_listed(&list, &principal).is_some()
    }

    #[test]
    fn arns_have_six_parts() {
        for good in [
            "arn:aws:iam::123456789012:role/x",
            "arn:aws:sts::1:assumed-role/a:b/*",
        ] {
            assert!(is_pattern(good), "{good}");
        }
        for bad in [
            "",
            "arn:aws:iam::1",
            "urn:aws:iam::1:x",
            "arn::iam::1:x",
            "arn:aws:iam::1:",
            "arn:aws:iam::1:a b",
        ] {
            assert!(!is_pattern(bad), "{bad}");
        }
        assert!("arn:aws:iam::1:user/*".parse::<Arn>().is_err());
        assert!("arn:aws:iam::1:user/a".parse::<Arn>().is_ok());
    }

    #[test]
    fn entries_name_one_principal_or_many() {
        let user = "arn:aws:iam::123:user/team/ann";
        for entry in [
            user,
            "arn:aws:iam::123:user/team/*",
            "arn:aws:iam::123:*",
            "arn:*:iam::123:user/*/ann",
            "arn:aws:iam::???:user/team/a?n",
            "arn:aws:iam:*:*:user/team/ann",
        ] {
            assert!(listed(entry, user), "{entry}");
        }
        for entry in [
            "arn:aws:iam::124:user/team/ann",
            "arn:aws:iam::123:user/team/an",
            "arn:aws:iam::123:user/team/anna",
            "arn:aws:iam::123:user/ann",
            "arn:aws:iam::12*4:user/team/ann",
            "arn:aws:sts::123:user/team/ann",
            "arn:aws-cn:iam::123:user/team/ann",
            // A wildcard does not reach into the next part.
            "arn:aws:*:user/team/ann",
            "*",
            "",
        ] {
            assert!(!listed(entry, user), "{entry}");
        }
        let none: [String; 0] = [];
        assert!(is_listed(&none, &user.parse().expect("an ARN")).is_none());
    }

    #[test]
    fn who_assumed_a_role_is_listed_as_either() {
        let session = "arn:aws:sts::123:assumed-role/Deploy/build-7";
        for entry in [
            session,
            "arn:aws:sts::123:assumed-role/Deploy/*",
            "arn:aws:iam::123:role/Deploy",
            "arn:aws:iam::123:role/Dep*",
            "arn:aws:iam::123:role/team/ci/Deploy",
        ] {
            assert!(listed(entry, session), "{entry}");
        }
        for entry in [
            "arn:aws:iam::123:role/deploy",
            "arn:aws:iam::123:role/Deploy/build-7",
            "arn:aws:iam::124:role/team/Deploy",
            "arn:aws:iam::123:role/team/Deployer",
            "arn:aws:iam::123:user/team/Deploy",
            "arn:aws:sts::123:assumed-role/Deploy",
            "arn:aws:sts::123:assumed-role/Deploy/build-8",
        ] {
            assert!(!listed(entry, session), "{entry}");
        }
    }

    #[test]
    fn stars_take_as_much_as_they_have_to() {
        for (pattern, text, matches) in [
            ("*", "", true),
            ("**", "", true),
            ("?", "", false),
            ("a*c", "abcbc", true),
            ("a*c", "abcb", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "ab", true),
            ("a?", "a", false),
        ] {
            let found = glob(pattern.as_bytes(), text.as_bytes());
            assert_eq!(found, matches, "{pattern} {text}");
        }
    }
}
