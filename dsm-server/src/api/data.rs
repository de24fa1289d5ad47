//! The values of secrets on the wire.
//!
//! In: one object with a block for each kind, or a plain object of names and values. Out: a list of
//! flat maps, in which every value is a text or null, because clients break on anything else.

pub mod shape;

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use dsm_core::secret::{
    AccessKey, CloudProvider, Credential, DataPatch, EphemeralCredential, KeyValue, Labels,
    Managed, OutputMap, SecretText, SshKey,
};
use dsm_core::vault::FieldError;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Map, Value};

use self::shape::{
    ACCESS_KEY, ACCESS_KEY_LABELS, ACCESS_KEY_TEXTS, BLOCKS, CREDENTIAL, CREDENTIAL_TEXTS,
    EPHEMERAL, GROUP, LABELS, Names, SSH_KEY, SSH_KEY_TEXTS,
};
use crate::http::json;

/// Base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How much is forgiven on input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// As `/iso` has it: unknown fields are ignored, null is absent, numbers and booleans become
    /// texts, an object without any known block is a map of key/value pairs, and all of it may
    /// come as text, in Base64 or not.
    Lenient,
    /// As `/api/v1` has it: an object of known fields of the right types.
    Strict,
}

/// Reads the values of a secret that came as `value` under the name `field`.
///
/// # Errors
///
/// Every wrong field by its path, such as `data.credentials[0].credential.fields.password`. No
/// message repeats a value.
pub fn read(
    field: &str,
    value: Value,
    strictness: Strictness,
) -> Result<DataPatch, Vec<FieldError>> {
    let mut reader = Reader {
        strictness,
        errors: Vec::new(),
    };
    let patch = reader.data(field, value);
    if reader.errors.is_empty() {
        Ok(patch)
    } else {
        Err(reader.errors)
    }
}

struct Reader {
    strictness: Strictness,
    errors: Vec<FieldError>,
}

/// An object on its way in, where it stands, and what it may have.
struct Object {
    path: String,
    fields: Map<String, Value>,
    known: [Names; 2],
}

impl Object {
    fn take(&mut self, name: &str) -> Option<(String, Value)> {
        let known = self.known.iter().any(|names| names.contains(&name));
        debug_assert!(known, "{name} is read and not declared");
        let value = self.fields.remove(name)?;
        Some((format!("{}.{name}", self.path), value))
    }
}

impl Reader {
    fn lenient(&self) -> bool {
        self.strictness == Strictness::Lenient
    }

    fn reject(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.errors.push(FieldError::new(path, message));
    }

    fn data(&mut self, path: &str, value: Value) -> DataPatch {
        let fields = match value {
            Value::Object(fields) => fields,
            Value::Null if self.lenient() => return DataPatch::default(),
            Value::String(text) if self.lenient() => {
                if text.trim().is_empty() {
                    return DataPatch::default();
                }
                match decode(&text) {
                    Ok(fields) => fields,
                    Err(message) => {
                        self.reject(path, message);
                        return DataPatch::default();
                    }
                }
            }
            _ => {
                self.reject(path, "must be an object");
                return DataPatch::default();
            }
        };
        if self.lenient() && !BLOCKS.iter().any(|block| fields.contains_key(*block)) {
            // Nothing at all is no pairs to write rather than the removal of all there are.
            let pairs = (!fields.is_empty()).then(|| {
                let mut pairs = BTreeMap::new();
                self.add_pairs(path, fields, &mut pairs);
                pairs
            });
            return DataPatch {
                key_values: pairs,
                ..DataPatch::default()
            };
        }
        let mut data = Object {
            path: path.to_owned(),
            fields,
            known: [BLOCKS, &[]],
        };
        let patch = DataPatch {
            credentials: self.items(
                &mut data,
                "credentials",
                &["credential"],
                CREDENTIAL,
                Self::credential,
            ),
            ssh_keys: self.items(&mut data, "ssh_keys", &["ssh_key"], SSH_KEY, Self::ssh_key),
            ephemeral_credentials: self.items(
                &mut data,
                "ephemeral_credentials",
                &["ephemeral_credential"],
                EPHEMERAL,
                Self::ephemeral_credential,
            ),
            access_keys: self.items(
                &mut data,
                "access_keys",
                &["access_key"],
                ACCESS_KEY,
                Self::access_key,
            ),
            key_values: self.key_values(&mut data),
        };
        self.done(&data);
        patch
    }

