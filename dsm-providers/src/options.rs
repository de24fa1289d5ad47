//! What a target is told besides its address.

use dsm_core::provider::{Options, Problem};

/// Options while they are looked at: every problem is noted, an unknown name included.
#[derive(Debug)]
pub(crate) struct Checked<'a> {
    options: &'a Options,
    known: Vec<&'static str>,
    problems: Vec<Problem>,
}

impl<'a> Checked<'a> {
    pub(crate) fn new(options: &'a Options) -> Self {
        Self {
            options,
            known: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// The text of an option, if it is given.
    pub(crate) fn text(&mut self, name: &'static str) -> Option<&'a str> {
        self.known.push(name);
        self.options.get(name).map(String::as_str)
    }

    /// What an option is read as; none if it is not given or is wrong, which is noted.
    pub(crate) fn parsed<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(name)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(message) => {
                self.problem(&format!("options.{name}"), message);
                None
            }
        }
    }

    /// Notes that a field is wrong.
    pub(crate) fn problem(&mut self, field: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(field, message));
    }

    /// All problems; none of the options may be left over.
    pub(crate) fn finish(mut self) -> Vec<Problem> {
        for name in self.options.keys() {
            if !self.known.contains(&name.as_str()) {
                let known = self.known.join(", ");
                let message = format!("there is no such option; there are {known}");
                let field = format!("options.{name}");
                self.problems.push(Problem::new(field, message));
            }
        }
        self.problems
    }
}

/// One of a few words.
pub(crate) fn one_of(text: &str, words: &[&str]) -> Result<usize, String> {
    let place = words.iter().position(|word| *word == text);
    place.ok_or_else(|| format!("must be one of {}", words.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_named() {
        let options = [("tls", "maybe"), ("colour", "red")];
        let options: Options = options
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut checked = Checked::new(&options);
        let tls = checked.parsed("tls", |text| one_of(text, &["verify-full", "off"]));
        assert_eq!(tls, None);
        assert_eq!(checked.text("database"), None);
        assert_eq!(
            checked.finish(),
            [
                Problem::new("options.tls", "must be one of verify-full, off"),
                Problem::new(
                    "options.colour",
                    "there is no such option; there are tls, database"
                ),
            ]
        );
    }
}
