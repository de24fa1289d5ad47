//! The fields of a request, read one by one, every wrong one reported.
#![allow(
    clippy::option_option,
    reason = "as the vault's fields have it: left as they are, removed or set"
)]

mod shapes;

use chrono::{DateTime, NaiveDateTime, SubsecRound as _, Utc};
use dsm_core::access::{AuthenticationMethod, CredentialProfile};
use dsm_core::secret::{DataPatch, RenewalInterval};
use dsm_core::time::Timestamp;
use dsm_core::vault::FieldError;
use serde_json::Value;

use crate::api::data::{self, Strictness};
use crate::api::status::{Failure, Kind};
use crate::http::call::Call;
use crate::http::fields::Patch;
use crate::http::form::{self, Fields, FormError};
use crate::http::json;
use crate::http::operation::{Note, Notes, RequestBody, Shape};

/// The names of one field; the first is the one that errors use.
pub(super) type Names = &'static [&'static str];

/// Reads fields and collects what is wrong with them. Nothing read may be used before
/// [`finish`](Self::finish) has returned `Ok`.
///
/// What a body may have is what its reader asks for, as with
/// [`FieldReader`](crate::http::fields::FieldReader).
pub(super) struct Input {
    fields: Fields,
    errors: Vec<FieldError>,
    notes: Notes,
}

/// The body that `read` asks for, under every media type that is read.
pub(super) fn body_of<T>(read: impl FnOnce(Input) -> T) -> RequestBody {
    let notes = Notes::taken();
    // The result is what a reader makes of nothing.
    drop(read(Input {
        fields: Fields::default(),
        errors: Vec::new(),
        notes: notes.clone(),
    }));
    let notes = notes.all();
    let form: Vec<Note> = notes
        .iter()
        .map(|note| Note {
            shape: if note.required {
                shapes::filled()
            } else {
                Shape::text()
            },
            ..note.clone()
        })
        .collect();
    let form = Shape::object(form, true);
    RequestBody {
        required: notes.iter().any(|note| note.required),
        content: vec![
            (form::FORM, form.clone()),
            (form::JSON, Shape::object(notes, true)),
            (form::MULTIPART, form),
        ],
    }
}

impl From<FormError> for Failure {
    fn from(error: FormError) -> Self {
        let kind = match error {
            FormError::UnsupportedType(_) => Kind::UnsupportedType,
            FormError::Malformed(_) | FormError::Json(_) | FormError::TooManyFields => {
                Kind::Malformed
            }
        };
        Self::new(kind, error.to_string())
    }
}

impl Input {
    /// The fields of body and query.
    pub(super) fn of(call: &Call) -> Result<Self, Failure> {
        Ok(Self {
            fields: Fields::of(call)?,
            errors: Vec::new(),
            notes: Notes::default(),
        })
    }

