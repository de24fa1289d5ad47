//! Names and values inside statements.

use dsm_core::provider::ProviderError;

/// The longest name; the server cuts off longer ones, and would find another.
const LONGEST: usize = 63;

/// Whether a text can be a name.
pub(super) fn is_name(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len()) && !text.contains('\0')
}

/// A quoted identifier.
pub(super) fn identifier(name: &str) -> Result<String, ProviderError> {
    if !is_name(name) {
        let message = format!("a name must have 1 to {LONGEST} bytes and no zero byte");
        return Err(ProviderError::Refused(message));
    }
    Ok(format!("\"{}\"", name.replace('"', "\"\"")))
}

/// Quoted identifiers, with commas.
pub(super) fn identifiers(names: &[String]) -> Result<String, ProviderError> {
    let quoted: Result<Vec<String>, _> = names.iter().map(|name| identifier(name)).collect();
    Ok(quoted?.join(", "))
}

/// A quoted value, whatever `standard_conforming_strings` says. It ends at a zero byte, which no
/// value has.
pub(super) fn literal(value: &str) -> String {
    let value = value.split('\0').next().unwrap_or_default();
    let quoted = value.replace('\'', "''");
    if quoted.contains('\\') {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled_and_names_bounded() {
        assert_eq!(identifier("a\"b").unwrap(), "\"a\"\"b\"");
        assert!(identifier(&"x".repeat(64)).is_err());
        assert!(identifier("").is_err());
        assert!(identifier("a\0").is_err());
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"\'"), r"E'\\'''");
        let names = ["a".to_owned(), "b\"".to_owned()];
        assert_eq!(identifiers(&names).unwrap(), "\"a\", \"b\"\"\"");
    }
}
