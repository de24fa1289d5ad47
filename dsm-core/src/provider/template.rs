use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a template can be filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// `[#USERNAME#]`: the account.
    Username,
    /// `[#NEW_PASSWORD#]`: its password.
    NewPassword,
    /// `[#ROLES#]`: its roles.
    Roles,
    /// `[#EXPIRES_AT#]`: until when it lives.
    ExpiresAt,
    /// `[#HOSTNAME#]`: the host of the target.
    Hostname,
}

impl Tag {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Username,
        Self::NewPassword,
        Self::Roles,
        Self::ExpiresAt,
        Self::Hostname,
    ];

    /// As it is written between `[#` and `#]`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Username => "USERNAME",
            Self::NewPassword => "NEW_PASSWORD",
            Self::Roles => "ROLES",
            Self::ExpiresAt => "EXPIRES_AT",
            Self::Hostname => "HOSTNAME",
        }
    }
}

/// Statements for a target, one a line, with tags where names and values go.
///
/// It is data, not text: a provider asks for each tag's place and puts a quoted name or a bound
/// value there, so that no value is ever read as part of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    statements: Vec<Vec<Piece>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Tag(Tag),
}

/// A template that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It names a tag that there is none of.
    #[error("there is no tag [#{0}#]")]
    UnknownTag(String),
    /// A tag begins and does not end.
    #[error("a tag that begins with [# does not end with #]")]
    OpenTag,
    /// Too long, or nothing.
    #[error("must have 1 to 16384 bytes")]
    Size,
}

impl Template {
    /// Its statements, each filled by what `fill` gives for a tag: a quoted name, a quoted value, or
    /// the mark of a bound one.
    ///
    /// # Errors
    ///
    /// The first error of `fill`.
    pub fn statements<E>(
        &self,
        mut fill: impl FnMut(Tag) -> Result<String, E>,
    ) -> Result<Vec<String>, E> {
        let mut filled = Vec::with_capacity(self.statements.len());
        for pieces in &self.statements {
            let mut statement = String::new();
            for piece in pieces {
                match piece {
                    Piece::Text(text) => statement.push_str(text),
                    Piece::Tag(tag) => statement.push_str(&fill(*tag)?),
                }
            }
            filled.push(statement);
        }
        Ok(filled)
    }

    /// Whether it has this tag.
    pub fn names(&self, tag: Tag) -> bool {
        self.statements
            .iter()
            .flatten()
            .any(|piece| *piece == Piece::Tag(tag))
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if text.trim().is_empty() || text.len() > 16_384 {
            return Err(TemplateError::Size);
        }
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        Ok(Self {
            statements: lines.map(pieces).collect::<Result<_, _>>()?,
            text: text.to_owned(),
        })
    }
}

fn pieces(line: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("[#") {
        let (name, after) = after.split_once("#]").ok_or(TemplateError::OpenTag)?;
        let tag = Tag::ALL.into_iter().find(|tag| tag.as_str() == name);
        let tag = tag.ok_or_else(|| {
            let shown = name.chars().filter(|letter| !letter.is_control()).take(64);
            TemplateError::UnknownTag(shown.collect())
        })?;
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        pieces.push(Piece::Tag(tag));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_never_read_as_a_tag_or_a_statement() {
        let template: Template =
            "CREATE USER [#USERNAME#] PASSWORD [#NEW_PASSWORD#]\n\nGRANT [#ROLES#] TO [#USERNAME#]"
                .parse()
                .unwrap();
        let filled = template.statements::<()>(|tag| {
            Ok(match tag {
                Tag::Username => "\"u\n; DROP [#ROLES#]\"".to_owned(),
                tag => format!("<{}>", tag.as_str()),
            })
        });
        let user = "\"u\n; DROP [#ROLES#]\"";
        assert_eq!(
            filled.unwrap(),
            [
                format!("CREATE USER {user} PASSWORD <NEW_PASSWORD>"),
                format!("GRANT <ROLES> TO {user}"),
            ]
        );
        assert!(template.names(Tag::Roles) && !template.names(Tag::ExpiresAt));
    }

    #[test]
    fn what_cannot_be_filled_is_refused() {
        for (text, error) in [
            ("", TemplateError::Size),
            ("  \n", TemplateError::Size),
            (
                "DROP [#USER#]",
                TemplateError::UnknownTag("USER".to_owned()),
            ),
            (
                "DROP [#username#]",
                TemplateError::UnknownTag("username".to_owned()),
            ),
            ("DROP [#USERNAME", TemplateError::OpenTag),
            ("DROP [#USERNAME\n#]", TemplateError::OpenTag),
        ] {
            assert_eq!(text.parse::<Template>(), Err(error), "{text}");
        }
        assert_eq!(
            "x".repeat(16_385).parse::<Template>(),
            Err(TemplateError::Size)
        );
    }
}
