//! Names and values inside statements, in sessions whose backslashes are ordinary characters.

use data_encoding::HEXUPPER;
use dsm_core::provider::{ProviderError, Target};
use dsm_core::secret::SecretText;
use sha1::{Digest as _, Sha1};

use super::ACCOUNT_HOST;
use super::session::Kind;

/// Whether a text can be the name of an account or a role.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0')
}

/// A quoted value.
pub(super) fn literal(value: &str) -> Result<String, ProviderError> {
    if value.contains('\0') {
        let message = "a value has a zero byte";
        return Err(ProviderError::Refused(message.to_owned()));
    }
    Ok(format!("'{}'", value.replace('\'', "''")))
}

/// A password as a statement gives it to an account: where the statement would be logged, as what
/// the server keeps of it.
pub(super) fn identified(kind: Kind, password: &SecretText) -> Result<String, ProviderError> {
    match kind {
        Kind::Mysql | Kind::QuietMariadb => {
            Ok(format!("IDENTIFIED BY {}", literal(password.expose())?))
        }
        Kind::Mariadb => Ok(format!("IDENTIFIED BY PASSWORD '{}'", native(password))),
    }
}

/// A statement that changes the password of an account. MariaDB would change its method as well, if
/// it were asked as MySQL is.
pub(super) fn change(
    kind: Kind,
    account: &str,
    password: &SecretText,
) -> Result<String, ProviderError> {
    let plain = literal(password.expose())?;
    Ok(match kind {
        Kind::Mysql => format!("ALTER USER {account} IDENTIFIED BY {plain}"),
        Kind::QuietMariadb => format!("SET PASSWORD FOR {account} = PASSWORD({plain})"),
        Kind::Mariadb => format!("SET PASSWORD FOR {account} = '{}'", native(password)),
    })
}

/// What `mysql_native_password` keeps: the SHA-1 of the SHA-1.
fn native(password: &SecretText) -> String {
    let twice = Sha1::digest(Sha1::digest(password.expose().as_bytes()));
    format!("*{}", HEXUPPER.encode(&twice))
}

/// A quoted name.
pub(super) fn name(name: &str) -> Result<String, ProviderError> {
    if is_name(name) {
        return literal(name);
    }
    let message = "a name is empty or has a zero byte";
    Err(ProviderError::Refused(message.to_owned()))
}

/// The host part of the accounts of a target.
pub(super) fn host(target: &Target) -> &str {
    target.options.get(ACCOUNT_HOST).map_or("%", String::as_str)
}

/// An account with its host.
pub(super) fn account(user: &str, target: &Target) -> Result<String, ProviderError> {
    Ok(format!("{}@{}", name(user)?, literal(host(target))?))
}

/// Quoted names, with commas.
pub(super) fn names(names: &[String]) -> Result<String, ProviderError> {
    let quoted: Result<Vec<String>, _> = names.iter().map(|it| name(it)).collect();
    Ok(quoted?.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_statements_are_logged_no_password_is_in_them() {
        let password = SecretText::new("password");
        let change = change(Kind::Mariadb, "'a'@'%'", &password).unwrap();
        let hash = "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19";
        assert_eq!(change, format!("SET PASSWORD FOR 'a'@'%' = '{hash}'"));
        let made = identified(Kind::Mariadb, &password).unwrap();
        assert_eq!(made, format!("IDENTIFIED BY PASSWORD '{hash}'"));
    }

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(literal(r"it's \'").unwrap(), r"'it''s \'''");
        assert!(literal("a\0").is_err());
        assert!(name("").is_err());
        let roles = ["a".to_owned(), "b'".to_owned()];
        assert_eq!(names(&roles).unwrap(), "'a', 'b'''");
    }
}
