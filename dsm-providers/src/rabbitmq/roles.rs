//! What a user of RabbitMQ may do, as it is written in profiles.

use serde_json::json;

/// The roles of a user.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Roles {
    pub(super) tags: Vec<String>,
    pub(super) permissions: Vec<Permission>,
}

/// What a user may do in a virtual host: names that match.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Permission {
    pub(super) vhost: String,
    configure: String,
    write: String,
    read: String,
}

impl Permission {
    /// As it is put.
    pub(super) fn body(&self) -> serde_json::Value {
        json!({ "configure": self.configure, "write": self.write, "read": self.read })
    }
}

impl Roles {
    /// Reads roles; no virtual host may be named twice.
    pub(super) fn read(roles: &[String]) -> Result<Self, String> {
        let mut read = Self::default();
        for role in roles {
            let words: Vec<&str> = role.split(' ').collect();
            match words[..] {
                ["tag", tag] if !tag.is_empty() && !tag.contains(',') => {
                    read.tags.push(tag.to_owned());
                }
                ["permissions", vhost, configure, write, take] if !vhost.is_empty() => {
                    if read.vhosts().any(|known| known == vhost) {
                        return Err(format!("the virtual host {vhost} has permissions twice"));
                    }
                    read.permissions.push(Permission {
                        vhost: vhost.to_owned(),
                        configure: configure.to_owned(),
                        write: write.to_owned(),
                        read: take.to_owned(),
                    });
                }
                _ => {
                    return Err(format!(
                        "the role `{role}` is neither `tag NAME` nor \
                         `permissions VHOST CONFIGURE WRITE READ`"
                    ));
                }
            }
        }
        Ok(read)
    }

    pub(super) fn vhosts(&self) -> impl Iterator<Item = &str> {
        self.permissions.iter().map(|it| it.vhost.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(roles: &[&str]) -> Result<Roles, String> {
        let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
        Roles::read(&roles)
    }

    #[test]
    fn roles_are_tags_and_permissions() {
        let roles = read(&["tag monitoring", "permissions / ^$  ^a|b$"]).unwrap();
        assert_eq!(roles.tags, ["monitoring"]);
        let body = json!({ "configure": "^$", "write": "", "read": "^a|b$" });
        assert_eq!(roles.permissions[0].body(), body);
        for wrong in [
            "",
            "monitoring",
            "tag ",
            "tag a,administrator",
            "permissions / .*",
            "permissions  .* .* .*",
        ] {
            let error = read(&[wrong]).unwrap_err();
            assert!(error.contains(&format!("`{wrong}`")), "{error}");
        }
        let twice = ["permissions / a b c", "permissions / .* .* .*"];
        assert!(read(&twice).is_err());
    }
}
