use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::text::sealed_form;
use super::{ItemKind, Managed, ManagedItem, OutputMap, SecretText, output};

/// The values of one version of a secret, by kind.
///
/// It serialises only for sealing, and has neither `Clone` nor a `Debug` that shows values.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretData {
    /// User names and passwords.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<Credential>,
    /// SSH keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_keys: Vec<SshKey>,
    /// Accounts that live for a while.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ephemeral_credentials: Vec<EphemeralCredential>,
    /// Access keys of cloud providers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access_keys: Vec<AccessKey>,
    /// Pairs of a name and a sensitive value, which may be null.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub key_values: BTreeMap<String, KeyValue>,
}

/// Output names that replace the usual ones: a label of `DB_USER` for the user name gives an output
/// key `DB_USER`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels {
    /// In place of `hostname`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// In place of `username`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// In place of `password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// In place of `additional_information`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub additional_information: Option<String>,
}

/// A user name with its password. Parts that are absent are left out of the output.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Where it is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Sensitive.
    #[serde(default, with = "sealed_form", skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretText>,
    /// A remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub additional_information: Option<String>,
    /// The address of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Output names.
    #[serde(default)]
    pub labels: Labels,
    /// Which account on which target it is of, where it is managed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<Managed>,
}

/// An SSH key pair of an account.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshKey {
    /// Where it is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Sensitive; usually PEM.
    #[serde(default, with = "sealed_form", skip_serializing_if = "Option::is_none")]
    pub private_key: Option<SecretText>,
    /// One line as in `authorized_keys`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// The passphrase of the private key. Sensitive.
    #[serde(default, with = "sealed_form", skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretText>,
    /// A remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub additional_information: Option<String>,
    /// The address of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Output names.
    #[serde(default)]
    pub labels: Labels,
    /// Which account on which target it is of, where it is managed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<Managed>,
}

/// An account made from a dynamic provisioning profile.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EphemeralCredential {
    /// The profile's identifier.
    pub profile: String,
    /// The account as provisioned; without parts until it is.
    #[serde(default)]
    pub credential: Credential,
    /// The access key of the account, where the profile makes cloud users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key: Option<AccessKey>,
    /// Seconds it lives, counted from its creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
}

/// Whose access key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CloudProvider {
    /// Amazon Web Services.
    Aws,
    /// Microsoft Azure.
    Azure,
    /// Google Cloud.
    Gcp,
}

/// An access key of a cloud provider.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// Whose.
    pub provider: CloudProvider,
    /// The public part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// Sensitive.
    #[serde(default, with = "sealed_form", skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<SecretText>,
    /// Seconds it lives, counted from its creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
    /// Output name in place of `access_key_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id_label: Option<String>,
    /// Output name in place of `secret_access_key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_access_key_label: Option<String>,
    /// Which account on which target it is of, where it is managed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<Managed>,
}

/// The value of a key/value pair: a sensitive text or null.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyValue(#[serde(with = "sealed_form")] pub Option<SecretText>);

/// How many items of each kind there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ItemCounts {
    /// Credentials.
    pub credentials: usize,
    /// SSH keys.
    pub ssh_keys: usize,
    /// Ephemeral credentials.
    pub ephemeral_credentials: usize,
    /// Cloud access keys.
    pub access_keys: usize,
    /// Key/value pairs.
    pub key_values: usize,
}

impl ItemCounts {
    /// How many items there are in all.
    pub fn total(&self) -> usize {
        self.credentials
            + self.ssh_keys
            + self.ephemeral_credentials
            + self.access_keys
            + self.key_values
    }
}

/// A change of values: a kind that is named replaces what there was of that kind.
#[derive(Debug, Default)]
pub struct DataPatch {
    /// Replaces the credentials.
    pub credentials: Option<Vec<Credential>>,
    /// Replaces the SSH keys.
    pub ssh_keys: Option<Vec<SshKey>>,
    /// Replaces the ephemeral credentials.
    pub ephemeral_credentials: Option<Vec<EphemeralCredential>>,
    /// Replaces the cloud access keys.
    pub access_keys: Option<Vec<AccessKey>>,
    /// Replaces all key/value pairs.
    pub key_values: Option<BTreeMap<String, KeyValue>>,
}

/// Data that no output could show as it is meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// An empty or overlong name.
    #[error("{item}: a name or label must have 1 to 256 bytes and no control characters")]
    Name {
        /// Where, such as `credentials[0]`.
        item: String,
    },
    /// Two parts of one item would have the same output name.
    #[error("{item}: two parts would both be called `{name}`")]
    Double {
        /// Where.
        item: String,
        /// The name.
        name: String,
    },
    /// A managed item is not one that could be rotated.
    #[error("{item}: {message}")]
    Managed {
        /// Where.
        item: String,
        /// What is wrong.
        message: &'static str,
    },
}

