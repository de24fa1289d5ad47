//! Strict JSON: bounded in depth and size, one value per key, whole numbers exact or refused.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use thiserror::Error;

/// The deepest nesting of objects and lists.
pub const MAX_DEPTH: usize = 32;
/// The most keys in all objects together.
pub const MAX_KEYS: usize = 1_000;

/// The longest path of keys that an error shows, in characters.
const SHOWN_PATH: usize = 120;

/// Why a text is not accepted as JSON. Names keys, never values.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JsonError {
    /// Not JSON, or not UTF-8.
    #[error("malformed JSON at line {line}, column {column}")]
    Malformed {
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in bytes.
        column: usize,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("JSON nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// More than [`MAX_KEYS`] keys.
    #[error("JSON with more than {MAX_KEYS} keys")]
    TooManyKeys,
    /// A key stands twice in one object.
    #[error("the key {path} is given twice")]
    DuplicateKey {
        /// The keys that lead there, joined by dots.
        path: String,
    },
    /// A whole number that cannot be kept exactly: send it as text.
    #[error("the number at {path} is too large to be kept exactly")]
    Number {
        /// The keys that lead there, joined by dots.
        path: String,
    },
    /// JSON, but not an object.
    #[error("the body is not a JSON object")]
    NotAnObject,
}

/// Reads one JSON value and nothing after it.
///
/// # Errors
///
/// [`JsonError`], which repeats no value of the input.
pub fn read(text: &[u8]) -> Result<Value, JsonError> {
    let reading = Reading::default();
    let seed = Node {
        reading: &reading,
        depth: 0,
    };
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let result = seed
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    result.map_err(|error| {
        let refused = reading.refused.borrow_mut().take();
        refused.unwrap_or_else(|| JsonError::Malformed {
            line: error.line(),
            column: error.column(),
        })
    })
}

/// Reads one JSON object and nothing after it.
///
/// # Errors
///
/// As [`read`], and [`JsonError::NotAnObject`].
pub fn read_object(text: &[u8]) -> Result<Map<String, Value>, JsonError> {
    match read(text)? {
        Value::Object(object) => Ok(object),
        _ => Err(JsonError::NotAnObject),
    }
}

/// What one text shares between its nodes.
#[derive(Default)]
struct Reading {
    path: RefCell<Vec<String>>,
    keys: Cell<usize>,
    refused: RefCell<Option<JsonError>>,
}

impl Reading {
    /// Remembers the reason, since a deserializer's error carries text only.
    fn refuse<E: serde::de::Error>(&self, reason: JsonError) -> E {
        *self.refused.borrow_mut() = Some(reason);
        E::custom("refused")
    }

    fn shown_path(&self) -> String {
        let path = self.path.borrow().join(".");
        path.chars()
            .take(SHOWN_PATH)
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect()
    }
}

#[derive(Clone, Copy)]
struct Node<'r> {
    reading: &'r Reading,
    depth: usize,
}

impl Node<'_> {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(self.reading.refuse(JsonError::TooDeep));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    /// Takes fractions; a whole number arrives here only when it fits no integer, and a double
    /// would silently round it.
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        Number::from_f64(value)
            .filter(|_| value.abs() <= EXACT)
            .map(Value::Number)
            .ok_or_else(|| {
                let path = self.reading.shown_path();
                self.reading.refuse(JsonError::Number { path })
            })
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let keys = self.reading.keys.get() + 1;
            if keys > MAX_KEYS {
                return Err(self.reading.refuse(JsonError::TooManyKeys));
            }
            self.reading.keys.set(keys);
            self.reading.path.borrow_mut().push(key.clone());
            if object.contains_key(&key) {
                let path = self.reading.shown_path();
                return Err(self.reading.refuse(JsonError::DuplicateKey { path }));
            }
            let value = entries.next_value_seed(inner)?;
            self.reading.path.borrow_mut().pop();
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::{JsonError, MAX_DEPTH, MAX_KEYS, read, read_object};

    #[test]
    fn plain_json_is_read_as_it_is() {
        let text = r#" {"a":[1,-2,1.5,true,null,"x\n\u00e9"],"b":{"c":{}}} "#;
        let expected = json!({"a":[1,-2,1.5,true,null,"x\né"],"b":{"c":{}}});
        assert_eq!(read(text.as_bytes()), Ok(expected));
        assert_eq!(read_object(b"[1]"), Err(JsonError::NotAnObject));
    }

    #[test]
    fn duplicate_keys_are_named() {
        let duplicate = |path: &str| Err(JsonError::DuplicateKey { path: path.into() });
        assert_eq!(read(br#"{"a":1,"a":1}"#), duplicate("a"));
        assert_eq!(
            read(br#"{"x":[{"b":{"c":1,"\u0063":2}}]}"#),
            duplicate("x.b.c")
        );
        assert!(read(br#"{"a":{"b":1},"b":{"a":1}}"#).is_ok());
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth| ["[".repeat(depth), "]".repeat(depth)].concat();
        assert!(read(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(
            read(nested(MAX_DEPTH + 1).as_bytes()),
            Err(JsonError::TooDeep)
        );
        assert_eq!(
            read("{\"a\":".repeat(100_000).as_bytes()),
            Err(JsonError::TooDeep)
        );
    }

    #[test]
    fn keys_are_counted_over_all_objects() {
        let objects = |count: usize| {
            let objects = vec![r#"{"a":1}"#; count].join(",");
            format!("[{objects}]")
        };
        assert!(read(objects(MAX_KEYS).as_bytes()).is_ok());
        assert_eq!(
            read(objects(MAX_KEYS + 1).as_bytes()),
            Err(JsonError::TooManyKeys)
        );
    }

    #[test]
    fn numbers_are_exact_or_refused() {
        assert_eq!(read(b"18446744073709551615"), Ok(json!(u64::MAX)));
        for text in ["-1e-50", "0.1", "9.999999999999999e-51"] {
            let read = read(text.as_bytes()).expect(text);
            assert_eq!(read.to_string(), text);
        }
        for text in [
            "{\"n\":18446744073709551616}",
            "{\"n\":1e300}",
            "{\"n\":-1e17}",
        ] {
            let path = "n".into();
            assert_eq!(
                read(text.as_bytes()),
                Err(JsonError::Number { path }),
                "{text}"
            );
        }
    }

    #[test]
    fn errors_repeat_no_value() {
        for text in [
            r#"{"password":"hunter2" "#,
            r#"{"password":"hunter2"} hunter2"#,
            r#"{"password":hunter2}"#,
            r#"{"a":"hunter2","a":"hunter2"}"#,
            "{\"a\":\"hunter2\\ud800\"}",
        ] {
            let error = read(text.as_bytes()).expect_err(text);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
        assert!(read(b"\"\xff\"").is_err());
        assert!(read(b"").is_err());
    }

    proptest! {
        #[test]
        fn accepts_only_what_serde_accepts_and_reads_it_alike(text in "[\\[\\]{}:,\"ab0-9.e\\\\ -]{0,40}") {
            if let Ok(value) = read(text.as_bytes()) {
                let other: serde_json::Value =
                    serde_json::from_str(&text).expect("the strict reader accepts less");
                prop_assert_eq!(value, other);
            }
        }
    }
}
