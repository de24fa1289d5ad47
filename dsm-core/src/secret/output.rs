use std::sync::Arc;

use super::{AccessKey, Credential, Labels, SecretData, SecretText, SshKey};

/// One element of a secret's output: names and values, flat, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct OutputMap {
    pairs: Vec<(String, OutputValue)>,
    /// Whether these are the key/value pairs, and not the parts of an item.
    key_values: bool,
}

/// A value on its way out.
#[derive(Debug, PartialEq, Eq)]
pub enum OutputValue {
    /// May be seen by whoever sees the answer.
    Clear(String),
    /// Sealed to the client's key where the authorization says so.
    Sensitive(SecretText),
    /// Sealed to the client's key.
    Sealed(Arc<str>),
    /// No value.
    Null,
}

impl OutputMap {
    /// The pairs, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &OutputValue)> {
        self.pairs
            .iter()
            .map(|(name, value)| (name.as_str(), value))
    }

    /// The sensitive values with their names; those of key/value pairs only where asked for.
    pub(crate) fn sealable(
        &mut self,
        key_values: bool,
    ) -> impl Iterator<Item = (&str, &mut OutputValue)> {
        let asked_for = key_values || !self.key_values;
        self.pairs
            .iter_mut()
            .filter(move |(_, value)| asked_for && matches!(value, OutputValue::Sensitive(_)))
            .map(|(name, value)| (name.as_str(), value))
    }

    /// The value called `name`.
    pub fn value(&self, name: &str) -> Option<&OutputValue> {
        self.pairs
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value)
    }

    fn clear(&mut self, name: &str, value: Option<String>) {
        self.pairs
            .extend(value.map(|value| (name.to_owned(), OutputValue::Clear(value))));
    }

    fn sensitive(&mut self, name: &str, value: Option<SecretText>) {
        self.pairs
            .extend(value.map(|value| (name.to_owned(), OutputValue::Sensitive(value))));
    }
}

impl OutputValue {
    /// The text, in clear unless it is sealed; `None` for null. As grave as [`SecretText::expose`].
    pub fn expose(&self) -> Option<&str> {
        match self {
            Self::Clear(text) => Some(text),
            Self::Sensitive(text) => Some(text.expose()),
            Self::Sealed(text) => Some(text),
            Self::Null => None,
        }
    }

    /// Takes a sensitive text out and leaves null in its place.
    pub(crate) fn take_sensitive(&mut self) -> Option<SecretText> {
        match std::mem::replace(self, Self::Null) {
            Self::Sensitive(text) => Some(text),
            other => {
                *self = other;
                None
            }
        }
    }
}

pub(super) fn flatten(data: SecretData) -> Vec<OutputMap> {
    let mut maps: Vec<OutputMap> = Vec::new();
    maps.extend(data.credentials.into_iter().map(credential));
    maps.extend(data.ssh_keys.into_iter().map(ssh_key));
    maps.extend(
        data.ephemeral_credentials
            .into_iter()
            .map(|item| match item.access_key {
                Some(key) => access_key(key),
                None => credential(item.credential),
            }),
    );
    maps.extend(data.access_keys.into_iter().map(access_key));
    if !data.key_values.is_empty() {
        let pairs = data
            .key_values
            .into_iter()
            .map(|(name, value)| match value.0 {
                Some(text) => (name, OutputValue::Sensitive(text)),
                None => (name, OutputValue::Null),
            });
        maps.push(OutputMap {
            pairs: pairs.collect(),
            key_values: true,
        });
    }
    maps
}

fn name<'a>(label: Option<&'a String>, usual: &'a str) -> &'a str {
    label.map_or(usual, String::as_str)
}

fn credential(item: Credential) -> OutputMap {
    let Labels {
        host,
        user,
        password,
        additional_information,
    } = &item.labels;
    let mut map = OutputMap::default();
    map.clear(name(host.as_ref(), "hostname"), item.host);
    map.clear(name(user.as_ref(), "username"), item.user);
    map.sensitive(name(password.as_ref(), "password"), item.password);
    map.clear(
        name(additional_information.as_ref(), "additional_information"),
        item.additional_information,
    );
    map.clear("ip", item.ip);
    map
}

fn ssh_key(item: SshKey) -> OutputMap {
    let Labels {
        host,
        user,
        password,
        additional_information,
    } = &item.labels;
    let mut map = OutputMap::default();
    map.clear(name(host.as_ref(), "hostname"), item.host);
    map.clear(name(user.as_ref(), "username"), item.user);
    map.sensitive(name(password.as_ref(), "password"), item.password);
    map.clear(
        name(additional_information.as_ref(), "additional_information"),
        item.additional_information,
    );
    map.clear("ip", item.ip);
    map.sensitive("private_key", item.private_key);
    map.clear("public_key", item.public_key);
    map
}

