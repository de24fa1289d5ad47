//! A connection to a host that proved who it is.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dsm_core::provider::{CALL_SECONDS, LogIn, MAX_ANSWER, Proof, ProviderError, Target};
use dsm_core::secret::SecretText;
use russh::client::{self, AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::ssh_key::{Fingerprint, HashAlg};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{ChannelMsg, MethodKind, MethodSet};

use super::script::{Outcome, Script, input};
use super::{HOST_KEY, refused};
use crate::place::Place;

/// The usual port.
const PORT: u16 = 22;
/// How long it may take to be connected. Less than a call, so that a host that does not answer at all
/// is known to have changed nothing.
const CONNECT: Duration = Duration::from_secs(5);

/// The keys of which a host has to prove one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostKeys(Vec<Fingerprint>);

impl HostKeys {
    /// Reads public keys and fingerprints, separated by commas.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let one = |text: &str| {
            if text.starts_with("SHA256:") {
                return text.parse::<Fingerprint>().ok();
            }
            let key = PublicKey::from_openssh(text).ok()?;
            Some(key.fingerprint(HashAlg::Sha256))
        };
        let keys: Option<Vec<_>> = text.split(',').map(|text| one(text.trim())).collect();
        let wrong = "must be public keys such as `ssh-ed25519 AAAA…`, or fingerprints SHA256:…";
        keys.map(Self).ok_or_else(|| wrong.to_owned())
    }

    fn of(target: &Target) -> Result<Self, ProviderError> {
        let text = target.options.get(HOST_KEY).map_or("", String::as_str);
        let wrong = |why| ProviderError::Refused(format!("the option {HOST_KEY} {why}"));
        Self::read(text).map_err(wrong)
    }
}

/// Trusts a host with one of these keys and no other.
struct Pinned(HostKeys);

impl client::Handler for Pinned {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        Ok(match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                self.0.0.contains(&key.fingerprint(HashAlg::Sha256))
            }
            PublicKeyOrCertificate::Certificate(_) => false,
        })
    }
}

/// A connection, over which nobody has logged in yet or the admin has.
pub(super) struct Session {
    handle: Handle<Pinned>,
    is_root: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Session {
    /// Connects to the host, which proves to be the pinned one.
    pub(super) async fn connect(target: &Target) -> Result<Self, ProviderError> {
        let wrong = |why| ProviderError::Refused(format!("the address of the target {why}"));
        let place: Place = target.address.parse().map_err(wrong)?;
        let keys = HostKeys::of(target)?;
        let config = client::Config {
            inactivity_timeout: Some(Duration::from_secs(CALL_SECONDS)),
            nodelay: true,
            ..client::Config::default()
        };
        let connecting = async {
            let stream = place.connect(PORT).await?;
            let handle = client::connect_stream(Arc::new(config), stream, Pinned(keys)).await;
            handle.map_err(|error| match error {
                russh::Error::UnknownKey => ProviderError::Unavailable(
                    "the host has none of the keys in the option host_key".to_owned(),
                ),
                error => unavailable(error),
            })
        };
        let late = |_| unavailable(format!("no connection within {} s", CONNECT.as_secs()));
        let handle = tokio::time::timeout(CONNECT, connecting)
            .await
            .map_err(late)??;
        Ok(Self {
            handle,
            is_root: false,
        })
    }

    /// Connects and logs in as the admin.
    pub(super) async fn as_admin(target: &Target) -> Result<Self, ProviderError> {
        let admin = &target.admin;
        let said = match &admin.proof {
            Proof::Password(password) => {
                let mut session = Self::connect(target).await?;
                let said = session.password(&admin.user, password).await?;
                (session, said)
            }
            Proof::PrivateKey { key, passphrase } => {
                let key = open_key(key, passphrase.as_ref())?;
                let mut session = Self::connect(target).await?;
                let said = session.key(&admin.user, key).await?;
                (session, said)
            }
        };
        match said {
            (mut session, LogIn::Accepted) => {
                session.is_root = admin.user == "root";
                Ok(session)
            }
            (_, LogIn::Rejected) => Err(refused("the admin does not log in")),
        }
    }

    /// Whether this password logs in.
    pub(super) async fn try_password(
        mut self,
        account: &str,
        password: &SecretText,
    ) -> Result<LogIn, ProviderError> {
        self.password(account, password).await
    }

    /// Whether this key logs in.
    pub(super) async fn try_key(
        mut self,
        account: &str,
        key: PrivateKey,
    ) -> Result<LogIn, ProviderError> {
        self.key(account, key).await
    }

    async fn password(
        &mut self,
        account: &str,
        password: &SecretText,
    ) -> Result<LogIn, ProviderError> {
        let secret = password.expose();
        let said = self.handle.authenticate_password(account, secret).await;
        let (methods, partly) = match said.map_err(unavailable)? {
            AuthResult::Success => return Ok(LogIn::Accepted),
            AuthResult::Failure {
                remaining_methods,
                partial_success,
            } => (remaining_methods, partial_success),
        };
        if partly {
            return Err(needs_more());
        }
        if offers(&methods, MethodKind::Password) {
            return Ok(LogIn::Rejected);
        }
        if offers(&methods, MethodKind::KeyboardInteractive) {
            return self.answer_prompts(account, secret).await;
        }
        Err(refused("the host lets nobody log in with a password"))
    }

    /// Hosts that ask for the password in words.
    async fn answer_prompts(
        &mut self,
        account: &str,
        password: &str,
    ) -> Result<LogIn, ProviderError> {
        let handle = &mut self.handle;
        let start = handle.authenticate_keyboard_interactive_start(account, None::<String>);
        let mut said = start.await.map_err(unavailable)?;
        let mut answered = false;
        loop {
            let answers = match said {
                KeyboardInteractiveAuthResponse::Success => return Ok(LogIn::Accepted),
                KeyboardInteractiveAuthResponse::Failure {
                    partial_success: true,
                    ..
                } => return Err(needs_more()),
                KeyboardInteractiveAuthResponse::Failure { .. } => return Ok(LogIn::Rejected),
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                    match &prompts[..] {
                        [] => Vec::new(),
                        [prompt] if !prompt.echo && !answered => {
                            answered = true;
                            vec![password.to_owned()]
                        }
                        _ => return Err(needs_more()),
                    }
                }
            };
            let respond = handle.authenticate_keyboard_interactive_respond(answers);
            said = respond.await.map_err(unavailable)?;
        }
    }

