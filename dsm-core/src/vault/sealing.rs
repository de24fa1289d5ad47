//! Sensitive values on their way to a client whose authorization has them sealed.
//!
//! What is sealed to one key from one version is kept, sealed, and given again. What cannot be sealed
//! refuses the answer: there is no way from here to clear text.

mod cache;
mod key;
mod pool;

use std::sync::Arc;

use self::cache::{Kept, Origin};
use self::cache::{Sealed, SealedFor};
pub(crate) use self::key::{AuthorizationKey, NewKey, private_key_place};
use self::pool::{Lines, Pool};
use super::Vault;
use super::error::Error;
use super::record::Stored;
use crate::access::Permit;
use crate::crypto::sealing::{SealError, SealingFormat};
use crate::id::AuthorizationId;
use crate::secret::{DataPatch, OutputMap, OutputValue, Secret, SecretError, SecretText};

/// How many values are sealed before others get their turn: a millisecond of arithmetic.
const AT_ONCE: usize = 4;

/// How sensitive values are sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealingOptions {
    /// Whether the values of key/value pairs are sealed as well. Default: yes.
    pub key_values: bool,
    /// Whether the private keys of pairs made here are kept, sealed, for download; else each is handed
    /// out once, when it is made. Default: yes.
    pub keep_private_keys: bool,
    /// How many threads do the arithmetic, apart from those that serve. Default: half of the
    /// processors.
    pub threads: usize,
    /// How many bytes of sealed values are kept to be given again. Default: 64 MiB.
    pub cache_bytes: u64,
}

impl Default for SealingOptions {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            key_values: true,
            keep_private_keys: true,
            threads: (processors / 2).max(1),
            cache_bytes: 64 * 1024 * 1024,
        }
    }
}

/// What sealing needs beside the records.
#[derive(Debug)]
pub(crate) struct Sealing {
    sealed: Sealed,
    lines: Lines,
    encrypting: Pool,
    making: Pool,
}

impl Sealing {
    pub(crate) fn new(options: &SealingOptions) -> Self {
        Self {
            sealed: Sealed::new(options.cache_bytes),
            lines: Lines::default(),
            encrypting: Pool::new("dsm-seal", options.threads.max(1), 1024),
            // A pair takes up to seconds, and nobody waits for longer than a request may take.
            making: Pool::new("dsm-make-key", 1, 16),
        }
    }
}

/// To which key, and how.
#[derive(Debug)]
pub(crate) struct Seal {
    authorization: AuthorizationId,
    format: SealingFormat,
    key: Arc<Stored<AuthorizationKey>>,
}

impl Vault {
    /// How the values that a permit discloses have to be sealed; none if they leave as they are.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] where they have to be and there is no key.
    pub(crate) async fn sealing_of(&self, permit: &Permit) -> Result<Option<Seal>, Error> {
        let Some(format) = permit.sealing() else {
            return Ok(None);
        };
        let key = match permit.basis().authorization {
            Some((id, _)) => Box::pin(self.cached_key(id)).await?.map(|key| (id, key)),
            None => None,
        };
        let Some((authorization, key)) = key else {
            let message = "the authorization seals sensitive values and has no key to seal them to";
            return Err(Error::Conflict(message.to_owned()));
        };
        Ok(Some(Seal {
            authorization,
            format,
            key,
        }))
    }

    /// Seals every sensitive value of a secret's output.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] for a value that is too long, which the secret's error history then names;
    /// [`Error::Unavailable`] when too many wait already.
    pub(crate) async fn seal_output(
        &self,
        seal: &Seal,
        secret: &Stored<Secret>,
        maps: &mut [OutputMap],
    ) -> Result<(), Error> {
        let pairs = self.options.sealing.key_values;
        if sensitive(maps, pairs).next().is_none() {
            return Ok(());
        }
        let place = SealedFor {
            authorization: seal.authorization,
            format: seal.format,
            secret: secret.id,
        };
        let origin = Origin::of(seal.key.public.fingerprint(), secret);
        let state = &self.sealing;
        if let Some(kept) = state.sealed.find(&place, &origin) {
            return give(&kept, maps, pairs);
        }
        let _turn = state.lines.turn(seal.authorization).await?;
        if let Some(kept) = state.sealed.find(&place, &origin) {
            return give(&kept, maps, pairs);
        }
        if let Some(refusal) = too_long(seal, maps, pairs) {
            state
                .sealed
                .keep(place, origin, Err(refusal.message.as_str().into()));
            return Err(self.too_long_for(secret, refusal).await);
        }
        // Taken out of the answer first: should the rest fail, it has nothing in clear.
        let mut slots: Vec<&mut OutputValue> = sensitive(maps, pairs).collect();
        let mut texts = slots.iter_mut().filter_map(|value| value.take_sensitive());
        let mut sealed: Vec<Arc<str>> = Vec::new();
        loop {
            let some: Vec<SecretText> = texts.by_ref().take(AT_ONCE).collect();
            if some.is_empty() {
                break;
            }
            sealed.extend(self.seal_some(seal, some).await?);
        }
        drop(texts);
        for (value, text) in slots.into_iter().zip(&sealed) {
            *value = OutputValue::Sealed(Arc::clone(text));
        }
        state.sealed.keep(place, origin, Ok(sealed.into()));
        Ok(())
    }

