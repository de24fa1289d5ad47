//! Identifiers as newtypes: a secret's id cannot be handed to a call that wants an application's.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Declares one id newtype over `u64` whose text and serialised form is the decimal string.
macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIntError;

            fn from_str(text: &str) -> Result<Self, ParseIntError> {
                text.parse().map(Self)
            }
        }

        impl From<$name> for u64 {
            fn from(id: $name) -> u64 {
                id.0
            }
        }

        impl From<u64> for $name {
            fn from(id: u64) -> Self {
                Self(id)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                crate::schema::id()
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

ids! {
    /// A [`Secret`](crate::secret::Secret).
    SecretId;
    /// An [`Application`](crate::access::Application).
    ApplicationId;
    /// An [`Authorization`](crate::access::Authorization).
    AuthorizationId;
    /// One set of credentials of an authorization.
    ClientId;
    /// An [`Operator`](crate::access::Operator): a person or program that manages the vault.
    OperatorId;
    /// An environment, system, engine, application type or line of business.
    RegistryId;
    /// A target: a system whose credentials are managed.
    TargetId;
    /// An attempt to rotate a credential.
    AttemptId;
    /// A [`Profile`](crate::provision::Profile) that accounts are provisioned by.
    ProfileId;
    /// A lease of a provisioned account.
    LeaseId;
    /// A [`Variable`](crate::pipeline::Variable) of a pipeline.
    VariableId;
    /// A [`Deploy`](crate::pipeline::Deploy).
    DeployId;
}

#[cfg(test)]
mod tests {
    use super::SecretId;

    #[test]
    fn ids_are_decimal_strings_in_json() {
        let json = serde_json::to_string(&SecretId(7)).expect("an id serialises");
        assert_eq!(json, "\"7\"");
        assert_eq!(
            serde_json::from_str::<SecretId>(&json).expect("and back"),
            SecretId(7)
        );
        assert!(serde_json::from_str::<SecretId>("7").is_err());
        assert!("-1".parse::<SecretId>().is_err());
    }
}
