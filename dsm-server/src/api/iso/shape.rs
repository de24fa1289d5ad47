//! Secrets and applications as this surface shows them.

use std::borrow::Cow;
use std::fmt::Display;

use dsm_core::access;
use dsm_core::id::SecretId;
use dsm_core::secret::RenewalInterval;
use dsm_core::time::Timestamp;
use dsm_core::vault::OpenedSecret;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::api::data::Output;

/// A secret in full.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "IsoSecret")]
#[allow(clippy::struct_field_names, reason = "the names on the wire")]
pub(super) struct Secret<'a> {
    secret_id: SecretId,
    secret_name: &'a str,
    identity: &'a str,
    version: Text<u64>,
    description: &'a str,
    expiration_date: Instant,
    engine: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    renew_cloud_time: Option<Renewal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    renew_credential_time: Option<Renewal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    renew_ephemeral_credential_time: Option<Renewal>,
    data: Output<'a>,
}

impl<'a> Secret<'a> {
    /// As it stands under its application: without timers.
    pub(super) fn brief(opened: &'a OpenedSecret) -> Self {
        let secret = &opened.secret;
        Self {
            secret_id: secret.id,
            secret_name: &secret.name,
            identity: secret.identity.as_str(),
            version: Text(secret.version),
            description: &secret.description,
            expiration_date: Instant(secret.content.expires_at),
            engine: &opened.engine,
            renew_cloud_time: None,
            renew_credential_time: None,
            renew_ephemeral_credential_time: None,
            data: Output(&opened.data),
        }
    }

    /// As it stands alone.
    pub(super) fn full(opened: &'a OpenedSecret) -> Self {
        let renew = &opened.secret.renew;
        Self {
            renew_cloud_time: Some(Renewal(renew.cloud)),
            renew_credential_time: Some(Renewal(renew.credential)),
            renew_ephemeral_credential_time: Some(Renewal(renew.ephemeral)),
            ..Self::brief(opened)
        }
    }
}

/// An application with secrets of one of its authorizations.
#[derive(Serialize, JsonSchema)]
pub(super) struct ApplicationBody<'a> {
    pub(super) application: Application<'a>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "IsoApplication")]
pub(super) struct Application<'a> {
    name: &'a str,
    description: Option<&'a str>,
    tags: &'a [String],
    system: &'a str,
    environment: &'a str,
    secrets: Vec<Secret<'a>>,
}

impl<'a> ApplicationBody<'a> {
    pub(super) fn new(
        application: &'a access::Application,
        system: &'a str,
        environment: &'a str,
        secrets: &'a [OpenedSecret],
    ) -> Self {
        Self {
            application: Application {
                name: &application.name,
                description: application.description.as_deref(),
                tags: &application.tags,
                system,
                environment,
                secrets: secrets.iter().map(Secret::brief).collect(),
            },
        }
    }
}

/// A number that clients want as text.
struct Text<T>(T);

impl<T: Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// An instant as `YYYY-MM-DD HH:MM:SS` in UTC; none is an empty text.
struct Instant(Option<Timestamp>);

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(at) => serializer.collect_str(&at.format("%Y-%m-%d %H:%M:%S")),
            None => serializer.serialize_str(""),
        }
    }
}

/// Minutes between renewals, or `false`.
struct Renewal(Option<RenewalInterval>);

impl Serialize for Renewal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(interval) => serializer.serialize_u32(interval.minutes()),
            None => serializer.serialize_bool(false),
        }
    }
}

impl<T> JsonSchema for Text<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "DecimalText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[0-9]+$"})
    }
}

impl JsonSchema for Instant {
    fn schema_name() -> Cow<'static, str> {
        "IsoInstant".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "YYYY-MM-DD HH:MM:SS in UTC, or empty for none",
            "type": "string",
            "pattern": r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)?$",
        })
    }
}

impl JsonSchema for Renewal {
    fn schema_name() -> Cow<'static, str> {
        "IsoRenewal".into()
    }

    fn json_schema(schemas: &mut SchemaGenerator) -> Schema {
        let minutes = schemas.subschema_for::<RenewalInterval>();
        json_schema!({"anyOf": [minutes, {"const": false}]})
    }
}