    /// A block: a list of objects, each with the one field `wrapper` that holds an item with the
    /// fields `item`.
    fn items<T>(
        &mut self,
        data: &mut Object,
        block: &str,
        wrapper: Names,
        item: Names,
        read: fn(&mut Self, Object) -> Option<T>,
    ) -> Option<Vec<T>> {
        let (path, value) = self.given(data, block)?;
        let Value::Array(list) = value else {
            self.reject(path, "must be a list");
            return None;
        };
        let mut items = Vec::with_capacity(list.len());
        for (index, value) in list.into_iter().enumerate() {
            let place = format!("{path}[{index}]");
            let Some(mut outer) = self.object(place, value, [wrapper, &[]]) else {
                continue;
            };
            if let Some((path, value)) = self.required(&mut outer, wrapper[0])
                && let Some(inner) = self.object(path, value, [item, &[]])
            {
                items.extend(read(self, inner));
            }
            self.done(&outer);
        }
        Some(items)
    }

    fn credential(&mut self, mut item: Object) -> Option<Credential> {
        let managed = self.managed(&mut item, &["pair_user"]);
        let mut fields = self.fields(&mut item, [CREDENTIAL_TEXTS, LABELS])?;
        let credential = Credential {
            host: self.text(&mut fields, "host"),
            user: self.text(&mut fields, "user"),
            password: self.secret(&mut fields, "password"),
            additional_information: self.text(&mut fields, "additional_information"),
            ip: self.text(&mut fields, "ip"),
            labels: self.labels(&mut fields),
            managed,
        };
        self.done(&fields);
        self.done(&item);
        Some(credential)
    }

    fn ssh_key(&mut self, mut item: Object) -> Option<SshKey> {
        let managed = self.managed(&mut item, &[]);
        let mut fields = self.fields(&mut item, [SSH_KEY_TEXTS, LABELS])?;
        let key = SshKey {
            host: self.text(&mut fields, "host"),
            user: self.text(&mut fields, "user"),
            private_key: self.secret(&mut fields, "private_key"),
            public_key: self.text(&mut fields, "public_key"),
            password: self.secret(&mut fields, "password"),
            additional_information: self.text(&mut fields, "additional_information"),
            ip: self.text(&mut fields, "ip"),
            labels: self.labels(&mut fields),
            managed,
        };
        self.done(&fields);
        self.done(&item);
        Some(key)
    }

    fn ephemeral_credential(&mut self, mut item: Object) -> Option<EphemeralCredential> {
        let profile = self
            .required(&mut item, "profile")
            .and_then(|(path, value)| self.text_of(path, value));
        let labels = match self.given(&mut item, "fields") {
            None => Labels::default(),
            Some((path, value)) => {
                let mut fields = self.object(path, value, [LABELS, &[]])?;
                let labels = self.labels(&mut fields);
                self.done(&fields);
                labels
            }
        };
        self.done(&item);
        Some(EphemeralCredential {
            profile: profile?,
            credential: Credential {
                labels,
                ..Credential::default()
            },
            access_key: None,
            ttl: None,
        })
    }

    fn access_key(&mut self, mut item: Object) -> Option<AccessKey> {
        let managed = self.managed(&mut item, &["user"]);
        let provider = self
            .required(&mut item, "type")
            .and_then(|(path, value)| self.provider(path, value));
        let mut fields = self.fields(&mut item, [ACCESS_KEY_TEXTS, ACCESS_KEY_LABELS])?;
        let access_key_id = self.text(&mut fields, "access_key_id");
        let secret_access_key = self.secret(&mut fields, "secret_access_key");
        let access_key_id_label = self.label(&mut fields, "access_key_id_label");
        let secret_access_key_label = self.label(&mut fields, "secret_access_key_label");
        self.done(&fields);
        self.done(&item);
        Some(AccessKey {
            provider: provider?,
            access_key_id,
            secret_access_key,
            ttl: None,
            access_key_id_label,
            secret_access_key_label,
            managed,
        })
    }

