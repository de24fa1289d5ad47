//! Sealed values that were given once, to be given again.

use std::sync::Arc;

use crate::crypto::sealing::SealingFormat;
use crate::id::{AuthorizationId, SecretId};
use crate::secret::Secret;
use crate::vault::record::Stored;

/// For whom, how, and of which secret. What was sealed before a new key or a new version is replaced
/// by what is sealed after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SealedFor {
    pub(super) authorization: AuthorizationId,
    pub(super) format: SealingFormat,
    pub(super) secret: SecretId,
}

/// From what it was sealed, and to which key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    key: [u8; 32],
    version: u64,
    /// The last bytes of the values as they are stored, where their authentication tag is: two
    /// stored texts never share it, even if a store was set back and counts versions again.
    tag: [u8; 16],
}

impl Origin {
    pub(super) fn of(key: &[u8; 32], secret: &Stored<Secret>) -> Self {
        let stored = secret.sealed_value.as_deref().unwrap_or_default();
        Self {
            key: *key,
            version: secret.values_of,
            tag: stored.last_chunk().copied().unwrap_or_default(),
        }
    }
}

/// The sealed values in the order of their positions, or why they cannot be sealed.
pub(super) type Kept = Result<Arc<[Arc<str>]>, Arc<str>>;

#[derive(Debug, Clone)]
struct Entry {
    origin: Origin,
    kept: Kept,
}

#[derive(Debug, Clone)]
struct Bytes;

impl quick_cache::Weighter<SealedFor, Entry> for Bytes {
    fn weight(&self, _: &SealedFor, entry: &Entry) -> u64 {
        // What an entry and each of its values take beside their text.
        const ENTRY: usize = 256;
        const VALUE: usize = 32;
        let text = match &entry.kept {
            Ok(values) => values.iter().map(|value| value.len() + VALUE).sum(),
            Err(message) => message.len(),
        };
        (text + ENTRY) as u64
    }
}

/// Holds nothing in clear.
pub(super) struct Sealed(quick_cache::sync::Cache<SealedFor, Entry, Bytes>);

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealed")
            .field("entries", &self.0.len())
            .finish_non_exhaustive()
    }
}

impl Sealed {
    /// At most so many bytes.
    pub(super) fn new(bytes: u64) -> Self {
        let items = usize::try_from(bytes / 1024)
            .unwrap_or(usize::MAX)
            .clamp(1, 100_000);
        Self(quick_cache::sync::Cache::with_weighter(items, bytes, Bytes))
    }

    pub(super) fn find(&self, place: &SealedFor, origin: &Origin) -> Option<Kept> {
        let entry = self.0.get(place)?;
        (entry.origin == *origin).then_some(entry.kept)
    }

    pub(super) fn keep(&self, place: SealedFor, origin: Origin, kept: Kept) {
        self.0.insert(place, Entry { origin, kept });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: SealedFor = SealedFor {
        authorization: AuthorizationId(1),
        format: SealingFormat::Jwe,
        secret: SecretId(1),
    };
    const ORIGIN: Origin = Origin {
        key: [1; 32],
        version: 1,
        tag: [1; 16],
    };

    #[allow(clippy::unnecessary_wraps, reason = "it is what is kept")]
    fn values(length: usize) -> Kept {
        Ok([Arc::from("x".repeat(length))].into())
    }

    #[test]
    fn what_comes_from_elsewhere_is_not_found() {
        let sealed = Sealed::new(1 << 20);
        sealed.keep(PLACE, ORIGIN, values(10));
        assert_eq!(sealed.find(&PLACE, &ORIGIN), Some(values(10)));
        for other in [
            Origin {
                key: [2; 32],
                ..ORIGIN
            },
            Origin {
                version: 2,
                ..ORIGIN
            },
            Origin {
                tag: [2; 16],
                ..ORIGIN
            },
        ] {
            assert_eq!(sealed.find(&PLACE, &other), None);
        }
        for other in [
            SealedFor {
                authorization: AuthorizationId(2),
                ..PLACE
            },
            SealedFor {
                format: SealingFormat::OaepSha1,
                ..PLACE
            },
            SealedFor {
                secret: SecretId(2),
                ..PLACE
            },
        ] {
            assert_eq!(sealed.find(&other, &ORIGIN), None);
        }
    }

    #[test]
    fn a_new_version_takes_the_place_of_the_old_one() {
        let sealed = Sealed::new(1 << 20);
        sealed.keep(PLACE, ORIGIN, values(10));
        let next = Origin {
            version: 2,
            ..ORIGIN
        };
        sealed.keep(PLACE, next, values(20));
        assert_eq!(sealed.find(&PLACE, &ORIGIN), None);
        assert_eq!(sealed.find(&PLACE, &next), Some(values(20)));
        assert_eq!(sealed.0.len(), 1);
    }

    #[test]
    fn the_bytes_are_bounded() {
        let sealed = Sealed::new(100_000);
        for secret in 0..1000 {
            let place = SealedFor {
                secret: SecretId(secret),
                ..PLACE
            };
            sealed.keep(place, ORIGIN, values(1000));
        }
        assert!(sealed.0.weight() <= 100_000, "{}", sealed.0.weight());
        assert!(sealed.0.len() > 10);
    }

    #[test]
    fn nothing_is_kept_where_nothing_may_be() {
        let sealed = Sealed::new(0);
        sealed.keep(PLACE, ORIGIN, values(10));
        assert_eq!(sealed.find(&PLACE, &ORIGIN), None);
    }
}
