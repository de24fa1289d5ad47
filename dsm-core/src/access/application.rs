use serde::{Deserialize, Serialize};

use crate::id::RegistryId;

/// A program, or a group of them, that reads secrets through its authorizations.
///
/// It is the content only; id, revision and the stamps of its making and changing are kept beside
/// it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// The name it is looked up by.
    pub name: String,
    /// How its clients prove who they are.
    pub authentication_method: AuthenticationMethod,
    /// The line of business it belongs to.
    pub line_of_business: Option<RegistryId>,
    /// What sort of application it is.
    pub application_type: Option<RegistryId>,
    /// Whether its clients may authenticate.
    pub enabled: bool,
    /// Free labels.
    pub tags: Vec<String>,
    /// For people; no decision reads it.
    pub description: Option<String>,
    /// The AWS principals that may be its clients, as ARNs.
    pub aws_arns: Vec<String>,
    /// Whether a new authorization gets credentials made from the profiles below.
    pub automatic_provisioning: bool,
    /// Profiles of cloud accounts to provision.
    pub cloud_profiles: Vec<String>,
    /// Profiles of credentials to provision, each on a device.
    pub credential_profiles: Vec<CredentialProfile>,
}

/// How clients of an application prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum AuthenticationMethod {
    /// OAuth 2.0 client credentials ([RFC 6749](https://www.rfc-editor.org/rfc/rfc6749)).
    #[serde(rename = "oauth2")]
    OAuth2,
    /// Requests signed by OAuth 1.0 ([RFC 5849](https://www.rfc-editor.org/rfc/rfc5849)).
    #[serde(rename = "oauth1")]
    OAuth1,
    /// An AWS identity, vouched for by AWS itself.
    #[serde(rename = "aws")]
    Aws,
}

/// A profile that makes credentials on a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CredentialProfile {
    /// Host name or address of the device.
    pub device: String,
    /// The profile's identifier.
    pub profile: String,
}
