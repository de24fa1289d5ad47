//! The URL of a store, which may hold a password.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

const SCHEMES: [&str; 8] = [
    "sqlite",
    "postgres",
    "postgresql",
    "redis",
    "rediss",
    "redis+sentinel",
    "rediss+sentinel",
    "memory",
];
const MASK: &str = "***";

/// The URL of a store. `Display` and `Debug` mask the password.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl(String);

impl StoreUrl {
    /// The SQLite store in the file `path`.
    pub fn sqlite(path: &Path) -> Self {
        Self(format!("sqlite:{}", path.display()))
    }

    /// The URL with its password.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What stands before the first colon.
    pub fn scheme(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }
}

impl FromStr for StoreUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text.split_once(':') {
            Some((scheme, _)) if SCHEMES.contains(&scheme) => Ok(Self(text.to_owned())),
            _ => Err(
                "must be sqlite:PATH, postgres://…, redis://…, rediss://…, redis+sentinel://… or memory:",
            ),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A password with an unencoded `/`, `?` or `@` is masked too: up to the last `@`, and the
        // parameters of what is left.
        let (head, tail) = match self.0.rsplit_once('@') {
            Some((credentials, tail)) => match credentials.split_once("://") {
                Some((scheme, user)) => {
                    let user = user.split(':').next().unwrap_or_default();
                    let masked = user.len() < credentials.len() - scheme.len() - 3;
                    let mask = if masked {
                        [":", MASK].concat()
                    } else {
                        String::new()
                    };
                    (format!("{scheme}://{user}{mask}@"), tail)
                }
                None => (format!("{credentials}@"), tail),
            },
            None => (String::new(), self.0.as_str()),
        };
        f.write_str(&head)?;
        let (address, query) = tail.split_once('?').unwrap_or((tail, ""));
        f.write_str(address)?;
        for (index, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
            let separator = if index == 0 { '?' } else { '&' };
            let name = pair.split('=').next().unwrap_or_default();
            let lower = name.to_ascii_lowercase();
            if ["pass", "secret", "token"]
                .iter()
                .any(|word| lower.contains(word))
            {
                write!(f, "{separator}{name}={MASK}")?;
            } else {
                write!(f, "{separator}{pair}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::StoreUrl;

    #[test]
    fn passwords_are_masked_wherever_they_stand() {
        for (url, shown) in [
            ("sqlite:./dsm-data/vault.db", "sqlite:./dsm-data/vault.db"),
            ("memory:", "memory:"),
            (
                "postgres://db.example.org/vault",
                "postgres://db.example.org/vault",
            ),
            ("postgres://dsm@db/vault", "postgres://dsm@db/vault"),
            (
                "postgres://dsm:hunter2@db/vault",
                "postgres://dsm:***@db/vault",
            ),
            (
                "postgres://dsm:hun/t?e#r2@db/vault",
                "postgres://dsm:***@db/vault",
            ),
            (
                "postgres://dsm:hunter2@hunter2@db/v",
                "postgres://dsm:***@db/v",
            ),
            ("redis://:hunter2@db:6379/0", "redis://:***@db:6379/0"),
            (
                "postgres://db/v?sslmode=require&PASSWORD=hunter2&a=b",
                "postgres://db/v?sslmode=require&PASSWORD=***&a=b",
            ),
            (
                "postgres://dsm:hunter2@db/v?password=hunter2",
                "postgres://dsm:***@db/v?password=***",
            ),
        ] {
            let url: StoreUrl = url.parse().expect("a URL");
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}").contains("hunter2"));
        }
    }

    #[test]
    fn other_schemes_are_refused_without_repeating_them() {
        for text in ["hunter2", "mysql://u:hunter2@db", ""] {
            let error = text.parse::<StoreUrl>().expect_err("no store has it");
            assert!(!error.contains("hunter2"));
        }
    }
}
