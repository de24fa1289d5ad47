//! Which variables of a pipeline make up which secrets.

use std::collections::{BTreeMap, BTreeSet};

use super::Assignments;
use crate::secret::{
    AccessKey, CloudProvider, Credential, DataPatch, Identity, KeyValue, Labels, SecretData,
    SecretText,
};

/// Which variables make up which secrets; every field names a variable.
#[derive(Debug, Default)]
pub struct Mapping {
    /// Access keys of cloud providers.
    pub access_keys: Vec<MappedAccessKey>,
    /// User names with passwords.
    pub credentials: Vec<MappedCredential>,
    /// Key/value pairs.
    pub key_values: Vec<MappedKeyValues>,
}

/// An access key in the secret `name`.
#[derive(Debug)]
pub struct MappedAccessKey {
    /// Name and identity of the secret.
    pub name: String,
    /// Whose key.
    pub provider: CloudProvider,
    /// The variable that has the public part.
    pub access_key_id: Option<String>,
    /// The variable that has the sensitive part.
    pub secret_access_key: Option<String>,
}

/// A credential in the secret `name`.
#[derive(Debug, Default)]
pub struct MappedCredential {
    /// Name and identity of the secret.
    pub name: String,
    /// The variable that has the account.
    pub user: Option<String>,
    /// The variable that has the password.
    pub password: Option<String>,
    /// The variable that has the host.
    pub host: Option<String>,
    /// The variable that has a remark.
    pub additional_information: Option<String>,
}

/// Key/value pairs in the secret `name`, each called like its variable.
#[derive(Debug, Default)]
pub struct MappedKeyValues {
    /// Name and identity of the secret.
    pub name: String,
    /// The variables.
    pub variables: Vec<String>,
}

/// A secret that a mapping makes of variables.
#[derive(Debug)]
pub struct MappedSecret {
    /// Its identity, which is its name as well.
    pub identity: Identity,
    /// Its values: the kinds that the mapping names. Applications get each under the name of its
    /// variable, so that a pipeline finds them where they were.
    pub data: DataPatch,
    /// The variables in it.
    pub variables: BTreeSet<String>,
}

/// What is wrong with one field of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingFault {
    /// The field, such as `credentials[0].fields.password`.
    pub field: String,
    /// What is wrong, without the value of any variable.
    pub message: String,
}

/// The most secrets in one mapping: each is looked up and written.
const MAX_SECRETS: usize = 100;

impl Mapping {
    /// The secrets that it makes of `variables`. Entries of the same name go into one secret.
    ///
    /// # Errors
    ///
    /// Everything that is wrong.
    pub fn resolve(self, variables: &Assignments) -> Result<Vec<MappedSecret>, Vec<MappingFault>> {
        let mut resolver = Resolver {
            variables,
            secrets: BTreeMap::new(),
            faults: Vec::new(),
        };
        for (index, item) in self.access_keys.into_iter().enumerate() {
            resolver.access_key(&format!("access_keys[{index}]"), item);
        }
        for (index, item) in self.credentials.into_iter().enumerate() {
            resolver.credential(&format!("credentials[{index}]"), item);
        }
        for (index, item) in self.key_values.into_iter().enumerate() {
            resolver.key_values(&format!("key_value[{index}]"), item);
        }
        resolver.finish()
    }
}

struct Resolver<'v> {
    variables: &'v Assignments,
    secrets: BTreeMap<Identity, (SecretData, BTreeSet<String>)>,
    faults: Vec<MappingFault>,
}