    async fn seal_some(&self, seal: &Seal, texts: Vec<SecretText>) -> Result<Vec<Arc<str>>, Error> {
        let (key, format) = (Arc::clone(&seal.key), seal.format);
        let entropy = Arc::clone(&self.entropy);
        let work = move || {
            let seal = |text: &SecretText| {
                let sealed = key.public.seal(format, &*entropy, text.expose().as_bytes());
                sealed.map(Arc::from)
            };
            texts.iter().map(seal).collect::<Result<_, SealError>>()
        };
        let sealed = self.sealing.encrypting.run(work).await?;
        sealed.map_err(|error| Error::Conflict(error.to_string()))
    }

    /// Refuses new values that the writer could not be given back. Nothing is written, so it is no
    /// error of the secret.
    pub(crate) async fn check_sealable(
        &self,
        permit: &Permit,
        data: &DataPatch,
    ) -> Result<(), Error> {
        let Some(seal) = self.sealing_of(permit).await? else {
            return Ok(());
        };
        let Some(limit) = seal.key.public.limit(seal.format) else {
            return Ok(());
        };
        let pairs = self.options.sealing.key_values;
        let long = data
            .sensitive(pairs)
            .find(|(_, text)| text.expose().len() > limit);
        match long {
            Some((item, _)) => Err(Error::Conflict(Refusal::new(item, limit).message)),
            None => Ok(()),
        }
    }

    /// Puts a refusal into the secret's error history, once for each version, and gives the error that
    /// says so.
    async fn too_long_for(&self, secret: &Stored<Secret>, refusal: Refusal) -> Error {
        let newest = self.newest_secret_error(secret.id).await;
        let told = newest
            .ok()
            .flatten()
            .is_some_and(|error| error.message == refusal.message && error.at >= secret.updated_at);
        if told {
            return Error::Conflict(refusal.message);
        }
        let error = SecretError {
            at: self.clock.now(),
            operation: "seal".to_owned(),
            item: Some(refusal.item),
            message: refusal.message.clone(),
            step: None,
            kind: None,
            next_try_at: None,
        };
        // The refusal stands, whatever becomes of the entry.
        if let Err(error) = self.record_secret_error(secret, error).await {
            tracing::warn!(secret = %secret.id, %error, "an error of a secret could not be kept");
        }
        Error::Conflict(refusal.message)
    }
}

/// A value that bare RSA does not take.
struct Refusal {
    item: String,
    message: String,
}

impl Refusal {
    fn new(item: String, limit: usize) -> Self {
        let message = format!(
            "{item} is longer than the {limit} bytes that the authorization's key takes in its \
             format; nothing is given in clear instead (the format jwe takes any length)"
        );
        Self { item, message }
    }
}

/// What is to be sealed, in order.
fn sensitive(maps: &mut [OutputMap], pairs: bool) -> impl Iterator<Item = &mut OutputValue> {
    let all = maps.iter_mut().flat_map(move |map| map.sealable(pairs));
    all.map(|(_, value)| value)
}

fn too_long(seal: &Seal, maps: &mut [OutputMap], pairs: bool) -> Option<Refusal> {
    let limit = seal.key.public.limit(seal.format)?;
    maps.iter_mut().enumerate().find_map(|(index, map)| {
        let mut values = map.sealable(pairs);
        let (name, _) =
            values.find(|(_, value)| value.expose().is_some_and(|text| text.len() > limit))?;
        Some(Refusal::new(format!("data[{index}].{name}"), limit))
    })
}

/// Puts sealed values in the place of the sensitive ones, in order.
fn give(kept: &Kept, maps: &mut [OutputMap], pairs: bool) -> Result<(), Error> {
    let sealed = match kept {
        Ok(sealed) => sealed,
        Err(message) => return Err(Error::Conflict(message.to_string())),
    };
    let mut sealed = sealed.iter();
    for value in sensitive(maps, pairs) {
        let Some(text) = sealed.next() else {
            return Err(Error::Internal {
                reason: "fewer values were sealed than there are".to_owned(),
                source: None,
            });
        };
        *value = OutputValue::Sealed(Arc::clone(text));
    }
    Ok(())
}
