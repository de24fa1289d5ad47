//! The management API: requests, and what answers mean.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use dsm_core::provider::{Login, Proof, ProviderError, Target};
use dsm_core::secret::SecretText;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::http::{Answer, Endpoint, Ports};
use crate::outcome::unclear;

const PORTS: Ports = Ports {
    tls: 15_671,
    plain: 15_672,
};
/// How many users or connections are listed at a time.
const PAGE: usize = 500;
/// More pages than that are no list that could be read in time.
const PAGES: usize = 1_000;

/// The API as somebody may use it.
pub(super) struct Api<'a> {
    endpoint: Endpoint<'a>,
    authorization: HeaderValue,
}

/// What a login is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Welcome,
    Wrong,
}

/// A user as it is listed.
#[derive(Debug, Deserialize)]
pub(super) struct User {
    #[serde(deserialize_with = "tags", default)]
    pub(super) tags: Vec<String>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Connection {
    name: String,
    #[serde(default)]
    user: String,
}

/// A list, of which some versions give pages where they are asked for.
#[derive(Deserialize)]
#[serde(untagged)]
enum Listed<T> {
    Page { page_count: usize, items: Vec<T> },
    All(Vec<T>),
}

#[derive(Deserialize)]
struct Permission {
    vhost: String,
}

/// How it says no.
#[derive(Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    reason: serde_json::Value,
}

impl<'a> Api<'a> {
    /// As the admin of a target.
    pub(super) fn of(target: &'a Target) -> Result<Self, ProviderError> {
        let Login { user, proof } = &target.admin;
        match proof {
            Proof::Password(password) => Self::as_user(target, user, password),
            Proof::PrivateKey { .. } => Err(ProviderError::Refused(
                "the admin of RabbitMQ proves itself by a password".to_owned(),
            )),
        }
    }

