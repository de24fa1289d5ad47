//! `POST /iso/cicd/variables`: what a pipeline has in its environment, and which of it is secret.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet::Alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use dsm_core::pipeline::{
    Assignments, MappedAccessKey, MappedCredential, MappedKeyValues, Mapping,
};
use dsm_core::secret::CloudProvider;
use dsm_core::vault::VariableRegistration;
use http::StatusCode;
use serde::Deserialize as _;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::auth::Attempts;
use super::input::Input;
use super::reply::{Nothing, done};

use crate::api::status::Failure;
use crate::app::App;
use crate::http::call::{Call, Reply};
use crate::http::json;

/// Registers variables. The answer says no more than that it is done.
pub(super) async fn register(app: &App, call: &Call) -> Result<Reply, Failure> {
    let mut attempts = Attempts::default();
    loop {
        let principal = attempts.principal(app, call).await?;
        let registration = registration_of(Input::of(call)?)?;
        let registered = app.vault.register_variables(&principal, registration).await;
        if !attempts.again(&registered) {
            registered?;
            break;
        }
    }
    let message = "Variables registered successfully.";
    Ok(done(StatusCode::OK, message, Nothing {}))
}

pub(super) fn registration_of(mut input: Input) -> Result<VariableRegistration, Failure> {
    let env = input.filled(&["env"]).map(Zeroizing::new);
    let map = input.filled(&["map"]);
    let variables = env.and_then(|text| match assignments(&text) {
        Ok(variables) => Some(variables),
        Err(message) => {
            input.reject("env", message);
            None
        }
    });
    let mapping = map.map(|text| mapping(&mut input, &text));
    input.finish()?;
    Ok(VariableRegistration {
        variables: variables.unwrap_or_default(),
        mapping: mapping.unwrap_or_default(),
    })
}

fn assignments(text: &str) -> Result<Assignments, String> {
    let decoded = decode(text)?;
    let text = std::str::from_utf8(&decoded).map_err(|_| "must be UTF-8 in Base64".to_owned())?;
    Assignments::parse(text).map_err(|error| error.to_string())
}

/// Base64 as these clients write it: `-`, `_` and `,` in place of `+`, `/` and `=`. Padding may be
/// left out.
fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let alphabet =
        Alphabet::new("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
            .expect("64 different characters");
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::RequireNone);
    let unpadded = text.trim();
    let bare = unpadded.trim_end_matches(',');
    let padding = unpadded.len() - bare.len();
    let decoded = GeneralPurpose::new(&alphabet, config).decode(bare);
    match decoded {
        Ok(decoded) if padding == 0 || unpadded.len().is_multiple_of(4) && padding <= 2 => {
            Ok(Zeroizing::new(decoded))
        }
        _ => Err("must be Base64 with `-`, `_` and `,` in place of `+`, `/` and `=`".to_owned()),
    }
}

/// Reads a mapping; what is wrong with it is told to `input`.
fn mapping(input: &mut Input, text: &str) -> Mapping {
    let object = decode(text)
        .and_then(|decoded| json::read_object(&decoded).map_err(|error| error.to_string()));
    let mut reader = MapReader {
        input,
        mapping: Mapping::default(),
    };
    match object {
        Ok(blocks) => reader.blocks(blocks),
        Err(message) => reader.input.reject("map", message),
    }
    reader.mapping
}

struct MapReader<'i> {
    input: &'i mut Input,
    mapping: Mapping,
}

/// One entry of a block: its place, the name of its secret, and its other members.
struct Entry {
    place: String,
    name: String,
    members: Map<String, Value>,
}

