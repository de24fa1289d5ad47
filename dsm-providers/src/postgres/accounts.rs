//! Roles that live for a while.

use async_trait::async_trait;
use dsm_core::provider::{Accounts, NewAccount, ProviderError, Tag, Target, Template};
use dsm_core::time::Timestamp;

use super::quote::{identifier, identifiers, literal};
use super::session::Session;
use super::{Postgres, verifier};
use crate::place::Place;

#[async_trait]
impl Accounts for Postgres {
    async fn create_account(
        &self,
        target: &Target,
        account: &NewAccount<'_>,
    ) -> Result<(), ProviderError> {
        let name = identifier(account.name)?;
        let roles = identifiers(account.roles)?;
        let password = account
            .password
            .map_or_else(|| "NULL".to_owned(), |it| literal(&verifier(it)));
        let until = literal(&instant(account.expires_at));
        let session = Session::open(target).await?;
        let exists = exists(&session, account.name).await?;
        if let Some(template) = account.template {
            if exists {
                self.drop_account(target, account.name, None).await?;
            }
            let statements = fill(template, |tag| match tag {
                Tag::Username => Ok(name.clone()),
                Tag::NewPassword => Ok(password.clone()),
                Tag::Roles if account.roles.is_empty() => Err(ProviderError::Refused(
                    "the template has [#ROLES#], and the account has none".to_owned(),
                )),
                Tag::Roles => Ok(roles.clone()),
                Tag::ExpiresAt => Ok(until.clone()),
                Tag::Hostname => hostname(target),
            })?;
            return in_transaction(session, &statements).await;
        }
        let verb = if exists { "ALTER" } else { "CREATE" };
        let mut statements = vec![format!(
            "{verb} ROLE {name} LOGIN PASSWORD {password} VALID UNTIL {until}"
        )];
        if exists {
            for role in memberships(&session, account.name).await? {
                if !account.roles.contains(&role) {
                    statements.push(format!("REVOKE {} FROM {name}", identifier(&role)?));
                }
            }
        }
        if !account.roles.is_empty() {
            statements.push(format!("GRANT {roles} TO {name}"));
        }
        in_transaction(session, &statements).await
    }

    async fn drop_account(
        &self,
        target: &Target,
        name: &str,
        template: Option<&Template>,
    ) -> Result<(), ProviderError> {
        let quoted = identifier(name)?;
        let session = Session::open(target).await?;
        if !exists(&session, name).await? {
            session.close().await;
            return Ok(());
        }
        // Nobody enters from here on, and who is in is out.
        session
            .change_in_time(&format!("ALTER ROLE {quoted} NOLOGIN"))
            .await?;
        let member = "SELECT pg_has_role(current_user, $1::name, 'USAGE')";
        let member: Vec<bool> = session.column(member, &[&name]).await?;
        if member != [true] {
            // Who is no superuser ends sessions, and gives away what they own, only of roles of his.
            session
                .change_in_time(&format!("GRANT {quoted} TO CURRENT_USER"))
                .await?;
        }
        let ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1";
        session.rows(ended, &[&name]).await?;
        if let Some(template) = template {
            let statements = fill(template, |tag| match tag {
                Tag::Username => Ok(quoted.clone()),
                Tag::Hostname => hostname(target),
                tag => Err(ProviderError::Refused(format!(
                    "a template that removes an account has no [#{}#]",
                    tag.as_str()
                ))),
            })?;
            in_transaction(session, &statements).await?;
            let session = Session::open(target).await?;
            let left = exists(&session, name).await?;
            session.close().await;
            return if left {
                let message = "the template left the account where it was";
                Err(ProviderError::Refused(message.to_owned()))
            } else {
                Ok(())
            };
        }
        let heir = identifier(heir(target))?;
        for other in databases_with_traces(&session, name).await? {
            let freeing = format!("REASSIGN OWNED BY {quoted} TO {heir}; DROP OWNED BY {quoted}");
            let there = Session::open_in(target, &other).await?;
            there.change_in_time(&freeing).await?;
            there.close().await;
        }
        let here = format!("REASSIGN OWNED BY {quoted} TO {heir}");
        let statements = [
            here,
            format!("DROP OWNED BY {quoted}"),
            format!("DROP ROLE IF EXISTS {quoted}"),
        ];
        in_transaction(session, &statements).await
    }