    /// Nothing is wrong, or everything that is.
    pub(super) fn finish(self) -> Result<(), Failure> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(Failure::invalid(self.errors))
        }
    }

    pub(super) fn reject(&mut self, field: &str, message: impl Into<String>) {
        self.errors.push(FieldError::new(field, message));
    }

    fn checked<T: Default>(&mut self, result: Result<T, form::FieldError>) -> T {
        result.unwrap_or_else(|error| {
            self.reject(error.field, error.problem.to_string());
            T::default()
        })
    }

    /// A text that must be given and must not be empty.
    pub(super) fn required(&mut self, names: Names) -> Option<String> {
        self.notes.add(names[0], true, || shapes::scalar(false));
        let text = self.fields.required_text(names);
        let text = text.map(|text| Some(text.into_owned()));
        self.checked(text)
    }

    /// A text; `None` when absent or null.
    pub(super) fn text(&mut self, names: Names) -> Option<String> {
        self.text_of(names, || shapes::scalar(true))
    }

    /// A text of a certain shape, which the caller checks; `None` when absent or null.
    fn text_of(&mut self, names: Names, shape: impl FnOnce() -> Shape) -> Option<String> {
        self.notes.add(names[0], false, shape);
        let text = self.fields.text(names);
        let text = text.map(|text| text.map(std::borrow::Cow::into_owned));
        self.checked(text)
    }

    /// A text; `None` when absent, null or empty.
    pub(super) fn filled(&mut self, names: Names) -> Option<String> {
        self.text(names).filter(|text| !text.is_empty())
    }

    /// A text that the empty text removes.
    pub(super) fn removable(&mut self, names: Names) -> Option<Option<String>> {
        let text = self.text(names)?;
        Some((!text.is_empty()).then_some(text))
    }

    /// A boolean; `None` when absent, null or empty.
    pub(super) fn boolean(&mut self, names: Names) -> Option<bool> {
        self.notes.add(names[0], false, shapes::boolean);
        let flag = self.fields.boolean(names);
        self.checked(flag)
    }

    /// A list of texts; `None` when absent or null.
    pub(super) fn list(&mut self, names: Names) -> Option<Vec<String>> {
        self.notes.add(names[0], false, shapes::list);
        let list = self.fields.list(names);
        self.checked(list)
    }

    /// Any value; `None` when absent.
    fn value(&mut self, names: Names, shape: impl FnOnce() -> Shape) -> Option<Value> {
        self.notes.add(names[0], false, shape);
        let value = self.fields.value(names);
        let value = value.map(|value| value.map(std::borrow::Cow::into_owned));
        self.checked(value)
    }

    /// An instant, which the empty text removes: `YYYY-MM-DD HH:MM:SS`, UTC, or RFC 3339.
    pub(super) fn instant(&mut self, names: Names) -> Option<Option<Timestamp>> {
        let text = self.text_of(names, shapes::instants)?;
        let text = text.trim();
        if text.is_empty() {
            return Some(None);
        }
        let instant = instant(text);
        if instant.is_none() {
            self.reject(names[0], "must be YYYY-MM-DD HH:MM:SS, or empty");
        }
        Some(instant)
    }

    /// A timer: absent, null and the empty text leave it, `[]`, 0 and false turn it off.
    pub(super) fn timer(&mut self, names: Names) -> Option<Option<RenewalInterval>> {
        let value = self.value(names, shapes::timers)?;
        let Some(timer) = timer(&value) else {
            let message = "must be a whole number of minutes from 10 to 525600, or 0 for never";
            self.reject(names[0], message);
            return None;
        };
        match timer {
            Patch::Keep => None,
            Patch::Clear => Some(None),
            Patch::Set(interval) => Some(Some(interval)),
        }
    }

    /// The values of a secret.
    pub(super) fn data(&mut self, names: Names) -> DataPatch {
        let value = self.value(names, data::shape::lenient).unwrap_or_default();
        match data::read(names[0], value, Strictness::Lenient) {
            Ok(patch) => patch,
            Err(mut errors) => {
                self.errors.append(&mut errors);
                DataPatch::default()
            }
        }
    }

    /// How clients authenticate; `None` when absent, null or empty.
    pub(super) fn method(&mut self, names: Names) -> Option<AuthenticationMethod> {
        let text = self.text_of(names, shapes::methods)?;
        if text.is_empty() {
            return None;
        }
        let plain: String = text
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect();
        match plain.as_str() {
            "oauth2" | "oauth20" => Some(AuthenticationMethod::OAuth2),
            "oauth1" | "oauth10" => Some(AuthenticationMethod::OAuth1),
            "aws" => Some(AuthenticationMethod::Aws),
            _ => {
                self.reject(names[0], "must be OAuth 2.0, OAuth 1.0 or AWS");
                None
            }
        }
    }

    /// Texts by name, in a form as JSON; `None` when absent or null. Anything else is nothing by name.
    pub(super) fn texts_by_name(&mut self, names: Names) -> Option<Vec<(String, String)>> {
        let object = match self.value(names, shapes::objects_of_texts)? {
            Value::Null => return None,
            Value::String(text) => json::read(text.as_bytes()).unwrap_or_default(),
            value => value,
        };
        let pairs = object.as_object().and_then(|texts| {
            let pair =
                |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
            texts.iter().map(pair).collect()
        });
        Some(pairs.unwrap_or_default())
    }

    /// A list of `{device, profile}`, in a form as JSON; `None` when absent, null or empty.
    pub(super) fn profiles(&mut self, names: Names) -> Option<Vec<CredentialProfile>> {
        let value = match self.value(names, shapes::profile_lists)? {
            Value::Null => return None,
            Value::String(text) if text.trim().is_empty() => return None,
            Value::String(text) => json::read(text.as_bytes()).unwrap_or_default(),
            value => value,
        };
        let profiles = profiles(&value);
        if profiles.is_none() {
            let message = "must be a list of objects with the texts device and profile";
            self.reject(names[0], message);
        }
        profiles
    }
}

