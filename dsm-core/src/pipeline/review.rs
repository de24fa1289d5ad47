//! What is thought of a variable when it is registered. The first line that fits decides:
//!
//! | variable | status | sensitive |
//! |---|---|---|
//! | mapped to a secret | approved automatically | by the lines below |
//! | its value shows it: a PEM private key, a URL with a password, a token of a known form | pending review | yes |
//! | a name of [`HARMLESS`], whatever it sounds like | rejected automatically | no |
//! | a word of [`WORDS`] in its name, or one of [`ENDINGS`] at its end, and a value | pending review | yes |
//! | a name of [`TOOLS`] or one that begins as in [`PREFIXES`] | rejected automatically | no |
//! | anything else | pending review | no |
//!
//! What an operator said of a variable stays, whatever its value is later, until it is mapped.

use super::ReviewStatus;

/// Names of tools that sound like secrets and are none.
const HARMLESS: &[&str] = &["GPG_KEY", "OLDPWD", "PWD", "SSH_AUTH_SOCK"];

/// Parts of names, between underscores.
const WORDS: &[&str] = &[
    "APIKEY",
    "AUTH",
    "COOKIE",
    "CREDENTIAL",
    "CREDENTIALS",
    "CREDS",
    "DSN",
    "JWT",
    "KEY",
    "KEYS",
    "OTP",
    "PASS",
    "PASSPHRASE",
    "PASSWD",
    "PASSWORD",
    "PASSWORDS",
    "PAT",
    "PRIVATE",
    "PWD",
    "SALT",
    "SECRET",
    "SECRETS",
    "SIGNATURE",
    "TOKEN",
    "TOKENS",
];

/// Ends of names that are written without underscores.
const ENDINGS: &[&str] = &[
    "APIKEY",
    "PASSPHRASE",
    "PASSWD",
    "PASSWORD",
    "SECRET",
    "TOKEN",
];

/// Names that shells, systems and runners set.
const TOOLS: &[&str] = &[
    "_",
    "CI",
    "COLORTERM",
    "DEBIAN_FRONTEND",
    "DISPLAY",
    "EDITOR",
    "GOPATH",
    "GOROOT",
    "HOME",
    "HOSTNAME",
    "JAVA_HOME",
    "LANG",
    "LANGUAGE",
    "LOGNAME",
    "LS_COLORS",
    "MAIL",
    "PAGER",
    "PATH",
    "SHELL",
    "SHLVL",
    "TEMP",
    "TERM",
    "TMP",
    "TMPDIR",
    "TZ",
    "USER",
    "VIRTUAL_ENV",
];

/// How names begin that runners and tools set.
const PREFIXES: &[&str] = &[
    "ACTIONS_",
    "AGENT_",
    "BITBUCKET_",
    "BUILDKITE_",
    "CI_",
    "CIRCLE_",
    "DOCKER_",
    "DRONE_",
    "FF_",
    "GITHUB_",
    "GITLAB_",
    "HUDSON_",
    "JENKINS_",
    "KUBERNETES_",
    "LC_",
    "NPM_",
    "NVM_",
    "PYTHON_",
    "RUNNER_",
    "SENHASEGURA_",
    "SYSTEM_",
    "TEAMCITY_",
    "TRAVIS_",
    "XDG_",
];

/// How tokens begin whose issuers made them so that they are found, and how long they are at least.
const TOKENS: &[(&str, usize)] = &[
    ("AKIA", 20),
    ("ASIA", 20),
    ("AIza", 30),
    ("dsm_", 40),
    ("eyJ", 40),
    ("ghp_", 30),
    ("gho_", 30),
    ("ghs_", 30),
    ("github_pat_", 30),
    ("glpat-", 20),
    ("hvs.", 20),
    ("npm_", 30),
    ("sk_live_", 20),
    ("xoxb-", 20),
    ("xoxp-", 20),
];

/// What a rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Review {
    /// The status.
    pub status: ReviewStatus,
    /// Whether it looks as if it were a secret.
    pub sensitive: bool,
}

/// What is thought of a variable by the table above.
pub fn review(name: &str, value: &str, mapped: bool) -> Review {
    let unmapped = unmapped(name, value);
    if mapped {
        return Review {
            status: ReviewStatus::ApprovedAutomatically,
            ..unmapped
        };
    }
    unmapped
}

