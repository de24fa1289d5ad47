//! The envelope: one text sealed under a data key of its own, which a root key wraps.
//!
//! ```text
//! "DSM" | format 1 | algorithm 1 | root key id (8)      header
//! nonce (12) | data key sealed by the root key (32+16)   wrapped key
//! nonce (12) | text sealed by the data key (n+16)        body
//! ```
//!
//! Both layers authenticate where the envelope belongs. Only the body authenticates the part of
//! the context that changes with the record, and only the wrap names the root key, so a data key
//! can be wrapped anew without opening what it encrypts.

use aes_gcm::aead::AeadInOut as _;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{Aes256Gcm, KeyInit as _};
use zeroize::Zeroizing;

use super::{CryptoError, RootKey, RootKeyId, RootKeys, SecretBytes};
use crate::entropy::Entropy;

const MAGIC: &[u8; 5] = b"DSM\x01\x01";
const NONCE: usize = 12;
const TAG: usize = 16;
const WRAPPED: usize = NONCE + 32 + TAG;
/// Length of the header in bytes.
pub const HEADER_LEN: usize = MAGIC.len() + 8;
/// How many bytes an envelope is longer than its text.
pub const OVERHEAD: usize = HEADER_LEN + WRAPPED + NONCE + TAG;

/// Where a sealed text belongs. It opens there and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    place: Vec<u8>,
    bound: Vec<u8>,
}

impl Context {
    /// The place: what it is (`label`, without a zero byte), of which vault, of which kind and
    /// which number.
    pub fn new(label: &str, vault: &[u8; 16], kind: u16, id: u64) -> Self {
        let mut place = Vec::with_capacity(label.len() + 27);
        place.extend_from_slice(label.as_bytes());
        place.push(0);
        place.extend_from_slice(vault);
        place.extend_from_slice(&kind.to_be_bytes());
        place.extend_from_slice(&id.to_be_bytes());
        Self {
            place,
            bound: Vec::new(),
        }
    }