impl Resolver<'_> {
    fn access_key(&mut self, place: &str, item: MappedAccessKey) {
        let mut used = BTreeSet::new();
        let (id, key) = (item.access_key_id, item.secret_access_key);
        let access_key = AccessKey {
            provider: item.provider,
            access_key_id: self.plain(place, "access_key_id", id.as_deref(), &mut used),
            secret_access_key: self.value(place, "secret_access_key", key.as_deref(), &mut used),
            ttl: None,
            access_key_id_label: id,
            secret_access_key_label: key,
            managed: None,
        };
        self.put(place, &item.name, used, |data| {
            data.access_keys.push(access_key);
        });
    }

    fn credential(&mut self, place: &str, item: MappedCredential) {
        let mut used = BTreeSet::new();
        let remark = item.additional_information;
        let credential = Credential {
            host: self.plain(place, "host", item.host.as_deref(), &mut used),
            user: self.plain(place, "user", item.user.as_deref(), &mut used),
            password: self.value(place, "password", item.password.as_deref(), &mut used),
            additional_information: self.plain(
                place,
                "additional_information",
                remark.as_deref(),
                &mut used,
            ),
            ip: None,
            labels: Labels {
                host: item.host,
                user: item.user,
                password: item.password,
                additional_information: remark,
            },
            managed: None,
        };
        self.put(place, &item.name, used, |data| {
            data.credentials.push(credential);
        });
    }

    fn key_values(&mut self, place: &str, item: MappedKeyValues) {
        let mut used = BTreeSet::new();
        let mut pairs = Vec::new();
        for (index, name) in item.variables.into_iter().enumerate() {
            let field = format!("{place}.fields[{index}]");
            if let Some(value) = self.find(&field, &name, &mut used) {
                pairs.push((name, KeyValue(Some(value))));
            }
        }
        self.put(place, &item.name, used, |data| {
            data.key_values.extend(pairs);
        });
    }

    fn plain(
        &mut self,
        place: &str,
        field: &str,
        variable: Option<&str>,
        used: &mut BTreeSet<String>,
    ) -> Option<String> {
        let value = self.value(place, field, variable, used)?;
        Some(value.expose().to_owned())
    }

    fn value(
        &mut self,
        place: &str,
        field: &str,
        variable: Option<&str>,
        used: &mut BTreeSet<String>,
    ) -> Option<SecretText> {
        self.find(&format!("{place}.fields.{field}"), variable?, used)
    }

    fn find(
        &mut self,
        field: &str,
        variable: &str,
        used: &mut BTreeSet<String>,
    ) -> Option<SecretText> {
        used.insert(variable.to_owned());
        let Some(value) = self.variables.find(variable) else {
            self.reject(field, "names a variable that env does not have");
            return None;
        };
        // Which of them is the secret, nobody can tell from here.
        if self.variables.is_repeated(variable) {
            self.reject(field, "names a variable that env has more than once");
        }
        Some(value.duplicate())
    }

    fn put(
        &mut self,
        place: &str,
        name: &str,
        used: BTreeSet<String>,
        add: impl FnOnce(&mut SecretData),
    ) {
        if used.is_empty() {
            self.reject(&format!("{place}.fields"), "names no variable");
        }
        match name.parse::<Identity>() {
            Ok(identity) => {
                let (data, variables) = self.secrets.entry(identity).or_default();
                add(data);
                variables.extend(used);
            }
            Err(error) => self.reject(&format!("{place}.name"), error.to_string()),
        }
    }

    fn reject(&mut self, field: &str, message: impl Into<String>) {
        self.faults.push(MappingFault {
            field: field.to_owned(),
            message: message.into(),
        });
    }

    fn finish(mut self) -> Result<Vec<MappedSecret>, Vec<MappingFault>> {
        let secrets = std::mem::take(&mut self.secrets);
        if secrets.len() > MAX_SECRETS {
            self.reject("", format!("must name at most {MAX_SECRETS} secrets"));
        }
        let mut resolved = Vec::with_capacity(secrets.len());
        for (identity, (data, variables)) in secrets {
            if let Err(error) = data.validate() {
                self.reject("", format!("{identity}: {error}"));
            }
            resolved.push(MappedSecret {
                identity,
                data: named(data),
                variables,
            });
        }
        if self.faults.is_empty() {
            Ok(resolved)
        } else {
            Err(self.faults)
        }
    }
}

/// The kinds that have something replace what there was of them, the others stay.
fn named(data: SecretData) -> DataPatch {
    DataPatch {
        credentials: (!data.credentials.is_empty()).then_some(data.credentials),
        access_keys: (!data.access_keys.is_empty()).then_some(data.access_keys),
        key_values: (!data.key_values.is_empty()).then_some(data.key_values),
        ..DataPatch::default()
    }
}

#[cfg(test)]
mod tests {
    use super::{Assignments, MappedAccessKey, MappedCredential, MappedKeyValues, Mapping};
    use crate::secret::{CloudProvider, OutputMap, SecretData};