    /// As somebody else.
    pub(super) fn as_user(
        target: &'a Target,
        user: &str,
        password: &SecretText,
    ) -> Result<Self, ProviderError> {
        let pair = Zeroizing::new(format!("{user}:{}", password.expose()));
        let basic = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())));
        let mut authorization = HeaderValue::from_str(&basic)
            .map_err(|error| ProviderError::Refused(error.to_string()))?;
        authorization.set_sensitive(true);
        Ok(Self {
            endpoint: Endpoint::new(&target.address, PORTS, &target.options)?,
            authorization,
        })
    }

    /// Whether this user may log in, with or without a right to the management.
    pub(super) async fn log_in(&self) -> Result<Said, ProviderError> {
        let answer = self.ask(Method::GET, "whoami", None).await?;
        if answer.status == StatusCode::OK {
            return match serde_json::from_slice::<Named>(&answer.body) {
                Ok(_) => Ok(Said::Welcome),
                Err(_) => Err(nonsense(false)),
            };
        }
        match (answer.status, refusal(&answer)) {
            (StatusCode::UNAUTHORIZED, Some(Refusal { error, reason })) if is_denial(&error) => {
                // The password was right where it says what the user lacks.
                match reason.as_str() {
                    Some("Not management user") => Ok(Said::Welcome),
                    Some("Login failed" | "Not_Authorized") => Ok(Said::Wrong),
                    reason => Err(ProviderError::Refused(format!(
                        "it does not say whether the password is right: {}",
                        reason.unwrap_or("no reason")
                    ))),
                }
            }
            _ => Err(meaning(&answer, false)),
        }
    }

    /// What is there; none when it says that there is no such thing.
    pub(super) async fn find<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Option<T>, ProviderError> {
        let answer = self.ask(Method::GET, path, None).await?;
        if answer.status == StatusCode::OK {
            let found = serde_json::from_slice(&answer.body);
            return found.map(Some).map_err(|_| nonsense(false));
        }
        if is_absent(&answer) {
            return Ok(None);
        }
        Err(meaning(&answer, false))
    }

    /// Makes something be as said.
    pub(super) async fn put(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<(), ProviderError> {
        let answer = self.ask(Method::PUT, path, Some(body)).await?;
        match answer.status {
            StatusCode::CREATED | StatusCode::NO_CONTENT => Ok(()),
            _ => Err(meaning(&answer, true)),
        }
    }

    /// Makes something be gone.
    pub(super) async fn delete(&self, path: &str) -> Result<(), ProviderError> {
        let answer = self.ask(Method::DELETE, path, None).await?;
        match answer.status {
            StatusCode::NO_CONTENT => Ok(()),
            _ if is_absent(&answer) => Ok(()),
            _ => Err(meaning(&answer, true)),
        }
    }

    /// The names of all users.
    pub(super) async fn users(&self) -> Result<Vec<String>, ProviderError> {
        let users: Vec<Named> = self.pages("users", "name").await?;
        Ok(users.into_iter().map(|user| user.name).collect())
    }

    /// The names of the connections of a user.
    pub(super) async fn connections(&self, user: &str) -> Result<Vec<String>, ProviderError> {
        let all: Vec<Connection> = self.pages("connections", "name,user").await?;
        let own = all.into_iter().filter(|it| it.user == user);
        Ok(own.map(|connection| connection.name).collect())
    }

    /// The virtual hosts in which a user may do something.
    pub(super) async fn permissions(&self, user: &str) -> Result<Vec<String>, ProviderError> {
        let path = format!("{}/permissions", path(&["users", user]));
        let held: Option<Vec<Permission>> = self.find(&path).await?;
        let held = held.unwrap_or_default();
        Ok(held
            .into_iter()
            .map(|permission| permission.vhost)
            .collect())
    }

    async fn pages<T: DeserializeOwned>(
        &self,
        what: &str,
        columns: &str,
    ) -> Result<Vec<T>, ProviderError> {
        let mut all = Vec::new();
        for number in 1..=PAGES {
            let path = format!("{what}?page={number}&page_size={PAGE}&columns={columns}");
            let listed = self.find(&path).await?;
            let (page_count, items) = match listed.ok_or_else(|| nonsense(false))? {
                Listed::Page { page_count, items } => (page_count, items),
                Listed::All(items) => (1, items),
            };
            all.extend(items);
            if number >= page_count {
                return Ok(all);
            }
        }
        Err(ProviderError::Unavailable(
            "the list does not end".to_owned(),
        ))
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<Answer, ProviderError> {
        let changes = method != Method::GET;
        let body = body.map(ToString::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/{path}"))
            .header(AUTHORIZATION, self.authorization.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(Bytes::from(body))
            .map_err(|error| ProviderError::Refused(error.to_string()))?;
        let answer = self.endpoint.ask(request).await;
        answer.map_err(|none| none.of(changes))
    }
}

/// The path of something by the names that lead to it, whatever is in them.
pub(super) fn path(names: &[&str]) -> String {
    let names = names.iter();
    let names: Vec<String> = names
        .map(|name| utf8_percent_encode(name, NON_ALPHANUMERIC).to_string())
        .collect();
    names.join("/")
}

/// An error after which something was changed already.
pub(super) fn after_a_change(error: &ProviderError) -> ProviderError {
    ProviderError::OutcomeUnknown(error.message().to_owned())
}

/// An answer that is none of RabbitMQ's.
pub(super) fn nonsense(changes: bool) -> ProviderError {
    unclear(changes, "the answer is not one of RabbitMQ's management")
}

/// What an answer means that is not the one hoped for.
fn meaning(answer: &Answer, changes: bool) -> ProviderError {
    let status = answer.status;
    match refusal(answer) {
        Some(Refusal { error, reason }) if status.is_client_error() => {
            let reason = match reason {
                serde_json::Value::String(reason) => reason,
                _ => error,
            };
            ProviderError::Refused(reason)
        }
        _ => unclear(changes, format!("status {}", status.as_u16())),
    }
}

/// Whether RabbitMQ itself says that there is no such thing.
fn is_absent(answer: &Answer) -> bool {
    answer.status == StatusCode::NOT_FOUND
        && refusal(answer).is_some_and(|it| it.error == "Object Not Found")
}

fn is_denial(error: &str) -> bool {
    // The spelling changed with version 3.13.
    error == "not_authorised" || error == "not_authorized"
}

fn refusal(answer: &Answer) -> Option<Refusal> {
    serde_json::from_slice(&answer.body).ok()
}

/// Tags are a list, and were a text with commas before version 3.9.
fn tags<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Tags {
        List(Vec<String>),
        Text(String),
    }
    Ok(match Tags::deserialize(deserializer)? {
        Tags::List(tags) => tags,
        Tags::Text(text) => text
            .split(',')
            .filter(|tag| !tag.is_empty())
            .map(str::to_owned)
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &'static str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    #[test]
    fn names_are_one_step_of_a_path() {
        assert_eq!(path(&["users", "../a b/%"]), "users/%2E%2E%2Fa%20b%2F%25");
    }

    #[test]
    fn only_rabbitmq_can_say_that_something_is_gone() {
        let gone = r#"{"error":"Object Not Found","reason":"Not Found"}"#;
        assert!(is_absent(&answer(404, gone)));
        assert!(!is_absent(&answer(404, "<h1>Not Found</h1>")));
        assert!(!is_absent(&answer(200, gone)));
    }

    #[test]
    fn what_may_have_taken_effect_is_not_called_refused() {
        let no = r#"{"error":"bad_request","reason":"too short"}"#;
        let refused = ProviderError::Refused("too short".to_owned());
        assert_eq!(meaning(&answer(400, no), true), refused);
        for (status, body) in [
            (500, no),
            (503, ""),
            (302, ""),
            (404, "<html>"),
            (200, "{}"),
        ] {
            let answer = answer(status, body);
            let change = meaning(&answer, true);
            assert!(
                matches!(change, ProviderError::OutcomeUnknown(_)),
                "{change}"
            );
            let question = meaning(&answer, false);
            assert!(
                matches!(question, ProviderError::Unavailable(_)),
                "{question}"
            );
        }
    }
}
