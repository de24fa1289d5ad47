use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A part of the interface for applications that an authorization may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Resource {
    /// The application itself, with its secrets, and provisioning.
    Application,
    /// Variables of pipelines.
    CiCd,
    /// Secrets one by one.
    SecretManagement,
}

/// A name that is none of a [`Resource`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a resource is Application, CI/CD or Secret Management")]
pub struct UnknownResource;

impl Resource {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Application, Self::CiCd, Self::SecretManagement];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Application => "Application",
            Self::CiCd => "CI/CD",
            Self::SecretManagement => "Secret Management",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Resource {
    type Err = UnknownResource;

    /// Reads the name on the wire, or `Secrets Management`, in any case.
    fn from_str(text: &str) -> Result<Self, UnknownResource> {
        // Clients and documents of the vendor use both spellings.
        if text.eq_ignore_ascii_case("Secrets Management") {
            return Ok(Self::SecretManagement);
        }
        Self::ALL
            .into_iter()
            .find(|resource| text.eq_ignore_ascii_case(resource.as_str()))
            .ok_or(UnknownResource)
    }
}

impl From<Resource> for String {
    fn from(resource: Resource) -> Self {
        resource.as_str().to_owned()
    }
}

impl TryFrom<String> for Resource {
    type Error = UnknownResource;

    fn try_from(text: String) -> Result<Self, UnknownResource> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::{Resource, UnknownResource};

    #[test]
    fn names_read_back_in_any_case_and_both_spellings() {
        for resource in Resource::ALL {
            assert_eq!(resource.to_string().parse(), Ok(resource));
            assert_eq!(resource.as_str().to_uppercase().parse(), Ok(resource));
            assert_eq!(resource.as_str().to_lowercase().parse(), Ok(resource));
            let json = serde_json::to_string(&resource).unwrap();
            assert_eq!(json, format!("\"{resource}\""));
            assert_eq!(serde_json::from_str::<Resource>(&json).unwrap(), resource);
        }
        assert_eq!("CI/CD".parse(), Ok(Resource::CiCd));
        assert_eq!("Application".parse(), Ok(Resource::Application));
        for spelling in ["Secret Management", "secrets management"] {
            assert_eq!(spelling.parse(), Ok(Resource::SecretManagement));
        }
        for other in ["", "CICD", "Application ", "Secret  Management"] {
            assert_eq!(other.parse::<Resource>(), Err(UnknownResource));
        }
        assert!(serde_json::from_str::<Resource>("\"Everything\"").is_err());
    }
}
