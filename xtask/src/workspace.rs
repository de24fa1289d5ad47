//! What cargo knows about this workspace.

use serde_json::Value;

use crate::Failure;
use crate::sh::cargo;

/// One crate.
pub(crate) struct Package {
    pub(crate) name: String,
    /// The oldest toolchain it says it builds with.
    pub(crate) rust_version: Option<String>,
    targets: Vec<(String, String)>,
}

impl Package {
    /// The names of its targets of a kind: `bin`, `example`, `bench`.
    pub(crate) fn targets<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a str> {
        self.targets
            .iter()
            .filter(move |(of, _)| of == kind)
            .map(|(_, name)| name.as_str())
    }
}

/// The members of the workspace.
pub(crate) fn members() -> Result<Vec<Package>, Failure> {
    packages(&["--no-deps"])
}

/// The members and everything they depend on, from a lock file that must be up to date.
pub(crate) fn locked_graph() -> Result<Vec<Package>, Failure> {
    packages(&["--locked"])
}

fn packages(args: &[&str]) -> Result<Vec<Package>, Failure> {
    let json = cargo(["metadata", "--format-version", "1"])
        .args(args)
        .read()?;
    let metadata: Value = serde_json::from_str(&json)
        .map_err(|error| Failure(format!("`cargo metadata` printed no JSON: {error}")))?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    Ok(packages.map(package).collect())
}

fn package(value: &Value) -> Package {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let targets = value["targets"].as_array().into_iter().flatten();
    let targets = targets.flat_map(|target| {
        let kinds = target["kind"].as_array().into_iter().flatten();
        kinds.filter_map(|kind| Some((text(kind)?, text(&target["name"])?)))
    });
    Package {
        name: text(&value["name"]).unwrap_or_default(),
        rust_version: text(&value["rust_version"]),
        targets: targets.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_crate_is_a_member_with_its_binary() {
        let members = members().expect("cargo metadata answers");
        let own = members
            .iter()
            .find(|package| package.name == env!("CARGO_PKG_NAME"))
            .expect("is a member");
        assert_eq!(own.targets("bin").collect::<Vec<_>>(), ["xtask"]);
        assert_eq!(own.targets("bench").count(), 0);
        assert!(own.rust_version.is_some());
    }
}
