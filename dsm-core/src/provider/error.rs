use crate::secret::SecretText;

/// Why a target did not do as asked. It carries what the target said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The target answered and will not: a password policy, a missing right, an unknown account.
    /// Nothing was changed.
    #[error("the target refused: {0}")]
    Refused(String),
    /// The target cannot be reached or does not answer before anything was asked of it. Nothing was
    /// changed.
    #[error("the target is unavailable: {0}")]
    Unavailable(String),
    /// A change was sent and its answer lost, cut off or not to be understood.
    #[error("what the target did is not known: {0}")]
    OutcomeUnknown(String),
}

/// How much of a target's message is kept, in bytes.
const MESSAGE: usize = 500;

/// As many characters of a value in a row are taken for a part of it.
const PART: usize = 6;

impl ProviderError {
    /// What the target said.
    pub fn message(&self) -> &str {
        match self {
            Self::Refused(message) | Self::Unavailable(message) | Self::OutcomeUnknown(message) => {
                message
            }
        }
    }

    /// The same error with none of these values in its message, in one line and not too long.
    pub fn without(self, values: &[&SecretText]) -> Self {
        let strip = |message: String| redact(&message, values);
        match self {
            Self::Refused(message) => Self::Refused(strip(message)),
            Self::Unavailable(message) => Self::Unavailable(strip(message)),
            Self::OutcomeUnknown(message) => Self::OutcomeUnknown(strip(message)),
        }
    }
}

/// A message without these values or longer parts of them, without control characters, and not
/// longer than 500 bytes. Systems quote what they refuse, and cut it off where they like.
pub fn redact(message: &str, values: &[&SecretText]) -> String {
    let mut kept = String::with_capacity(message.len().min(MESSAGE));
    let mut rest = message;
    while let Some(first) = rest.chars().next() {
        if kept.len() > MESSAGE {
            break;
        }
        let hidden = values
            .iter()
            .map(|value| common_start(rest, value.expose()))
            .max()
            .unwrap_or_default();
        if hidden > 0 {
            kept.push('…');
            rest = &rest[hidden..];
            continue;
        }
        kept.push(if first.is_control() { ' ' } else { first });
        rest = &rest[first.len_utf8()..];
    }
    kept.truncate(kept.floor_char_boundary(MESSAGE));
    kept
}

/// How many bytes at the start of `text` are a part of `value` that is long enough to hide.
fn common_start(text: &str, value: &str) -> usize {
    let enough = value.chars().count().min(PART);
    if enough == 0 {
        return 0;
    }
    let mut found = 0;
    for (count, (at, letter)) in text.char_indices().enumerate() {
        let end = at + letter.len_utf8();
        if !value.contains(&text[..end]) {
            break;
        }
        if count + 1 >= enough {
            found = end;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_parts_of_them_are_not_in_messages() {
        let value = SecretText::new("correct-horse-battery");
        let short = SecretText::new("pin");
        let values = [&value, &short];
        for (message, kept) in [
            ("near \"correct-horse-battery\"", "near \"…\""),
            ("near \"horse-bat", "near \"…"),
            ("a pin is no password", "a … is no password"),
            ("the horse is well", "the horse is well"),
            ("line\nline\u{7}", "line line "),
            ("", ""),
        ] {
            assert_eq!(redact(message, &values), kept, "{message}");
        }
        assert_eq!(redact("x", &[&SecretText::new("")]), "x");
    }

    #[test]
    fn what_is_cut_off_has_no_start_of_a_value_at_its_end() {
        let value = SecretText::new("ä-correct-horse-battery");
        let message = format!("{}{}", "x".repeat(490), value.expose());
        let kept = redact(&message, &[&value]);
        assert!(kept.len() <= MESSAGE && !kept.contains("corr"), "{kept}");
    }
}