impl MapReader<'_> {
    fn blocks(&mut self, mut blocks: Map<String, Value>) {
        for entry in self.entries("access_keys", blocks.remove("access_keys")) {
            let provider = self.provider(&entry);
            let mut fields = self.fields(&entry);
            self.mapping.access_keys.push(MappedAccessKey {
                name: entry.name,
                provider,
                access_key_id: fields.remove("access_key_id"),
                secret_access_key: fields.remove("secret_access_key"),
            });
        }
        for entry in self.entries("credentials", blocks.remove("credentials")) {
            let mut fields = self.fields(&entry);
            self.mapping.credentials.push(MappedCredential {
                name: entry.name,
                user: fields.remove("user"),
                password: fields.remove("password"),
                host: fields.remove("host"),
                additional_information: fields.remove("additional_information"),
            });
        }
        for entry in self.entries("key_value", blocks.remove("key_value")) {
            let variables = self.variables(&entry);
            self.mapping.key_values.push(MappedKeyValues {
                name: entry.name,
                variables,
            });
        }
    }

    /// The entries of a block, which may be absent or null.
    fn entries(&mut self, block: &str, value: Option<Value>) -> Vec<Entry> {
        let items = match value {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(_) => {
                self.reject(&format!("map.{block}"), "must be a list");
                return Vec::new();
            }
        };
        let mut entries = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let place = format!("map.{block}[{index}]");
            let Value::Object(mut members) = item else {
                self.reject(&place, "must be an object");
                continue;
            };
            match members.remove("name") {
                Some(Value::String(name)) => entries.push(Entry {
                    place,
                    name,
                    members,
                }),
                _ => self.reject(&format!("{place}.name"), "must be a text"),
            }
        }
        entries
    }

    fn provider(&mut self, entry: &Entry) -> CloudProvider {
        let provider = entry.members.get("type").cloned().unwrap_or_default();
        CloudProvider::deserialize(provider).unwrap_or_else(|_| {
            self.reject(
                &format!("{}.type", entry.place),
                "must be aws, azure or gcp",
            );
            CloudProvider::Aws
        })
    }

    /// The names of variables by the field that each stands for; an empty one is none.
    fn fields(&mut self, entry: &Entry) -> BTreeMap<String, String> {
        let place = format!("{}.fields", entry.place);
        let Some(Value::Object(members)) = entry.members.get("fields") else {
            self.reject(&place, "must be an object");
            return BTreeMap::new();
        };
        let mut fields = BTreeMap::new();
        for (field, value) in members {
            match value {
                Value::String(name) if !name.is_empty() => {
                    fields.insert(field.clone(), name.clone());
                }
                Value::String(_) | Value::Null => {}
                _ => {
                    let shown: String =
                        field.chars().filter(|c| !c.is_control()).take(64).collect();
                    self.reject(
                        &format!("{place}.{shown}"),
                        "must be the name of a variable",
                    );
                }
            }
        }
        fields
    }

    fn variables(&mut self, entry: &Entry) -> Vec<String> {
        let place = format!("{}.fields", entry.place);
        let Some(Value::Array(items)) = entry.members.get("fields") else {
            self.reject(&place, "must be a list of names of variables");
            return Vec::new();
        };
        let mut variables = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match item {
                Value::String(name) => variables.push(name.clone()),
                _ => self.reject(
                    &format!("{place}[{index}]"),
                    "must be the name of a variable",
                ),
            }
        }
        variables
    }

    fn reject(&mut self, field: &str, message: &str) {
        self.input.reject(field, message);
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

    use super::decode;

    #[test]
    fn the_alphabet_is_that_of_the_clients() {
        for bytes in [
            &b""[..],
            b"a",
            b"ab",
            b"abc",
            &[0xfb, 0xff, 0xfe],
            &[0xff; 7],
        ] {
            let standard = BASE64_STANDARD.encode(bytes);
            let custom = standard
                .replace('+', "-")
                .replace('/', "_")
                .replace('=', ",");
            assert_eq!(*decode(&custom).unwrap(), bytes);
            assert_eq!(*decode(custom.trim_end_matches(',')).unwrap(), bytes);
        }
        for wrong in [
            "+w,,", "/w,,", "_w==", "!", "a", "YQ,", "YQ,,,", "YWI,,", "Y,Q,", "é",
        ] {
            assert!(decode(wrong).is_err(), "{wrong}");
        }
    }
}
