use std::fmt;

use crate::secret::SecretText;

/// Variables as `NAME=VALUE` lines, their values wiped when dropped.
///
/// A line that does not begin with a name and `=` continues the value before it: values may have
/// several lines. A name is a letter or `_`, then letters, digits and `_`.
#[derive(Default)]
pub struct Assignments(Vec<Assignment>);

struct Assignment {
    name: String,
    value: SecretText,
    repeated: bool,
}

/// Why a text is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssignmentsError {
    /// The first line is none.
    #[error("must begin with a line NAME=VALUE")]
    Start,
    /// More than [`Assignments::MAX`].
    #[error("must have at most {} variables", Assignments::MAX)]
    TooMany,
    /// A name over 256 bytes, told by where it stands, from 1.
    #[error("variable {0}: the name must have at most 256 bytes")]
    Name(usize),
    /// A value over 64 KiB.
    #[error("{0}: the value must have at most 65536 bytes")]
    Value(String),
}

impl Assignments {
    /// The most variables.
    pub const MAX: usize = 1000;
    /// The longest value, in bytes.
    pub const MAX_VALUE: usize = 64 << 10;
    const MAX_NAME: usize = 256;

    /// Reads the lines. Of a name that is given more than once the last counts.
    ///
    /// # Errors
    ///
    /// What is wrong with the first line that is wrong; no message has a value.
    pub fn parse(text: &str) -> Result<Self, AssignmentsError> {
        let mut read: Vec<(&str, std::ops::Range<usize>)> = Vec::new();
        let mut start = 0;
        for line in text.split('\n') {
            let end = start + line.len();
            match assigned(line) {
                Some(name) => read.push((name, start + name.len() + 1..end)),
                None if text.is_empty() => return Ok(Self::default()),
                None => read.last_mut().ok_or(AssignmentsError::Start)?.1.end = end,
            }
            start = end + 1;
        }
        let mut all = Self::default();
        for (index, (name, value)) in read.into_iter().enumerate() {
            if name.len() > Self::MAX_NAME {
                return Err(AssignmentsError::Name(index + 1));
            }
            if value.len() > Self::MAX_VALUE {
                return Err(AssignmentsError::Value(name.to_owned()));
            }
            let value = SecretText::new(&text[value]);
            match all.0.iter_mut().find(|known| known.name == name) {
                Some(known) => (known.value, known.repeated) = (value, true),
                None => all.0.push(Assignment {
                    name: name.to_owned(),
                    value,
                    repeated: false,
                }),
            }
            if all.0.len() > Self::MAX {
                return Err(AssignmentsError::TooMany);
            }
        }
        Ok(all)
    }

    /// The value of a variable.
    pub fn find(&self, name: &str) -> Option<&SecretText> {
        self.0
            .iter()
            .find(|known| known.name == name)
            .map(|known| &known.value)
    }

    /// Whether a name was given more than once.
    pub fn is_repeated(&self, name: &str) -> bool {
        self.0
            .iter()
            .any(|known| known.name == name && known.repeated)
    }

    /// Names and values in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &SecretText)> {
        self.0.iter().map(|known| (&*known.name, &known.value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Assignments {
    /// Names only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|known| &known.name))
            .finish()
    }
}

/// The name that a line assigns to.
fn assigned(line: &str) -> Option<&str> {
    let (name, _) = line.split_once('=')?;
    let mut bytes = name.bytes();
    let first = bytes.next()?;
    let right = (first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    right.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::{Assignments, AssignmentsError};

    fn read(text: &str) -> Vec<(String, String)> {
        let read = Assignments::parse(text).unwrap();
        read.iter()
            .map(|(name, value)| (name.to_owned(), value.expose().to_owned()))
            .collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn lines_that_assign_nothing_continue_the_value() {
        assert_eq!(read(""), []);
        assert_eq!(read("A="), [pair("A", "")]);
        assert_eq!(
            read("A=1=2\n_b9=é\nC="),
            [pair("A", "1=2"), pair("_b9", "é"), pair("C", "")]
        );
        assert_eq!(
            read("KEY=-----BEGIN\n\n not a name=x\n9=x\n=x\n-----END\n\nB=2\n"),
            [
                pair("KEY", "-----BEGIN\n\n not a name=x\n9=x\n=x\n-----END\n"),
                pair("B", "2\n"),
            ],
            "every line feed but the one before a name is the value's own"
        );
        assert_eq!(read("A=1\r\nB=2"), [pair("A", "1\r"), pair("B", "2")]);
    }

    #[test]
    fn of_a_repeated_name_the_last_counts() {
        let read = Assignments::parse("A=1\nB=2\nA=3").unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read.find("A").unwrap().expose(), "3");
        assert!(read.is_repeated("A") && !read.is_repeated("B"));
    }

    #[test]
    fn what_is_wrong_is_told_without_values() {
        let refused = |text: &str| Assignments::parse(text).unwrap_err();
        for text in ["hunter2", "\nA=1", "1A=hunter2", " A=1", "A-B=1"] {
            assert_eq!(refused(text), AssignmentsError::Start, "{text}");
        }
        let many: Vec<String> = (0..=Assignments::MAX).map(|n| format!("V{n}=")).collect();
        assert_eq!(refused(&many.join("\n")), AssignmentsError::TooMany);
        assert_eq!(read(&many[1..].join("\n")).len(), Assignments::MAX);
        let name = "N".repeat(257);
        assert_eq!(refused(&format!("A=\n{name}=")), AssignmentsError::Name(2));
        let long = "x".repeat(Assignments::MAX_VALUE);
        assert_eq!(read(&format!("A={long}")).len(), 1);
        let error = refused(&format!("A={long}x"));
        assert_eq!(error, AssignmentsError::Value("A".to_owned()));
        assert!(!format!("{:?}", Assignments::parse("A=hunter2")).contains("hunter2"));
    }
}