    async fn list_accounts(
        &self,
        target: &Target,
        prefix: &str,
    ) -> Result<Vec<String>, ProviderError> {
        let session = Session::open(target).await?;
        let query = "SELECT rolname::text FROM pg_roles WHERE starts_with(rolname::text, $1)";
        let names = session.column(query, &[&prefix]).await?;
        session.close().await;
        Ok(names)
    }
}

/// Who owns what a dropped account owned.
fn heir(target: &Target) -> &str {
    let given = target.options.get("reassign_to");
    given.map_or(target.admin.user.as_str(), String::as_str)
}

fn instant(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "infinity".to_owned(), |at| at.to_rfc3339())
}

fn hostname(target: &Target) -> Result<String, ProviderError> {
    let place: Place = target.address.parse().map_err(ProviderError::Refused)?;
    Ok(literal(place.host()))
}

fn fill(
    template: &Template,
    tag: impl FnMut(Tag) -> Result<String, ProviderError>,
) -> Result<Vec<String>, ProviderError> {
    template.statements(tag)
}

/// Runs statements so that all of them last or none.
async fn in_transaction(session: Session, statements: &[String]) -> Result<(), ProviderError> {
    session.begin().await?;
    for statement in statements {
        session.inside(statement).await?;
    }
    session.commit().await?;
    session.close().await;
    Ok(())
}

async fn exists(session: &Session, name: &str) -> Result<bool, ProviderError> {
    let query = "SELECT 1 FROM pg_roles WHERE rolname = $1";
    Ok(!session.rows(query, &[&name]).await?.is_empty())
}

/// The roles that an account has.
async fn memberships(session: &Session, name: &str) -> Result<Vec<String>, ProviderError> {
    let query = "SELECT role.rolname::text FROM pg_auth_members membership \
                 JOIN pg_roles role ON role.oid = membership.roleid \
                 JOIN pg_roles member ON member.oid = membership.member \
                 WHERE member.rolname = $1";
    session.column(query, &[&name]).await
}

/// The other databases in which an account owns something or has a privilege.
async fn databases_with_traces(
    session: &Session,
    name: &str,
) -> Result<Vec<String>, ProviderError> {
    let query = "SELECT DISTINCT db.datname::text FROM pg_shdepend trace \
                 JOIN pg_database db ON db.oid = trace.dbid \
                 JOIN pg_roles role ON role.oid = trace.refobjid \
                 WHERE trace.refclassid = 'pg_authid'::regclass AND role.rolname = $1 \
                 AND db.datname <> current_database() AND db.datallowconn";
    session.column(query, &[&name]).await
}

#[cfg(test)]
mod tests {
    use super::super::session::database;
    use super::*;

    #[test]
    fn an_account_without_an_end_is_valid_for_ever() {
        assert_eq!(instant(None), "infinity");
        let at: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        assert_eq!(instant(Some(at)), "2026-01-02T03:04:05+00:00");
    }

    #[test]
    fn the_heir_is_the_admin_unless_said() {
        let admin = dsm_core::provider::Login {
            user: "root".to_owned(),
            proof: dsm_core::provider::Proof::Password("x".into()),
        };
        let mut target = Target {
            name: String::new(),
            address: "db".to_owned(),
            options: dsm_core::provider::Options::new(),
            admin,
        };
        assert_eq!((heir(&target), database(&target)), ("root", "postgres"));
        let given = ("reassign_to".to_owned(), "keeper".to_owned());
        target.options.insert(given.0, given.1);
        assert_eq!(heir(&target), "keeper");
    }
}
