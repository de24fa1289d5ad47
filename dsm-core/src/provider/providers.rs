use std::collections::BTreeMap;
use std::sync::Arc;

use super::Provider;

/// The providers of a vault, by the name under which targets choose one.
#[derive(Debug, Clone, Default)]
pub struct Providers(BTreeMap<String, Arc<dyn Provider>>);

impl Providers {
    /// Adds a provider; one of the same name is replaced.
    pub fn with(mut self, name: impl Into<String>, provider: Arc<dyn Provider>) -> Self {
        self.0.insert(name.into(), provider);
        self
    }

    /// The provider of this name.
    pub fn find(&self, name: &str) -> Option<&Arc<dyn Provider>> {
        self.0.get(name)
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