    async fn key(&mut self, account: &str, key: PrivateKey) -> Result<LogIn, ProviderError> {
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
        let said = self.handle.authenticate_publickey(account, key).await;
        match said.map_err(unavailable)? {
            AuthResult::Success => Ok(LogIn::Accepted),
            AuthResult::Failure {
                partial_success: true,
                ..
            } => Err(needs_more()),
            AuthResult::Failure {
                remaining_methods, ..
            } if offers(&remaining_methods, MethodKind::PublicKey) => Ok(LogIn::Rejected),
            AuthResult::Failure { .. } => Err(refused("the host lets nobody log in with a key")),
        }
    }

    /// Runs a script as root, with these fields for its input, and gives what it prints.
    pub(super) async fn run(
        &self,
        script: Script,
        fields: &[&str],
    ) -> Result<String, ProviderError> {
        let mut channel =
            self.handle
                .channel_open_session()
                .await
                .map_err(|error| match error {
                    russh::Error::ChannelOpenFailure(_) => {
                        refused("the host opens no session for the admin")
                    }
                    error => unavailable(error),
                })?;
        let mut outcome = Outcome::default();
        // From here on it may run, whatever is heard of it.
        let sent = async {
            channel.exec(true, script.command(self.is_root)).await?;
            channel.data_bytes(input(fields)).await?;
            channel.eof().await
        };
        sent.await
            .map_err(|error| script.lost(&error.to_string()))?;
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } => outcome.output.extend_from_slice(&data),
                ChannelMsg::ExtendedData { data, .. } => outcome.said.extend_from_slice(&data),
                ChannelMsg::ExitStatus { exit_status } => outcome.status = Some(exit_status),
                ChannelMsg::Failure => return Err(refused("the host runs no commands")),
                _ => {}
            }
            if outcome.output.len() + outcome.said.len() > MAX_ANSWER {
                return Err(script.lost("the host answers with more than a script prints"));
            }
        }
        outcome.read(script)
    }
}

/// Opens a private key.
pub(super) fn open_key(
    key: &SecretText,
    passphrase: Option<&SecretText>,
) -> Result<PrivateKey, ProviderError> {
    let passphrase = passphrase.map(SecretText::expose);
    russh::keys::decode_secret_key(key.expose(), passphrase)
        .map_err(|error| ProviderError::Refused(format!("the private key cannot be used: {error}")))
}

fn offers(methods: &MethodSet, wanted: MethodKind) -> bool {
    methods.contains(&wanted)
}

fn needs_more() -> ProviderError {
    refused("the host asks for more than one proof")
}

fn unavailable(error: impl fmt::Display) -> ProviderError {
    ProviderError::Unavailable(error.to_string())
}
