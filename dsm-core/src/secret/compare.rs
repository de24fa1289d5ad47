use serde::Serialize;

use super::{OutputMap, OutputValue, Secret, SecretData};

/// What differs between two versions, field by field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Comparison {
    /// The later version.
    pub from: u64,
    /// The earlier version.
    pub to: u64,
    /// Fields that are not the same, in a fixed order.
    pub differences: Vec<Difference>,
}

/// A field that differs. Sensitive values are never shown, only that they changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Difference {
    /// Its name; for data such as `data[0].password`.
    pub field: String,
    /// What happened between the earlier and the later version: `added`, `removed` or `changed`.
    pub change: &'static str,
    /// In the later version; absent for values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// In the earlier version; absent for values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// Compares version `later` with `earlier`. Data that was destroyed counts as absent.
pub fn compare(later: (&Secret, SecretData), earlier: (&Secret, SecretData)) -> Comparison {
    let mut differences = Vec::new();
    let (now, then) = (metadata(later.0), metadata(earlier.0));
    for ((field, from), (_, to)) in now.into_iter().zip(then) {
        difference(&mut differences, field.to_owned(), from, to);
    }
    let (now, then) = (later.1.into_output(), earlier.1.into_output());
    let none = OutputMap::default();
    for index in 0..now.len().max(then.len()) {
        let (now, then) = (
            now.get(index).unwrap_or(&none),
            then.get(index).unwrap_or(&none),
        );
        let only_then = then.iter().filter(|(name, _)| now.value(name).is_none());
        for (name, _) in now.iter().chain(only_then) {
            let field = format!("data[{index}].{name}");
            values(&mut differences, field, now.value(name), then.value(name));
        }
    }
    Comparison {
        from: later.0.version,
        to: earlier.0.version,
        differences,
    }
}

fn metadata(secret: &Secret) -> Vec<(&'static str, Option<String>)> {
    let minutes =
        |interval: Option<super::RenewalInterval>| interval.map(|i| i.minutes().to_string());
    vec![
        ("identity", Some(secret.identity.to_string())),
        ("name", Some(secret.name.clone())),
        ("enabled", Some(secret.enabled.to_string())),
        ("engine", Some(secret.engine.to_string())),
        ("environment", secret.environment.map(|id| id.to_string())),
        ("expires_at", secret.expires_at.map(|at| at.to_rfc3339())),
        (
            "tags",
            (!secret.tags.is_empty()).then(|| secret.tags.join(", ")),
        ),
        (
            "description",
            (!secret.description.is_empty()).then(|| secret.description.clone()),
        ),
        ("renew.cloud", minutes(secret.renew.cloud)),
        ("renew.credential", minutes(secret.renew.credential)),
        ("renew.ephemeral", minutes(secret.renew.ephemeral)),
    ]
}

fn difference(out: &mut Vec<Difference>, field: String, from: Option<String>, to: Option<String>) {
    if from != to {
        let change = kind(from.is_some(), to.is_some());
        out.push(Difference {
            field,
            change,
            from,
            to,
        });
    }
}

fn values(
    out: &mut Vec<Difference>,
    field: String,
    from: Option<&OutputValue>,
    to: Option<&OutputValue>,
) {
    if from != to {
        let change = kind(from.is_some(), to.is_some());
        out.push(Difference {
            field,
            change,
            from: None,
            to: None,
        });
    }
}

fn kind(later: bool, earlier: bool) -> &'static str {
    match (later, earlier) {
        (true, false) => "added",
        (false, true) => "removed",
        _ => "changed",
    }
}