fn access_key(item: AccessKey) -> OutputMap {
    let mut map = OutputMap::default();
    map.clear(
        name(item.access_key_id_label.as_ref(), "access_key_id"),
        item.access_key_id,
    );
    map.sensitive(
        name(item.secret_access_key_label.as_ref(), "secret_access_key"),
        item.secret_access_key,
    );
    let ttl = item
        .ttl
        .map_or(OutputValue::Null, |ttl| OutputValue::Clear(ttl.to_string()));
    map.pairs.push(("TTL".to_owned(), ttl));
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{CloudProvider, EphemeralCredential, KeyValue};

    fn names(map: &OutputMap) -> Vec<&str> {
        map.iter().map(|(name, _)| name).collect()
    }

    fn everything() -> SecretData {
        let credential = || Credential {
            host: Some("h".into()),
            user: Some("u".into()),
            password: Some("p".into()),
            additional_information: Some("i".into()),
            ip: Some("1.2.3.4".into()),
            labels: Labels::default(),
            managed: None,
        };
        SecretData {
            credentials: vec![credential()],
            ssh_keys: vec![SshKey {
                user: Some("root".into()),
                private_key: Some("k".into()),
                public_key: Some("ssh-ed25519 x".into()),
                password: Some("phrase".into()),
                ..SshKey::default()
            }],
            ephemeral_credentials: vec![EphemeralCredential {
                profile: "web".into(),
                credential: credential(),
                access_key: None,
                ttl: Some(60),
            }],
            access_keys: vec![AccessKey {
                provider: CloudProvider::Aws,
                access_key_id: Some("AK".into()),
                secret_access_key: Some("sk".into()),
                ttl: None,
                access_key_id_label: None,
                secret_access_key_label: None,
                managed: None,
            }],
            key_values: [
                ("A".to_owned(), KeyValue(Some("1".into()))),
                ("B".to_owned(), KeyValue(None)),
            ]
            .into(),
        }
    }

    #[test]
    fn kinds_come_in_order_with_their_usual_names() {
        let maps = everything().into_output();
        let usual = [
            "hostname",
            "username",
            "password",
            "additional_information",
            "ip",
        ];
        assert_eq!(names(&maps[0]), usual);
        assert_eq!(
            names(&maps[1]),
            ["username", "password", "private_key", "public_key"]
        );
        assert_eq!(names(&maps[2]), usual);
        assert_eq!(
            names(&maps[3]),
            ["access_key_id", "secret_access_key", "TTL"]
        );
        assert_eq!(names(&maps[4]), ["A", "B"]);
        assert_eq!(maps.len(), 5);
        assert_eq!(maps[3].value("TTL"), Some(&OutputValue::Null));
        assert_eq!(maps[4].value("B"), Some(&OutputValue::Null));
    }

    #[test]
    fn only_sensitive_parts_are_marked_so() {
        let sensitive: Vec<_> = everything()
            .into_output()
            .iter()
            .flat_map(OutputMap::iter)
            .filter(|(_, value)| matches!(value, OutputValue::Sensitive(_)))
            .map(|(name, _)| name.to_owned())
            .collect();
        assert_eq!(
            sensitive,
            [
                "password",
                "password",
                "private_key",
                "password",
                "secret_access_key",
                "A"
            ]
        );
    }

    #[test]
    fn labels_replace_names() {
        let mut data = everything();
        data.credentials[0].labels = Labels {
            user: Some("DB_USER".into()),
            password: Some("DB_PASS".into()),
            ..Labels::default()
        };
        data.access_keys[0].secret_access_key_label = Some("SECRET".into());
        let maps = data.into_output();
        assert_eq!(
            names(&maps[0]),
            [
                "hostname",
                "DB_USER",
                "DB_PASS",
                "additional_information",
                "ip"
            ]
        );
        assert_eq!(names(&maps[3]), ["access_key_id", "SECRET", "TTL"]);
    }

    #[test]
    fn a_ttl_is_a_decimal_string() {
        let mut data = everything();
        data.access_keys[0].ttl = Some(3600);
        let maps = data.into_output();
        assert_eq!(
            maps[3].value("TTL").and_then(OutputValue::expose),
            Some("3600")
        );
    }

    #[test]
    fn nothing_gives_no_element() {
        assert_eq!(SecretData::default().into_output(), []);
    }

    #[test]
    fn labels_that_collide_are_refused() {
        let mut data = everything();
        data.credentials[0].labels.user = Some("password".into());
        let error = data.validate().expect_err("two parts, one name");
        assert_eq!(
            error.to_string(),
            "credentials[0]: two parts would both be called `password`"
        );
        data.credentials[0].labels.user = Some(String::new());
        assert!(data.validate().is_err());
        data.credentials[0].labels.user = None;
        assert_eq!(data.validate(), Ok(()));
        data.key_values.insert(String::new(), KeyValue(None));
        assert!(data.validate().is_err());
    }

    #[test]
    fn debug_shows_no_value() {
        let shown = format!("{:?}", SecretData::key_values([("NAME", "hunter2")]));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