impl DataPatch {
    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        self.credentials.is_none()
            && self.ssh_keys.is_none()
            && self.ephemeral_credentials.is_none()
            && self.access_keys.is_none()
            && self.key_values.is_none()
    }

    /// The sensitive values that are named, and where each stands; those of key/value pairs only where
    /// asked for.
    pub(crate) fn sensitive(
        &self,
        key_values: bool,
    ) -> impl Iterator<Item = (String, &SecretText)> {
        fn of<'a, T>(
            kind: &'static str,
            items: Option<&'a Vec<T>>,
            part: &'static str,
            value: impl Fn(&'a T) -> Option<&'a SecretText>,
        ) -> impl Iterator<Item = (String, &'a SecretText)> {
            let items = items.into_iter().flatten().enumerate();
            items.filter_map(move |(index, item)| {
                Some((format!("{kind}[{index}].{part}"), value(item)?))
            })
        }
        let pairs = self.key_values.iter().filter(move |_| key_values).flatten();
        let pairs = pairs
            .filter_map(|(name, value)| Some((format!("key_value.{name}"), value.0.as_ref()?)));
        let (credentials, keys) = (self.credentials.as_ref(), self.ssh_keys.as_ref());
        of("credentials", credentials, "password", |it| {
            it.password.as_ref()
        })
        .chain(of("ssh_keys", keys, "private_key", |it| {
            it.private_key.as_ref()
        }))
        .chain(of("ssh_keys", keys, "password", |it| it.password.as_ref()))
        .chain(of(
            "ephemeral_credentials",
            self.ephemeral_credentials.as_ref(),
            "password",
            |it| it.credential.password.as_ref(),
        ))
        .chain(of(
            "access_keys",
            self.access_keys.as_ref(),
            "secret_access_key",
            |it| it.secret_access_key.as_ref(),
        ))
        .chain(pairs)
    }

    /// Whether it brings credentials of accounts: those, SSH keys or ephemeral ones.
    pub fn brings_credentials(&self) -> bool {
        self.credentials
            .as_ref()
            .is_some_and(|items| !items.is_empty())
            || self
                .ssh_keys
                .as_ref()
                .is_some_and(|items| !items.is_empty())
            || self
                .ephemeral_credentials
                .as_ref()
                .is_some_and(|items| !items.is_empty())
    }

    /// The items whose credentials are managed, of the kinds that it names.
    pub(crate) fn managed(&self) -> Vec<ManagedItem> {
        let credentials = self.credentials.iter().flatten();
        let ssh_keys = self.ssh_keys.iter().flatten();
        let access_keys = self.access_keys.iter().flatten();
        let credentials = credentials.filter_map(ManagedItem::of_credential);
        credentials
            .chain(ssh_keys.filter_map(ManagedItem::of_ssh_key))
            .chain(access_keys.filter_map(ManagedItem::of_access_key))
            .collect()
    }

    /// Whether it names this kind.
    pub(crate) fn replaces(&self, kind: ItemKind) -> bool {
        match kind {
            ItemKind::Credential => self.credentials.is_some(),
            ItemKind::SshKey => self.ssh_keys.is_some(),
            ItemKind::AccessKey => self.access_keys.is_some(),
        }
    }

    /// Whether it brings cloud access keys.
    pub fn brings_cloud_credentials(&self) -> bool {
        self.access_keys
            .as_ref()
            .is_some_and(|items| !items.is_empty())
    }
}

impl From<SecretData> for DataPatch {
    /// Replaces every kind.
    fn from(data: SecretData) -> Self {
        Self {
            credentials: Some(data.credentials),
            ssh_keys: Some(data.ssh_keys),
            ephemeral_credentials: Some(data.ephemeral_credentials),
            access_keys: Some(data.access_keys),
            key_values: Some(data.key_values),
        }
    }
}

