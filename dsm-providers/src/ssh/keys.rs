//! Authorized keys of an account.

use async_trait::async_trait;
use dsm_core::entropy::Entropy;
use dsm_core::provider::{AccountKeys, InstalledKeys, Key, KeyState, LogIn, ProviderError, Target};
use dsm_core::secret::SecretText;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::ssh_key::{HashAlg, LineEnding};
use russh::keys::{PrivateKey, PublicKey};
use zeroize::Zeroizing;

use super::script::Script;
use super::session::{Session, open_key};
use super::{Ssh, account_name, refused};

/// A line of the file that is a key, with whatever options it has.
#[derive(Debug, PartialEq, Eq)]
struct Line<'a> {
    id: String,
    /// The key itself, by which the line is told from all others.
    blob: &'a str,
}

/// All keys of a file; what is no key, or none that is known, is passed over.
fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().filter_map(|line| {
        if line.trim_start().starts_with('#') {
            return None;
        }
        // Options come first and may have quoted blanks; the key is the first word that is one after
        // the name of its kind.
        let words: Vec<&str> = line
            .split([' ', '\t'])
            .filter(|it| !it.is_empty())
            .collect();
        words.windows(2).find_map(|pair| {
            let key = PublicKey::from_openssh(&format!("{} {}", pair[0], pair[1])).ok()?;
            Some(Line {
                id: id_of(&key),
                blob: pair[1],
            })
        })
    })
}

fn id_of(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// The id of a private key.
fn id_of_secret(secret: &SecretText) -> Option<String> {
    let key = open_key(secret, None).ok()?;
    Some(id_of(key.public_key()))
}

impl Ssh {
    async fn remove(&self, target: &Target, account: &str, id: &str) -> Result<(), ProviderError> {
        let name = account_name(account)?;
        let session = Session::as_admin(target).await?;
        let held = session.run(Script::READ_KEYS, &[name]).await?;
        for line in lines(&held).filter(|line| line.id == id) {
            let fields = [name, line.blob, ""];
            session.run(Script::EDIT_KEYS, &fields).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl AccountKeys for Ssh {
    async fn list_keys(
        &self,
        target: &Target,
        account: &str,
    ) -> Result<Vec<KeyState>, ProviderError> {
        let name = account_name(account)?;
        let session = Session::as_admin(target).await?;
        let held = session.run(Script::READ_KEYS, &[name]).await?;
        let mut listed: Vec<KeyState> = Vec::new();
        for line in lines(&held) {
            if !listed.iter().any(|key| key.id == line.id) {
                listed.push(KeyState {
                    id: line.id,
                    active: true,
                });
            }
        }
        Ok(listed)
    }

    async fn log_in(
        &self,
        target: &Target,
        account: &str,
        key: &Key,
    ) -> Result<LogIn, ProviderError> {
        let name = account_name(account)?;
        let private = open_key(&key.secret, None)?;
        if !key.id.is_empty() && key.id != id_of(private.public_key()) {
            return Ok(LogIn::Rejected);
        }
        Session::connect(target).await?.try_key(name, private).await
    }

    async fn deactivate_key(
        &self,
        target: &Target,
        account: &str,
        id: &str,
    ) -> Result<(), ProviderError> {
        self.remove(target, account, id).await
    }

    async fn delete_key(
        &self,
        target: &Target,
        account: &str,
        id: &str,
    ) -> Result<(), ProviderError> {
        self.remove(target, account, id).await
    }
}

#[async_trait]
impl InstalledKeys for Ssh {
    fn draft_key(&self, account: &str, entropy: &dyn Entropy) -> Key {
        let seed = Zeroizing::new(entropy.array());
        let mut key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
        let comment: String = account.chars().filter(char::is_ascii_graphic).collect();
        key.set_comment(format!("dsm:{comment}"));
        let secret = key
            .to_openssh(LineEnding::LF)
            .expect("a key without a passphrase can be written");
        let public = key.public_key().to_openssh();
        Key {
            id: id_of(key.public_key()),
            secret: SecretText::new(secret.as_str()),
            public: Some(public.expect("a public key can be written")),
        }
    }

    fn key_id(&self, key: &Key) -> Option<String> {
        id_of_secret(&key.secret)
    }

    async fn install_key(
        &self,
        target: &Target,
        account: &str,
        key: &Key,
    ) -> Result<(), ProviderError> {
        let name = account_name(account)?;
        let private = open_key(&key.secret, None)?;
        let public = private.public_key();
        let text = public
            .to_openssh()
            .map_err(|error| ProviderError::Refused(error.to_string()))?;
        let (Some(kind), Some(blob)) = (text.split(' ').next(), text.split(' ').nth(1)) else {
            return Err(refused("the key has no public part"));
        };
        let session = Session::as_admin(target).await?;
        let line = format!("{kind} {blob} dsm:{name}");
        session.run(Script::EDIT_KEYS, &[name, blob, &line]).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsm_core::entropy::OsEntropy;

    #[test]
    fn a_drafted_key_is_an_ed25519_key_of_its_id() {
        let key = Ssh.draft_key("app", &OsEntropy);
        assert_eq!(Ssh.key_id(&key).as_ref(), Some(&key.id));
        assert!(key.id.starts_with("SHA256:"), "{}", key.id);
        assert!(
            key.secret
                .expose()
                .starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n")
        );
        let public = key.public.clone().unwrap();
        assert!(public.starts_with("ssh-ed25519 AAAA") && public.ends_with(" dsm:app"));
        let other = Ssh.draft_key("app", &OsEntropy);
        assert_ne!(key.id, other.id);
        let nothing = Key {
            id: String::new(),
            secret: SecretText::new("no key"),
            public: None,
        };
        assert_eq!(Ssh.key_id(&nothing), None);
    }

    #[test]
    fn keys_are_found_whatever_stands_around_them() {
        let public = Ssh.draft_key("app", &OsEntropy).public.unwrap();
        let key = public.rsplit_once(' ').unwrap().0;
        let text = format!(
            "# {key}\n\n{key}\nfrom=\"10.0.0.1\",command=\"echo ssh-ed25519 x\" {key} a comment\n\
             nonsense\nssh-ed25519 AAAA\n"
        );
        let found: Vec<Line<'_>> = lines(&text).collect();
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|line| key.ends_with(line.blob)));
    }
}
