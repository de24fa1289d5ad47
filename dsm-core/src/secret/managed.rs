use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::data::keep_provisioned;
use super::{AccessKey, Credential, DataError, SecretData, SshKey};

/// Which account on which target an item's credential is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Managed {
    /// The target's name.
    pub target: String,
    /// The second account, for credentials of two accounts in turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair_user: Option<String>,
    /// The account that a cloud access key is of; other items name it themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// The kinds of items that can be managed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ItemKind {
    /// A user name and password.
    Credential,
    /// An SSH key.
    SshKey,
    /// A cloud access key.
    AccessKey,
}

/// An item whose credential is managed, as a secret's metadata has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ManagedItem {
    /// What it is.
    pub kind: ItemKind,
    /// The target's name.
    pub target: String,
    /// The account that is served.
    pub user: String,
    /// The other account, for two in turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair_user: Option<String>,
}

impl ItemKind {
    /// The name in messages and in the trail.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::SshKey => "ssh_key",
            Self::AccessKey => "access_key",
        }
    }
}

impl ManagedItem {
    /// The accounts that are changed for it.
    pub fn accounts(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.user)
            .chain(&self.pair_user)
            .map(String::as_str)
    }

    /// Whether it is this item, whichever of two accounts is served.
    pub fn is_same(&self, other: &Self) -> bool {
        let sorted = |item: &Self| item.accounts().map(str::to_owned).collect::<BTreeSet<_>>();
        self.kind == other.kind && self.target == other.target && sorted(self) == sorted(other)
    }

    /// One text for each account of it that nothing else may manage.
    pub fn claims(&self) -> impl Iterator<Item = String> {
        let (kind, target) = (self.kind.as_str(), &self.target);
        self.accounts()
            .map(move |account| format!("{kind}\0{target}\0{account}"))
    }

    /// A text for the item, whichever of two accounts is served.
    pub fn key(&self) -> String {
        let mut claims: Vec<_> = self.claims().collect();
        claims.sort_unstable();
        claims.join("\0\0")
    }

    pub(super) fn of_credential(item: &Credential) -> Option<Self> {
        let managed = item.managed.as_ref()?;
        Some(Self::new(ItemKind::Credential, managed, item.user.as_ref()))
    }

    pub(super) fn of_ssh_key(item: &SshKey) -> Option<Self> {
        let managed = item.managed.as_ref()?;
        Some(Self::new(ItemKind::SshKey, managed, item.user.as_ref()))
    }

    pub(super) fn of_access_key(item: &AccessKey) -> Option<Self> {
        let managed = item.managed.as_ref()?;
        Some(Self::new(
            ItemKind::AccessKey,
            managed,
            managed.user.as_ref(),
        ))
    }

    fn new(kind: ItemKind, managed: &Managed, user: Option<&String>) -> Self {
        Self {
            kind,
            target: managed.target.clone(),
            user: user.cloned().unwrap_or_default(),
            pair_user: managed.pair_user.clone(),
        }
    }
}

impl SecretData {
    /// The items whose credentials are managed.
    pub fn managed(&self) -> Vec<ManagedItem> {
        self.placed().into_iter().map(|(_, item)| item).collect()
    }

    /// Where a managed item is in the list of its kind.
    pub(crate) fn place_of(&self, wanted: &ManagedItem) -> Option<usize> {
        let placed = self.placed();
        let of_kind = placed.iter().filter(|(_, item)| item.kind == wanted.kind);
        let mut found = of_kind.filter(|(_, item)| item.is_same(wanted));
        found.next().map(|(index, _)| *index)
    }

    /// Managed and ephemeral items keep what `now` has of them: what is restored from an older version
    /// would not log in any more.
    pub(crate) fn keep_managed(&mut self, now: Self) {
        let mut theirs = now;
        for item in &mut self.ephemeral_credentials {
            item.forget_account();
        }
        keep_provisioned(
            &mut self.ephemeral_credentials,
            &theirs.ephemeral_credentials,
        );
        for item in self.managed() {
            let (Some(to), Some(from)) = (self.place_of(&item), theirs.place_of(&item)) else {
                continue;
            };
            match item.kind {
                ItemKind::Credential => {
                    std::mem::swap(&mut self.credentials[to], &mut theirs.credentials[from]);
                }
                ItemKind::SshKey => {
                    std::mem::swap(&mut self.ssh_keys[to], &mut theirs.ssh_keys[from]);
                }
                ItemKind::AccessKey => {
                    std::mem::swap(&mut self.access_keys[to], &mut theirs.access_keys[from]);
                }
            }
        }
    }