    fn provider(&mut self, path: String, value: Value) -> Option<CloudProvider> {
        let mut name = self.text_of(path.clone(), value)?;
        if self.lenient() {
            name.make_ascii_lowercase();
        }
        match name.as_str() {
            "aws" => Some(CloudProvider::Aws),
            "azure" => Some(CloudProvider::Azure),
            "gcp" => Some(CloudProvider::Gcp),
            _ => {
                self.reject(path, "must be aws, azure or gcp");
                None
            }
        }
    }

    /// `{fields}`, or a list of `{fields}`, `{name, fields}` and `{key_value: {fields}}`.
    fn key_values(&mut self, data: &mut Object) -> Option<BTreeMap<String, KeyValue>> {
        let (path, value) = self.given(data, "key_value")?;
        let mut pairs = BTreeMap::new();
        match value {
            Value::Array(list) => {
                for (index, item) in list.into_iter().enumerate() {
                    let place = format!("{path}[{index}]");
                    let Some(mut item) = self.object(place, item, [&["key_value"], GROUP]) else {
                        continue;
                    };
                    if let Some((path, inner)) = item.take("key_value") {
                        if let Some(inner) = self.object(path, inner, [GROUP, &[]]) {
                            self.group(inner, &mut pairs);
                        }
                        self.done(&item);
                    } else {
                        self.group(item, &mut pairs);
                    }
                }
            }
            value => {
                let group = self.object(path, value, [GROUP, &[]])?;
                self.group(group, &mut pairs);
            }
        }
        Some(pairs)
    }

    /// `{fields}`, with or without a name, which says nothing about the pairs.
    fn group(&mut self, mut group: Object, pairs: &mut BTreeMap<String, KeyValue>) {
        group.fields.remove("name");
        if let Some(fields) = self.fields(&mut group, [&[], &[]]) {
            self.add_pairs(&fields.path, fields.fields, pairs);
        }
        self.done(&group);
    }

    fn add_pairs(
        &mut self,
        path: &str,
        fields: Map<String, Value>,
        pairs: &mut BTreeMap<String, KeyValue>,
    ) {
        for (name, value) in fields {
            let value = match value {
                Value::Null => None,
                Value::String(text) => Some(SecretText::new(text)),
                Value::Number(number) => Some(SecretText::new(number.to_string())),
                Value::Bool(flag) => Some(SecretText::new(flag.to_string())),
                Value::Array(_) | Value::Object(_) => {
                    let place = format!("{path}.{}", shown(&name));
                    self.reject(place, "must be a single value");
                    continue;
                }
            };
            if pairs.contains_key(&name) {
                self.reject(
                    format!("{path}.{}", shown(&name)),
                    "is given more than once",
                );
            }
            pairs.insert(name, KeyValue(value));
        }
    }

    fn labels(&mut self, fields: &mut Object) -> Labels {
        Labels {
            host: self.label(fields, "host_label"),
            user: self.label(fields, "user_label"),
            password: self.label(fields, "password_label"),
            additional_information: self.label(fields, "additional_information_label"),
        }
    }

    fn label(&mut self, fields: &mut Object, name: &str) -> Option<String> {
        let label = self.text(fields, name)?;
        if !label.is_empty() {
            return Some(label);
        }
        // Forms of clients send the boxes that were left empty.
        if !self.lenient() {
            self.reject(format!("{}.{name}", fields.path), "must not be empty");
        }
        None
    }

    /// On which target the credential of an item is managed, with which of these `accounts` beside
    /// what its fields name. Clients have no say in it: whoever names an account is given its next
    /// password.
    fn managed(&mut self, item: &mut Object, accounts: Names) -> Option<Managed> {
        if self.lenient() {
            for name in ["target", "pair_user"] {
                if item
                    .fields
                    .remove(name)
                    .is_some_and(|value| !value.is_null())
                {
                    let message = "is for operators to set, over /api/v1";
                    self.reject(format!("{}.{name}", item.path), message);
                }
            }
            return None;
        }
        let target = self.text(item, "target");
        let mut account = |name| {
            let named = accounts.contains(&name).then(|| self.text(item, name))??;
            if target.is_none() {
                let message = "must not be given without a target";
                self.reject(format!("{}.{name}", item.path), message);
            }
            Some(named)
        };
        let (pair_user, user) = (account("pair_user"), account("user"));
        Some(Managed {
            target: target?,
            pair_user,
            user,
        })
    }