fn unmapped(name: &str, value: &str) -> Review {
    let name = name.to_ascii_uppercase();
    let name = name.as_str();
    let says = |status, sensitive| Review { status, sensitive };
    if shows_secret(value) {
        return says(ReviewStatus::PendingReview, true);
    }
    if HARMLESS.contains(&name) {
        return says(ReviewStatus::RejectedAutomatically, false);
    }
    let sounds = name.split('_').any(|word| WORDS.contains(&word))
        || ENDINGS.iter().any(|ending| name.ends_with(ending));
    if sounds && !value.is_empty() {
        return says(ReviewStatus::PendingReview, true);
    }
    if TOOLS.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return says(ReviewStatus::RejectedAutomatically, false);
    }
    says(ReviewStatus::PendingReview, false)
}

fn shows_secret(value: &str) -> bool {
    let begins =
        |(start, length): &(&str, usize)| value.starts_with(start) && value.len() >= *length;
    let pem = value.contains("-----BEGIN ") && value.contains("PRIVATE KEY-----");
    pem || has_password(value) || TOKENS.iter().any(begins)
}

/// Whether it is a URL whose user information has a password.
fn has_password(value: &str) -> bool {
    let Some((_, rest)) = value.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority
        .rsplit_once('@')
        .and_then(|(user, _)| user.split_once(':'))
        .is_some_and(|(_, password)| !password.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{Review, review};
    use crate::pipeline::ReviewStatus::{
        self, ApprovedAutomatically, PendingReview, RejectedAutomatically,
    };

    #[test]
    fn each_line_of_the_table_decides() {
        let pem = "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----";
        let cases: [(&str, &str, ReviewStatus, bool); 30] = [
            ("DEPLOY", pem, PendingReview, true),
            ("PATH", pem, PendingReview, true),
            ("DATABASE_URL", "postgres://u:p@db/x", PendingReview, true),
            ("DATABASE_URL", "postgres://u@db/x", PendingReview, false),
            ("SITE", "https://h/a:b@c", PendingReview, false),
            ("SITE", "https://user:@h/", PendingReview, false),
            ("X", "AKIAIOSFODNN7EXAMPLE", PendingReview, true),
            ("X", "AKIA", PendingReview, false),
            ("X", "glpat-aaaaaaaaaaaaaaaaaaaa", PendingReview, true),
            ("PWD", "/builds/a", RejectedAutomatically, false),
            ("SSH_AUTH_SOCK", "/tmp/x", RejectedAutomatically, false),
            ("DB_PASSWORD", "x", PendingReview, true),
            ("db_password", "x", PendingReview, true),
            ("DBPASSWORD", "x", PendingReview, true),
            ("MY_PWD", "x", PendingReview, true),
            ("API_KEY", "x", PendingReview, true),
            ("KEYBOARD", "us", PendingReview, false),
            ("TOKENIZER", "bpe", PendingReview, false),
            ("DB_PASSWORD", "", PendingReview, false),
            ("CI_JOB_TOKEN", "x", PendingReview, true),
            ("CI_JOB_ID", "7", RejectedAutomatically, false),
            ("CI", "true", RejectedAutomatically, false),
            ("GITHUB_SHA", "0a1b", RejectedAutomatically, false),
            ("RUNNER_OS", "Linux", RejectedAutomatically, false),
            ("HOME", "/root", RejectedAutomatically, false),
            ("LC_ALL", "C", RejectedAutomatically, false),
            ("SENHASEGURA_URL", "https://h", RejectedAutomatically, false),
            ("SENHASEGURA_CLIENT_SECRET", "x", PendingReview, true),
            ("APP_COLOUR", "blue", PendingReview, false),
            ("CIRCUS", "x", PendingReview, false),
        ];
        for (name, value, status, sensitive) in cases {
            let expected = Review { status, sensitive };
            assert_eq!(review(name, value, false), expected, "{name}={value}");
            let mapped = Review {
                status: ApprovedAutomatically,
                sensitive,
            };
            assert_eq!(review(name, value, true), mapped, "{name}={value}");
        }
    }
}