fn instant(text: &str) -> Option<Timestamp> {
    // `NaiveDateTime` would take single digits and years of any length.
    let instant = if text.len() == "YYYY-MM-DD HH:MM:SS".len() {
        let naive = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S")
            .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S"));
        naive.ok()?.and_utc()
    } else {
        DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Utc)
    };
    Some(instant.trunc_subsecs(6))
}

/// What a value says about a timer; `None` when it says nothing that is right.
fn timer(value: &Value) -> Option<Patch<RenewalInterval>> {
    let minutes = match value {
        Value::Null => return Some(Patch::Keep),
        Value::Bool(false) => 0,
        Value::Array(items) if items.is_empty() => 0,
        Value::Number(number) => number.as_i64()?,
        Value::String(text) => match text.trim() {
            "" => return Some(Patch::Keep),
            "[]" => 0,
            text if text.eq_ignore_ascii_case("false") => 0,
            text => text.parse().ok()?,
        },
        Value::Bool(true) | Value::Array(_) | Value::Object(_) => return None,
    };
    if minutes == 0 {
        return Some(Patch::Clear);
    }
    RenewalInterval::from_minutes(minutes).ok().map(Patch::Set)
}

fn profiles(value: &Value) -> Option<Vec<CredentialProfile>> {
    let text = |item: &Value, name| Some(item.get(name)?.as_str()?.to_owned());
    let profile = |item| {
        Some(CredentialProfile {
            device: text(item, "device")?,
            profile: text(item, "profile")?,
        })
    };
    value.as_array()?.iter().map(profile).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Patch, RenewalInterval, instant, timer};

    #[test]
    fn instants_without_an_offset_are_utc() {
        for (text, expected) in [
            ("2030-01-31 12:00:00", "2030-01-31T12:00:00+00:00"),
            ("2030-01-31T12:00:00", "2030-01-31T12:00:00+00:00"),
            ("2030-01-31T12:00:00Z", "2030-01-31T12:00:00+00:00"),
            ("2030-01-31 13:00:00+01:00", "2030-01-31T12:00:00+00:00"),
            (
                "2030-01-31T12:00:00.1234567Z",
                "2030-01-31T12:00:00.123456+00:00",
            ),
        ] {
            let found = instant(text).map(|at| at.to_rfc3339());
            assert_eq!(found.as_deref(), Some(expected), "{text}");
        }
        for text in [
            "2030-01-31",
            "31/01/2030 12:00:00",
            "2030-02-30 12:00:00",
            "2030-1-31 12:00:00",
            "2030-01-31 24:00:00",
            "1900000000",
            "tomorrow",
        ] {
            assert_eq!(instant(text), None, "{text}");
        }
    }

    #[test]
    fn timers_are_left_turned_off_or_set() {
        for left in [Value::Null, json!(""), json!(" ")] {
            assert_eq!(timer(&left), Some(Patch::Keep), "{left}");
        }
        for off in [
            json!([]),
            json!(0),
            json!(false),
            json!("0"),
            json!("false"),
            json!("[]"),
        ] {
            assert_eq!(timer(&off), Some(Patch::Clear), "{off}");
        }
        for (on, minutes) in [
            (json!(10), 10),
            (json!("30"), 30),
            (json!(525_600), 525_600),
        ] {
            let interval = RenewalInterval::from_minutes(minutes).expect("in range");
            assert_eq!(timer(&on), Some(Patch::Set(interval)), "{on}");
        }
        for wrong in [
            json!(1),
            json!(9),
            json!(-10),
            json!(10.5),
            json!(525_601),
            json!("soon"),
            json!("10.5"),
            json!(true),
            json!([10]),
            json!({}),
        ] {
            assert_eq!(timer(&wrong), None, "{wrong}");
        }
    }
}
