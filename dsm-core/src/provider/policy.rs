use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::entropy::Entropy;
use crate::secret::SecretText;

const LETTERS_AND_DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The fewest bits of chance that a password has.
const MIN_BITS: f64 = 64.0;

/// Which passwords are made for a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct PasswordPolicy {
    /// Characters. Default: 32.
    pub length: usize,
    /// The characters to choose from, printable and of ASCII. Default: letters and digits. Of each
    /// class that is among them (capitals, small letters, digits, others) a password has at least
    /// one.
    pub alphabet: String,
    /// Characters of the alphabet that are not chosen after all.
    pub excluded: String,
}

/// A policy that makes no good password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Out of bounds.
    #[error("length: must be from 8 to 256 characters")]
    Length,
    /// A character that not every system takes.
    #[error("alphabet: must be of printable ASCII characters without spaces")]
    Alphabet,
    /// Too few passwords to choose from.
    #[error("the length and the characters that are left give less than 64 bits")]
    Weak,
}

impl Default for PasswordPolicy {
    fn default() -> Self {
        Self {
            length: 32,
            alphabet: LETTERS_AND_DIGITS.to_owned(),
            excluded: String::new(),
        }
    }
}

impl PasswordPolicy {
    /// Refuses a policy whose passwords could be guessed or not be typed.
    pub fn check(&self) -> Result<(), PolicyError> {
        if !(8..=256).contains(&self.length) {
            return Err(PolicyError::Length);
        }
        if !self.alphabet.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(PolicyError::Alphabet);
        }
        let choices = u32::try_from(self.choices().len()).unwrap_or_default();
        let length = u32::try_from(self.length).unwrap_or_default();
        if choices == 0 || f64::from(length) * f64::from(choices).log2() < MIN_BITS {
            return Err(PolicyError::Weak);
        }
        Ok(())
    }

    /// A new password, every one that fits the policy as likely as any other.
    ///
    /// # Panics
    ///
    /// For a policy that does not pass [`check`](Self::check).
    pub fn password(&self, entropy: &dyn Entropy) -> SecretText {
        let choices = self.choices();
        assert!(!choices.is_empty(), "the policy has been checked");
        let wanted: BTreeSet<Class> = choices.iter().map(|byte| Class::of(*byte)).collect();
        loop {
            let text: Zeroizing<String> = Zeroizing::new(
                (0..self.length)
                    .map(|_| char::from(choices[below(entropy, choices.len())]))
                    .collect(),
            );
            let found: BTreeSet<Class> = text.bytes().map(Class::of).collect();
            if found == wanted {
                return SecretText::new(text.as_str());
            }
        }
    }

    fn choices(&self) -> Vec<u8> {
        let chosen: BTreeSet<u8> = self
            .alphabet
            .bytes()
            .filter(|byte| !self.excluded.as_bytes().contains(byte))
            .collect();
        chosen.into_iter().collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Capital,
    Small,
    Digit,
    Other,
}

impl Class {
    fn of(byte: u8) -> Self {
        match byte {
            b'A'..=b'Z' => Self::Capital,
            b'a'..=b'z' => Self::Small,
            b'0'..=b'9' => Self::Digit,
            _ => Self::Other,
        }
    }
}

/// A number below `count`, each as likely: bytes that would favour the first ones are passed over.
fn below(entropy: &dyn Entropy, count: usize) -> usize {
    let fair = 256 - 256 % count;
    loop {
        let [byte] = entropy.array::<1>();
        if usize::from(byte) < fair {
            return usize::from(byte) % count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::OsEntropy;

    fn policy(length: usize, alphabet: &str, excluded: &str) -> PasswordPolicy {
        PasswordPolicy {
            length,
            alphabet: alphabet.to_owned(),
            excluded: excluded.to_owned(),
        }
    }

    #[test]
    fn a_password_has_the_length_only_allowed_characters_and_every_class() {
        let policy = policy(16, "abcXYZ0123456789-_!", "0b");
        policy.check().unwrap();
        for _ in 0..2_000 {
            let password = policy.password(&OsEntropy);
            let text = password.expose();
            assert_eq!(text.len(), 16);
            assert!(text.chars().all(|c| "acXYZ123456789-_!".contains(c)));
            for class in ["ac", "XYZ", "123456789", "-_!"] {
                assert!(text.chars().any(|c| class.contains(c)), "{class}");
            }
        }
    }

    #[test]
    fn the_default_is_32_letters_and_digits() {
        let policy = PasswordPolicy::default();
        policy.check().unwrap();
        let password = policy.password(&OsEntropy);
        assert_eq!(password.expose().len(), 32);
        assert!(password.expose().bytes().all(|b| b.is_ascii_alphanumeric()));
    }

    #[test]
    fn policies_that_make_poor_passwords_are_refused() {
        for (bad, error) in [
            (policy(7, LETTERS_AND_DIGITS, ""), PolicyError::Length),
            (policy(257, LETTERS_AND_DIGITS, ""), PolicyError::Length),
            (policy(32, "", ""), PolicyError::Weak),
            (policy(32, "abc", "abc"), PolicyError::Weak),
            (policy(32, "aaaaab", ""), PolicyError::Weak),
            (policy(8, "abcdefgh", ""), PolicyError::Weak),
            (policy(32, "a b", ""), PolicyError::Alphabet),
            (policy(32, "aé", ""), PolicyError::Alphabet),
        ] {
            assert_eq!(bad.check(), Err(error), "{bad:?}");
        }
    }

    #[test]
    fn characters_are_equally_likely() {
        let policy = policy(256, "abcdefghijklmnopqrstuvwxyz0", "");
        let mut count = [0_u32; 256];
        for _ in 0..200 {
            for byte in policy.password(&OsEntropy).expose().bytes() {
                count[usize::from(byte)] += 1;
            }
        }
        // 200 × 256 / 27 ≈ 1,896 each; 250 is more than five standard deviations.
        for byte in policy.alphabet.bytes() {
            assert!(count[usize::from(byte)].abs_diff(1_896) < 250, "{count:?}");
        }
    }
}
