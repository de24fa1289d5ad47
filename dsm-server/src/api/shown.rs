//! Credentials as both interfaces show them.

use dsm_core::vault::Credentials;
use schemars::JsonSchema;
use serde::Serialize;

/// The credentials of the application's method.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Credentials")]
#[serde(untagged)]
pub(super) enum Shown<'a> {
    OAuth2 {
        client_id: &'a str,
        client_secret: &'a str,
    },
    OAuth1 {
        consumer_key: &'a str,
        consumer_secret: &'a str,
        token: &'a str,
        token_secret: &'a str,
    },
    Aws {
        unique_key: &'a str,
    },
}

impl<'a> From<&'a Credentials> for Shown<'a> {
    fn from(credentials: &'a Credentials) -> Self {
        match credentials {
            Credentials::OAuth2(credentials) => Self::OAuth2 {
                client_id: &credentials.client_id,
                client_secret: credentials.client_secret.expose(),
            },
            Credentials::OAuth1(credentials) => Self::OAuth1 {
                consumer_key: &credentials.consumer_key,
                consumer_secret: credentials.consumer_secret.expose(),
                token: &credentials.token,
                token_secret: credentials.token_secret.expose(),
            },
            Credentials::Aws { unique_key } => Self::Aws {
                unique_key: unique_key.expose(),
            },
        }
    }
}