    #[allow(clippy::unnecessary_wraps, reason = "what fields and values are")]
    fn text(name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    fn shown(data: &[OutputMap]) -> Vec<Vec<(String, Option<String>)>> {
        let pairs = |map: &OutputMap| {
            let pairs = map
                .iter()
                .map(|(name, value)| (name.to_owned(), value.expose().map(str::to_owned)));
            pairs.collect()
        };
        data.iter().map(pairs).collect()
    }

    #[test]
    fn entries_of_one_name_make_one_secret_with_the_variables_names() {
        let variables = Assignments::parse("U=u\nP=p\nH=h\nID=id\nK=k\nA=1\nB=2").unwrap();
        let mapping = Mapping {
            access_keys: vec![MappedAccessKey {
                name: "cloud".to_owned(),
                provider: CloudProvider::Gcp,
                access_key_id: text("ID"),
                secret_access_key: text("K"),
            }],
            credentials: vec![MappedCredential {
                name: "team/db".to_owned(),
                user: text("U"),
                password: text("P"),
                host: text("H"),
                ..MappedCredential::default()
            }],
            key_values: vec![MappedKeyValues {
                name: "team/db".to_owned(),
                variables: vec!["A".to_owned(), "B".to_owned()],
            }],
        };
        let mut resolved = mapping.resolve(&variables).unwrap();
        let db = resolved.pop().unwrap();
        let cloud = resolved.pop().unwrap();
        assert!(resolved.is_empty());
        assert_eq!(
            (db.identity.as_str(), cloud.identity.as_str()),
            ("team/db", "cloud")
        );
        assert_eq!(db.variables.len(), 5);
        let data = SecretData::default().apply(db.data).into_output();
        assert_eq!(
            shown(&data),
            [
                vec![
                    ("H".to_owned(), text("h")),
                    ("U".to_owned(), text("u")),
                    ("P".to_owned(), text("p"))
                ],
                vec![("A".to_owned(), text("1")), ("B".to_owned(), text("2"))],
            ]
        );
        assert!(
            cloud.data.credentials.is_none(),
            "other kinds stay as they are"
        );
        let data = SecretData::default().apply(cloud.data).into_output();
        assert_eq!(
            shown(&data)[0][..2],
            [("ID".to_owned(), text("id")), ("K".to_owned(), text("k"))]
        );
    }

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        let variables = Assignments::parse("U=hunter2\nTWICE=hunter2\nTWICE=hunter3").unwrap();
        let mapping = Mapping {
            credentials: vec![
                MappedCredential {
                    name: "a//b".to_owned(),
                    user: text("U"),
                    password: text("MISSING"),
                    ..MappedCredential::default()
                },
                MappedCredential {
                    name: "empty".to_owned(),
                    ..MappedCredential::default()
                },
                MappedCredential {
                    name: "double".to_owned(),
                    user: text("U"),
                    password: text("U"),
                    ..MappedCredential::default()
                },
            ],
            key_values: vec![MappedKeyValues {
                name: "kv".to_owned(),
                variables: vec!["TWICE".to_owned()],
            }],
            ..Mapping::default()
        };
        let faults = mapping.resolve(&variables).unwrap_err();
        let fields: Vec<&str> = faults.iter().map(|fault| &*fault.field).collect();
        assert_eq!(
            fields,
            [
                "credentials[0].fields.password",
                "credentials[0].name",
                "credentials[1].fields",
                "key_value[0].fields[0]",
                "",
            ]
        );
        assert!(!format!("{faults:?}").contains("hunter"), "{faults:?}");
    }

    #[test]
    fn at_most_a_hundred_secrets_are_mapped() {
        let variables = Assignments::parse("A=1").unwrap();
        let mapping = |count| Mapping {
            key_values: (0..count)
                .map(|n| MappedKeyValues {
                    name: format!("s{n}"),
                    variables: vec!["A".to_owned()],
                })
                .collect(),
            ..Mapping::default()
        };
        assert_eq!(mapping(100).resolve(&variables).unwrap().len(), 100);
        assert!(mapping(101).resolve(&variables).is_err());
    }
}