    /// Binds a number as well, such as a revision.
    pub fn bind(mut self, number: u64) -> Self {
        self.bound.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// Binds bytes as well, with their length.
    pub fn bind_bytes(mut self, bytes: &[u8]) -> Self {
        self.bound
            .extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.bound.extend_from_slice(bytes);
        self
    }

    fn body_data(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(MAGIC.len() + self.place.len() + self.bound.len());
        data.extend_from_slice(MAGIC);
        data.extend_from_slice(&self.place);
        data.extend_from_slice(&self.bound);
        data
    }

    fn wrap_data(&self, id: RootKeyId) -> Vec<u8> {
        let mut data = Vec::with_capacity(HEADER_LEN + self.place.len());
        data.extend_from_slice(MAGIC);
        data.extend_from_slice(&id.0);
        data.extend_from_slice(&self.place);
        data
    }
}

/// The root key an envelope is sealed under.
///
/// # Errors
///
/// [`CryptoError::UnsupportedFormat`] when the bytes are no envelope.
pub fn root_key_id(sealed: &[u8]) -> Result<RootKeyId, CryptoError> {
    if sealed.len() < OVERHEAD || &sealed[..MAGIC.len()] != MAGIC {
        return Err(CryptoError::UnsupportedFormat);
    }
    let id = sealed[MAGIC.len()..HEADER_LEN]
        .try_into()
        .expect("the header holds 8 bytes of id");
    Ok(RootKeyId(id))
}

pub(super) fn seal(
    root: &RootKey,
    entropy: &dyn Entropy,
    context: &Context,
    text: &[u8],
) -> Vec<u8> {
    let data_key = Zeroizing::new(entropy.array::<32>());
    let mut sealed = Vec::with_capacity(OVERHEAD + text.len());
    push_wrapped(&mut sealed, root, entropy, context, &data_key);

    let nonce = entropy.array::<NONCE>();
    sealed.extend_from_slice(&nonce);
    let start = sealed.len();
    sealed.extend_from_slice(text);
    let cipher = Aes256Gcm::new((&*data_key).into());
    push_tag(&cipher, nonce, &context.body_data(), &mut sealed, start);
    sealed
}

pub(super) fn open(
    roots: &RootKeys,
    context: &Context,
    sealed: &[u8],
) -> Result<SecretBytes, CryptoError> {
    let data_key = unwrap(roots, context, sealed)?;
    let body = &sealed[HEADER_LEN + WRAPPED..];
    let cipher = Aes256Gcm::new((&*data_key).into());
    let mut text = Zeroizing::new(vec![0; body.len() - NONCE - TAG]);
    open_into(&cipher, &context.body_data(), body, &mut text)?;
    Ok(text)
}

/// The same envelope with its data key wrapped by the active root key; `None` when it is already.
pub(super) fn rewrap(
    roots: &RootKeys,
    entropy: &dyn Entropy,
    context: &Context,
    sealed: &[u8],
) -> Result<Option<Vec<u8>>, CryptoError> {
    if root_key_id(sealed)? == roots.active().id() {
        return Ok(None);
    }
    let data_key = unwrap(roots, context, sealed)?;
    let mut rewrapped = Vec::with_capacity(sealed.len());
    push_wrapped(&mut rewrapped, roots.active(), entropy, context, &data_key);
    rewrapped.extend_from_slice(&sealed[HEADER_LEN + WRAPPED..]);
    Ok(Some(rewrapped))
}

fn push_wrapped(
    sealed: &mut Vec<u8>,
    root: &RootKey,
    entropy: &dyn Entropy,
    context: &Context,
    data_key: &[u8; 32],
) {
    sealed.extend_from_slice(MAGIC);
    sealed.extend_from_slice(&root.id().0);
    let nonce = entropy.array::<NONCE>();
    sealed.extend_from_slice(&nonce);
    let start = sealed.len();
    sealed.extend_from_slice(data_key);
    push_tag(
        root.cipher(),
        nonce,
        &context.wrap_data(root.id()),
        sealed,
        start,
    );
}

fn unwrap(
    roots: &RootKeys,
    context: &Context,
    sealed: &[u8],
) -> Result<Zeroizing<[u8; 32]>, CryptoError> {
    let id = root_key_id(sealed)?;
    let root = roots.find(id).ok_or(CryptoError::UnknownKey(id))?;
    let mut data_key = Zeroizing::new([0; 32]);
    let wrapped = &sealed[HEADER_LEN..HEADER_LEN + WRAPPED];
    open_into(
        root.cipher(),
        &context.wrap_data(id),
        wrapped,
        &mut *data_key,
    )?;
    Ok(data_key)
}

/// Encrypts `sealed[start..]` in place and appends the tag.
fn push_tag(
    cipher: &Aes256Gcm,
    nonce: [u8; NONCE],
    data: &[u8],
    sealed: &mut Vec<u8>,
    start: usize,
) {
    let tag = cipher
        .encrypt_inout_detached(&nonce.into(), data, (&mut sealed[start..]).into())
        .expect("texts and contexts are far below the 64 GiB that AES-GCM takes");
    sealed.extend_from_slice(&tag);
}

/// Opens `nonce | ciphertext | tag` into `text`, which has the ciphertext's length.
fn open_into(
    cipher: &Aes256Gcm,
    data: &[u8],
    sealed: &[u8],
    text: &mut [u8],
) -> Result<(), CryptoError> {
    let (nonce, rest) = sealed.split_at(NONCE);
    let (ciphertext, tag) = rest.split_at(rest.len() - TAG);
    let nonce: [u8; NONCE] = nonce.try_into().expect("split at the nonce's length");
    let tag: [u8; TAG] = tag.try_into().expect("split at the tag's length");
    let buffer = InOutBuf::new(ciphertext, text).map_err(|_| CryptoError::Open)?;
    cipher
        .decrypt_inout_detached(&nonce.into(), data, buffer, &tag.into())
        .map_err(|_| CryptoError::Open)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::OsEntropy;

    fn context() -> Context {
        Context::new("record", &[7; 16], 3, 9).bind(1)
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_only() {
        let roots = RootKeys::only(RootKey::generate(&OsEntropy));
        let sealed = seal(roots.active(), &OsEntropy, &context(), b"text");
        assert_eq!(sealed.len(), OVERHEAD + 4);
        assert_eq!(
            &**open(&roots, &context(), &sealed).expect("opens"),
            b"text"
        );
        for other in [
            Context::new("value", &[7; 16], 3, 9).bind(1),
            Context::new("record", &[8; 16], 3, 9).bind(1),
            Context::new("record", &[7; 16], 4, 9).bind(1),
            Context::new("record", &[7; 16], 3, 8).bind(1),
            Context::new("record", &[7; 16], 3, 9).bind(2),
            Context::new("record", &[7; 16], 3, 9)
                .bind(1)
                .bind_bytes(b""),
        ] {
            assert_eq!(
                open(&roots, &other, &sealed),
                Err(CryptoError::Open),
                "{other:?}"
            );
        }
    }

    #[test]
    fn the_same_text_never_seals_to_the_same_bytes() {
        let root = RootKey::generate(&OsEntropy);
        let one = seal(&root, &OsEntropy, &context(), b"");
        let two = seal(&root, &OsEntropy, &context(), b"");
        assert_ne!(one[HEADER_LEN..], two[HEADER_LEN..]);
    }

    #[test]
    fn rewrapping_changes_the_key_and_not_the_body() {
        let old = RootKey::generate(&OsEntropy);
        let new = RootKey::generate(&OsEntropy);
        let sealed = seal(&old, &OsEntropy, &context(), b"text");
        let both = RootKeys::new(new.clone(), vec![old]);
        let place = Context::new("record", &[7; 16], 3, 9);
        let rewrapped = rewrap(&both, &OsEntropy, &place, &sealed)
            .expect("unwraps")
            .expect("was under old");
        assert_eq!(root_key_id(&rewrapped), Ok(new.id()));
        assert_eq!(
            rewrapped[HEADER_LEN + WRAPPED..],
            sealed[HEADER_LEN + WRAPPED..]
        );
        let only_new = RootKeys::only(new);
        assert_eq!(
            &**open(&only_new, &context(), &rewrapped).expect("opens"),
            b"text"
        );
        assert_eq!(rewrap(&only_new, &OsEntropy, &place, &rewrapped), Ok(None));
        assert!(matches!(
            open(&only_new, &context(), &sealed),
            Err(CryptoError::UnknownKey(_))
        ));
    }
}