impl SecretData {
    /// Key/value pairs only.
    pub fn key_values<N: Into<String>, V: Into<SecretText>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let key_values = pairs
            .into_iter()
            .map(|(name, value)| (name.into(), KeyValue(Some(value.into()))))
            .collect();
        Self {
            key_values,
            ..Self::default()
        }
    }

    /// Replaces the kinds that `patch` names.
    pub fn apply(mut self, patch: DataPatch) -> Self {
        self.replace(patch);
        self
    }

    /// As [`apply`](Self::apply), in place; tells whether anything is not what it was.
    pub fn replace(&mut self, mut patch: DataPatch) -> bool {
        fn put<T: PartialEq>(there: &mut T, new: Option<T>) -> bool {
            new.is_some_and(|new| std::mem::replace(there, new) != *there)
        }
        if let Some(items) = &mut patch.ephemeral_credentials {
            keep_provisioned(items, &self.ephemeral_credentials);
        }
        // Each is put, whatever came of the one before.
        put(&mut self.credentials, patch.credentials)
            | put(&mut self.ssh_keys, patch.ssh_keys)
            | put(&mut self.ephemeral_credentials, patch.ephemeral_credentials)
            | put(&mut self.access_keys, patch.access_keys)
            | put(&mut self.key_values, patch.key_values)
    }

    /// How many items of each kind there are.
    pub fn counts(&self) -> ItemCounts {
        ItemCounts {
            credentials: self.credentials.len(),
            ssh_keys: self.ssh_keys.len(),
            ephemeral_credentials: self.ephemeral_credentials.len(),
            access_keys: self.access_keys.len(),
            key_values: self.key_values.len(),
        }
    }

    /// The identifiers of the profiles that its ephemeral items are of, each once, in order.
    pub fn profiles(&self) -> Vec<String> {
        let names = self.ephemeral_credentials.iter().map(|item| &item.profile);
        names
            .collect::<BTreeSet<_>>()
            .into_iter()
            .cloned()
            .collect()
    }

    /// The output form: one flat map for each credential, SSH key, ephemeral credential and access
    /// key, in this order, and one for all key/value pairs.
    pub fn into_output(self) -> Vec<OutputMap> {
        output::flatten(self)
    }

    /// Checks names and labels.
    ///
    /// # Errors
    ///
    /// The first item whose output would lose a part or bear an unusable name.
    pub fn validate(&self) -> Result<(), DataError> {
        for (index, item) in self.credentials.iter().enumerate() {
            check_names(&format!("credentials[{index}]"), &credential_names(item))?;
        }
        for (index, item) in self.ssh_keys.iter().enumerate() {
            let labels = &item.labels;
            let mut names = label_names(labels);
            names.extend(["private_key", "public_key", "ip"]);
            check_names(&format!("ssh_keys[{index}]"), &names)?;
        }
        for (index, item) in self.ephemeral_credentials.iter().enumerate() {
            let place = format!("ephemeral_credentials[{index}]");
            check_names(&place, &[&item.profile])?;
            check_names(&place, &credential_names(&item.credential))?;
        }
        for (index, item) in self.access_keys.iter().enumerate() {
            let names = [
                item.access_key_id_label
                    .as_deref()
                    .unwrap_or("access_key_id"),
                item.secret_access_key_label
                    .as_deref()
                    .unwrap_or("secret_access_key"),
                "TTL",
            ];
            check_names(&format!("access_keys[{index}]"), &names)?;
        }
        for name in self.key_values.keys() {
            check_names("key_value", &[name])?;
        }
        self.check_managed()
    }
}

/// What is written of an ephemeral item is its profile and its labels: the account that is served
/// stays, in the next item of the same profile.
pub(super) fn keep_provisioned(new: &mut [EphemeralCredential], old: &[EphemeralCredential]) {
    let mut taken = vec![false; old.len()];
    for item in new.iter_mut().filter(|item| !item.is_provisioned()) {
        let mut places = old.iter().enumerate();
        let found = places.find(|(index, there)| {
            !taken[*index] && there.profile == item.profile && there.is_provisioned()
        });
        let Some(index) = found.map(|(index, _)| index) else {
            continue;
        };
        taken[index] = true;
        let there = &old[index];
        let labels = std::mem::take(&mut item.credential.labels);
        item.credential = there.credential.duplicate();
        item.credential.labels = labels;
        item.access_key = there.access_key.as_ref().map(AccessKey::duplicate);
        item.ttl = there.ttl;
    }
}

impl EphemeralCredential {
    /// Takes the account out; profile and labels stay.
    pub(crate) fn forget_account(&mut self) {
        self.credential = Credential {
            labels: std::mem::take(&mut self.credential.labels),
            ..Credential::default()
        };
        self.access_key = None;
        self.ttl = None;
    }

    /// Whether an account was made for it.
    pub fn is_provisioned(&self) -> bool {
        self.credential.user.is_some()
    }
}

impl Credential {
    fn duplicate(&self) -> Self {
        Self {
            host: self.host.clone(),
            user: self.user.clone(),
            password: self.password.as_ref().map(SecretText::duplicate),
            additional_information: self.additional_information.clone(),
            ip: self.ip.clone(),
            labels: self.labels.clone(),
            managed: self.managed.clone(),
        }
    }
}

impl AccessKey {
    fn duplicate(&self) -> Self {
        Self {
            provider: self.provider,
            access_key_id: self.access_key_id.clone(),
            secret_access_key: self.secret_access_key.as_ref().map(SecretText::duplicate),
            ttl: self.ttl,
            access_key_id_label: self.access_key_id_label.clone(),
            secret_access_key_label: self.secret_access_key_label.clone(),
            managed: self.managed.clone(),
        }
    }
}

fn credential_names(item: &Credential) -> Vec<&str> {
    let mut names = label_names(&item.labels);
    names.push("ip");
    names
}

fn label_names(labels: &Labels) -> Vec<&str> {
    vec![
        labels.host.as_deref().unwrap_or("hostname"),
        labels.user.as_deref().unwrap_or("username"),
        labels.password.as_deref().unwrap_or("password"),
        labels
            .additional_information
            .as_deref()
            .unwrap_or("additional_information"),
    ]
}

fn check_names(item: &str, names: &[&str]) -> Result<(), DataError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if name.is_empty() || name.len() > 256 || name.chars().any(char::is_control) {
            return Err(DataError::Name {
                item: item.to_owned(),
            });
        }
        if !seen.insert(name) {
            return Err(DataError::Double {
                item: item.to_owned(),
                name: (*name).to_owned(),
            });
        }
    }
    Ok(())
}