    /// Every managed item with its place in the list of its kind.
    fn placed(&self) -> Vec<(usize, ManagedItem)> {
        fn of<T>(
            items: &[T],
            managed: fn(&T) -> Option<ManagedItem>,
        ) -> impl Iterator<Item = (usize, ManagedItem)> {
            let placed = items.iter().enumerate();
            placed.filter_map(move |(index, item)| Some((index, managed(item)?)))
        }
        of(&self.credentials, ManagedItem::of_credential)
            .chain(of(&self.ssh_keys, ManagedItem::of_ssh_key))
            .chain(of(&self.access_keys, ManagedItem::of_access_key))
            .collect()
    }

    /// Refuses managed items that name no account, or one twice.
    pub(super) fn check_managed(&self) -> Result<(), DataError> {
        let mut claimed = BTreeSet::new();
        for (index, item) in self.placed() {
            let list = match item.kind {
                ItemKind::Credential => "credentials",
                ItemKind::SshKey => "ssh_keys",
                ItemKind::AccessKey => "access_keys",
            };
            let wrong = |message| DataError::Managed {
                item: format!("{list}[{index}]"),
                message,
            };
            if !item.accounts().all(is_account) {
                return Err(wrong(
                    "a managed item names its user, with 1 to 128 bytes and no control characters",
                ));
            }
            if item.pair_user.is_some() && item.kind != ItemKind::Credential {
                return Err(wrong("only credentials have a pair_user"));
            }
            if !item.claims().all(|claim| claimed.insert(claim)) {
                return Err(wrong("an account is managed by one item only"));
            }
        }
        Ok(())
    }
}

fn is_account(name: &str) -> bool {
    (1..=128).contains(&name.len()) && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(user: &str, pair: Option<&str>, password: &str) -> Credential {
        Credential {
            user: Some(user.to_owned()),
            password: Some(password.into()),
            managed: Some(Managed {
                target: "db".to_owned(),
                pair_user: pair.map(str::to_owned),
                user: None,
            }),
            ..Credential::default()
        }
    }

    fn data(credentials: Vec<Credential>) -> SecretData {
        SecretData {
            credentials,
            ..SecretData::default()
        }
    }

    #[test]
    fn an_item_is_the_same_whichever_account_is_served() {
        let one = data(vec![credential("a", Some("b"), "1")]).managed();
        let other = data(vec![credential("b", Some("a"), "1")]).managed();
        assert!(one[0].is_same(&other[0]));
        assert_eq!(one[0].key(), other[0].key());
        let third = data(vec![credential("a", None, "1")]).managed();
        assert!(!one[0].is_same(&third[0]));
    }

    #[test]
    fn an_account_is_managed_once_and_named() {
        for (bad, part) in [
            (vec![credential("", None, "1")], "names its user"),
            (vec![credential("a\n", None, "1")], "names its user"),
            (vec![credential("a", Some(""), "1")], "names its user"),
            (vec![credential("a", Some("a"), "1")], "one item only"),
            (
                vec![credential("a", Some("b"), "1"), credential("b", None, "1")],
                "one item only",
            ),
        ] {
            let error = data(bad).validate().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let good = vec![credential("a", Some("b"), "1"), credential("c", None, "2")];
        data(good).validate().unwrap();
    }

    #[test]
    fn what_is_restored_keeps_the_managed_items_of_now() {
        let mut old = data(vec![
            credential("a", Some("b"), "old"),
            Credential::default(),
        ]);
        let now = data(vec![
            credential("x", None, "x"),
            credential("b", Some("a"), "new"),
        ]);
        old.keep_managed(now);
        assert_eq!(old.credentials[0].user.as_deref(), Some("b"));
        assert_eq!(old.credentials[0].password, Some("new".into()));
        assert_eq!(old.credentials[1], Credential::default());
    }
}
