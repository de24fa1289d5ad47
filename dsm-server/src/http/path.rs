//! Request paths: aliases, the trailing slash and letter case, settled in one place.
//!
//! Clients in the field spell the same endpoint as `/iso/dapp/application`,
//! `/iso/dapp/Application`, `/api/dapp/application` and `/senhasegura/iso/dapp/application`.

use std::borrow::Cow;

use crate::http::call::Surface;

/// The path of the management interface, which wins over the alias `/api/…`.
const V1: &str = "/api/v1";
const ISO: &str = "/iso";

/// Prefixes that stand for `/iso`, the longer of two that both match first.
const ALIASES: [&str; 3] = ["/senhasegura/iso", "/api/iso", "/api"];

/// A path with its alias resolved and one trailing slash stripped; letter case and
/// percent-encoding of what follows the prefix are as sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Canonical {
    path: String,
}

// A path may carry an identity, which is not for logs.
impl std::fmt::Debug for Canonical {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Canonical").finish_non_exhaustive()
    }
}

impl Canonical {
    /// The canonical form of the path `sent`.
    ///
    /// Nothing is percent-decoded and no `.`, `..` or empty segment is removed: such a path
    /// matches no route, or reaches the one parser that refuses it.
    pub fn of(sent: &str) -> Self {
        let trimmed = match sent.strip_suffix('/') {
            Some(rest) if !rest.is_empty() => rest,
            _ => sent,
        };
        let path = match iso_rest(trimmed) {
            Some(rest) => [ISO, rest].concat(),
            None => trimmed.to_owned(),
        };
        Self { path }
    }

    /// The path in its own letter case.
    pub fn as_str(&self) -> &str {
        &self.path
    }

    /// The path in lower case, which is what routes are matched by.
    pub fn folded(&self) -> Cow<'_, str> {
        if self.path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.path.to_ascii_lowercase().into()
        } else {
            Cow::Borrowed(&self.path)
        }
    }

    /// The surface that answers for this path when no route does.
    pub fn surface(&self) -> Surface {
        if strip_prefix(&self.path, V1).is_some() {
            Surface::V1
        } else {
            Surface::Iso
        }
    }
}

/// What follows the prefix in a path that an alias leads to `/iso`.
fn iso_rest(path: &str) -> Option<&str> {
    if strip_prefix(path, V1).is_some() {
        return None;
    }
    ALIASES
        .iter()
        .find_map(|alias| strip_prefix(path, alias))
        .filter(|rest| !rest.is_empty())
}

/// What follows `prefix` in `path`, in whatever letter case, on a segment boundary.
fn strip_prefix<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    let (head, rest) = path.split_at_checked(prefix.len())?;
    let boundary = rest.is_empty() || rest.starts_with('/');
    (boundary && head.eq_ignore_ascii_case(prefix)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::Canonical;
    use crate::http::call::Surface;

    #[test]
    fn aliases_lead_to_iso() {
        for (sent, canonical) in [
            ("/iso/oauth2/token", "/iso/oauth2/token"),
            ("/api/oauth2/token", "/iso/oauth2/token"),
            ("/API/Iso/oauth2/token", "/iso/oauth2/token"),
            ("/senhasegura/iso/oauth2/token", "/iso/oauth2/token"),
            ("/api/v1/secrets", "/api/v1/secrets"),
            ("/API/V1/secrets", "/API/V1/secrets"),
            ("/api/v1", "/api/v1"),
            ("/api/v10/x", "/iso/v10/x"),
            ("/apiary/x", "/apiary/x"),
            ("/senhasegura/other", "/senhasegura/other"),
            ("/api", "/api"),
            ("/api/", "/api"),
        ] {
            assert_eq!(Canonical::of(sent).as_str(), canonical, "{sent}");
        }
    }

    #[test]
    fn one_trailing_slash_is_stripped_and_the_tail_is_left_alone() {
        for (sent, canonical) in [
            ("/iso/sctm/secret/Team/DB/", "/iso/sctm/secret/Team/DB"),
            ("/iso/sctm/secret/Team//", "/iso/sctm/secret/Team/"),
            ("/iso/sctm/secret/a%2Fb%252F", "/iso/sctm/secret/a%2Fb%252F"),
            ("/iso/sctm/secret/../x", "/iso/sctm/secret/../x"),
            ("/", "/"),
            ("", ""),
            ("*", "*"),
            ("/é", "/é"),
        ] {
            assert_eq!(Canonical::of(sent).as_str(), canonical, "{sent}");
        }
    }

    #[test]
    fn the_surface_follows_the_canonical_path() {
        assert_eq!(Canonical::of("/API/v1/nothing").surface(), Surface::V1);
        assert_eq!(Canonical::of("/api/v1x").surface(), Surface::Iso);
        assert_eq!(Canonical::of("/nothing").surface(), Surface::Iso);
    }
}
