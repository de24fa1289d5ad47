use super::StoreError;

/// What may be done about a store whose schema is not the one of this program, as its backend is told
/// when it opens it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SchemaChanges {
    /// The schema is made in an empty store and brought up to date in one of an older version.
    #[default]
    Make,
    /// An older schema is brought up to date; an empty store stays empty.
    Update,
    /// Nothing is changed, as by who works beside a server or only looks.
    Nothing,
}

impl SchemaChanges {
    /// Whether a schema of version `found`, 0 where there is none, may be brought to version `known`.
    ///
    /// # Errors
    ///
    /// [`StoreError::OlderSchema`] where it must stay as it is, [`StoreError::NewerSchema`] for one
    /// that is not known.
    pub fn check(self, found: i64, known: i64) -> Result<(), StoreError> {
        if found > known || found < 0 {
            return Err(StoreError::NewerSchema { found, known });
        }
        let permitted = match self {
            Self::Make => true,
            Self::Update => found > 0,
            Self::Nothing => found == known,
        };
        if permitted {
            Ok(())
        } else {
            Err(StoreError::OlderSchema { found, known })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_changed_only_where_that_was_allowed() {
        use SchemaChanges::{Make, Nothing, Update};
        for (changes, found, allowed) in [
            (Make, 0, true),
            (Make, 1, true),
            (Make, 2, true),
            (Update, 0, false),
            (Update, 1, true),
            (Update, 2, true),
            (Nothing, 0, false),
            (Nothing, 1, false),
            (Nothing, 2, true),
        ] {
            let checked = changes.check(found, 2);
            let older = matches!(checked, Err(StoreError::OlderSchema { known: 2, .. }));
            assert_eq!(checked.is_ok(), allowed, "{changes:?} {found}");
            assert_eq!(older, !allowed, "{changes:?} {found}");
        }
        for changes in [Make, Update, Nothing] {
            let checked = changes.check(3, 2);
            let newer = matches!(checked, Err(StoreError::NewerSchema { found: 3, .. }));
            assert!(newer, "{changes:?}");
        }
    }
}