    /// The object `fields`, which every item must have.
    fn fields(&mut self, item: &mut Object, known: [Names; 2]) -> Option<Object> {
        let (path, value) = self.required(item, "fields")?;
        self.object(path, value, known)
    }

    /// A field if it is given; null is not, where that is forgiven.
    fn given(&self, object: &mut Object, name: &str) -> Option<(String, Value)> {
        object
            .take(name)
            .filter(|(_, value)| !(self.lenient() && value.is_null()))
    }

    fn required(&mut self, object: &mut Object, name: &str) -> Option<(String, Value)> {
        let found = object.take(name).filter(|(_, value)| !value.is_null());
        if found.is_none() {
            self.reject(format!("{}.{name}", object.path), "is required");
        }
        found
    }

    fn object(&mut self, path: String, value: Value, known: [Names; 2]) -> Option<Object> {
        if let Value::Object(fields) = value {
            return Some(Object {
                path,
                fields,
                known,
            });
        }
        self.reject(path, "must be an object");
        None
    }

    fn secret(&mut self, fields: &mut Object, name: &str) -> Option<SecretText> {
        self.text(fields, name).map(SecretText::new)
    }

    /// A text that may be left out or null.
    fn text(&mut self, fields: &mut Object, name: &str) -> Option<String> {
        match fields.take(name)? {
            (_, Value::Null) => None,
            (path, value) => self.text_of(path, value),
        }
    }

    fn text_of(&mut self, path: String, value: Value) -> Option<String> {
        match value {
            Value::String(text) => Some(text),
            Value::Number(number) if self.lenient() => Some(number.to_string()),
            Value::Bool(flag) if self.lenient() => Some(flag.to_string()),
            _ => {
                self.reject(path, "must be a text");
                None
            }
        }
    }

    /// Ends an object: what nobody asked for is an error where nothing is forgiven.
    fn done(&mut self, object: &Object) {
        if self.lenient() {
            return;
        }
        for name in object.fields.keys() {
            let place = format!("{}.{}", object.path, shown(name));
            self.reject(place, "is not a known field");
        }
    }
}

/// The object in a text: JSON as it is, or in Base64.
fn decode(text: &str) -> Result<Map<String, Value>, String> {
    let text = text.trim();
    if text.starts_with('{') {
        return json::read_object(text.as_bytes()).map_err(|error| error.to_string());
    }
    // Both alphabets are in use, and so are broken lines; a form that is not encoded turns every
    // plus into a space.
    let joined: Vec<u8> = text
        .bytes()
        .filter(|byte| !matches!(byte, b'\r' | b'\n' | b'\t'))
        .map(|byte| match byte {
            b'-' | b' ' => b'+',
            b'_' => b'/',
            other => other,
        })
        .collect();
    let decoded = BASE64
        .decode(joined)
        .map_err(|_| "must be an object or the Base64 of one".to_owned())?;
    json::read_object(&decoded).map_err(|error| error.to_string())
}

/// A name of the caller's in an error.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// Values on their way out: a list of flat maps of texts and nulls.
#[derive(Debug, Clone, Copy)]
pub struct Output<'a>(pub &'a [OutputMap]);

impl Serialize for Output<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Flat))
    }
}

impl JsonSchema for Output<'_> {
    fn schema_name() -> Cow<'static, str> {
        "Values".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A map for each credential, key and account, and one for all pairs",
            "type": "array",
            "items": {"type": "object", "additionalProperties": {"type": ["string", "null"]}},
        })
    }
}

struct Flat<'a>(&'a OutputMap);

impl Serialize for Flat<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.0.iter() {
            map.serialize_entry(name, &value.expose())?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests;
