//! Accounts that live for a while.

use async_trait::async_trait;
use dsm_core::provider::{Accounts, NewAccount, ProviderError, Tag, Target, Template};
use dsm_core::time::Timestamp;

use super::Mysql;
use super::fault::NO_SUCH_THREAD;
use super::quote::{account, host, identified, literal, name, names};
use super::session::{Kind, Session};
use crate::place::Place;

#[async_trait]
impl Accounts for Mysql {
    async fn create_account(
        &self,
        target: &Target,
        new: &NewAccount<'_>,
    ) -> Result<(), ProviderError> {
        let quoted = account(new.name, target)?;
        let roles = names(new.roles)?;
        let Some(password) = new.password else {
            let message = "an account without a password would let anybody in";
            return Err(ProviderError::Refused(message.to_owned()));
        };
        let mut session = Session::open(target).await?;
        // Made anew, so that it has nothing but what is asked for.
        remove(&mut session, target, new.name).await?;
        if let Some(template) = new.template {
            if session.kind() == Kind::Mariadb && template.names(Tag::NewPassword) {
                let message = "MariaDB would write the password to its general log: the admin \
                               credential needs SUPER or BINLOG ADMIN for templates";
                return Err(ProviderError::Refused(message.to_owned()));
            }
            let statements = template.statements(|tag| match tag {
                Tag::Username => Ok(quoted.clone()),
                Tag::NewPassword => literal(password.expose()),
                Tag::Roles if new.roles.is_empty() => Err(ProviderError::Refused(
                    "the template has [#ROLES#], and the account has none".to_owned(),
                )),
                Tag::Roles => Ok(roles.clone()),
                Tag::ExpiresAt => expiry(new.expires_at),
                Tag::Hostname => hostname(target),
            })?;
            for statement in statements {
                session.change(&statement).await?;
            }
            session.close().await;
            return Ok(());
        }
        let identified = identified(session.kind(), password)?;
        let expiry = match new.expires_at {
            Some(at) => {
                let days = days_until(&mut session, at).await?;
                format!(" PASSWORD EXPIRE INTERVAL {days} DAY")
            }
            None => String::new(),
        };
        let create = format!("CREATE USER {quoted} {identified}{expiry}");
        session.change(&create).await?;
        if !new.roles.is_empty() {
            if session.kind() == Kind::Mysql {
                session
                    .change(&format!("GRANT {roles} TO {quoted}"))
                    .await?;
                let default = format!("SET DEFAULT ROLE ALL TO {quoted}");
                session.change(&default).await?;
            } else {
                for role in new.roles {
                    let grant = format!("GRANT {} TO {quoted}", name(role)?);
                    session.change(&grant).await?;
                }
                let first = name(&new.roles[0])?;
                let default = format!("SET DEFAULT ROLE {first} FOR {quoted}");
                session.change(&default).await?;
            }
        }
        session.close().await;
        Ok(())
    }

    async fn drop_account(
        &self,
        target: &Target,
        user: &str,
        template: Option<&Template>,
    ) -> Result<(), ProviderError> {
        let quoted = account(user, target)?;
        let mut session = Session::open(target).await?;
        if let Some(template) = template
            && exists(&mut session, target, user).await?
        {
            lock_out(&mut session, target, user).await?;
            let statements = template.statements(|tag| match tag {
                Tag::Username => Ok(quoted.clone()),
                Tag::Hostname => hostname(target),
                tag => Err(ProviderError::Refused(format!(
                    "a template that removes an account has no [#{}#]",
                    tag.as_str()
                ))),
            })?;
            for statement in statements {
                session.change(&statement).await?;
            }
            if exists(&mut session, target, user).await? {
                let message = "the template left the account where it was";
                return Err(ProviderError::Refused(message.to_owned()));
            }
        } else {
            remove(&mut session, target, user).await?;
        }
        session.close().await;
        Ok(())
    }

    async fn list_accounts(
        &self,
        target: &Target,
        prefix: &str,
    ) -> Result<Vec<String>, ProviderError> {
        let mut session = Session::open(target).await?;
        let query = "SELECT CONVERT(User USING utf8mb4) FROM mysql.user \
                     WHERE Host = ? AND LEFT(User, CHAR_LENGTH(?)) = ?";
        let found = session.texts(query, vec![host(target), prefix, prefix]);
        let found = found.await?;
        session.close().await;
        // The server's collation may find more.
        let found = found.into_iter();
        Ok(found.filter(|name| name.starts_with(prefix)).collect())
    }
}

/// Drops an account with its sessions, if it is there.
async fn remove(session: &mut Session, target: &Target, user: &str) -> Result<(), ProviderError> {
    if exists(session, target, user).await? {
        lock_out(session, target, user).await?;
        let quoted = account(user, target)?;
        session
            .change(&format!("DROP USER IF EXISTS {quoted}"))
            .await?;
    }
    Ok(())
}

/// Nobody enters from here on, and who is in is out.
async fn lock_out(session: &mut Session, target: &Target, user: &str) -> Result<(), ProviderError> {
    let quoted = account(user, target)?;
    session
        .change(&format!("ALTER USER {quoted} ACCOUNT LOCK"))
        .await?;
    let query = "SELECT CAST(id AS CHAR) FROM information_schema.processlist WHERE user = ?";
    for id in session.texts(query, vec![user]).await? {
        let Ok(id) = id.parse::<u64>() else { continue };
        let kill = format!("KILL CONNECTION {id}");
        session.change_unless(&kill, NO_SUCH_THREAD).await?;
    }
    Ok(())
}

async fn exists(session: &mut Session, target: &Target, user: &str) -> Result<bool, ProviderError> {
    let query = "SELECT User FROM mysql.user WHERE Host = ? AND User = ?";
    let found = session.texts(query, vec![host(target), user]).await?;
    Ok(!found.is_empty())
}

/// In how many days, at least one, by the server's clock.
async fn days_until(session: &mut Session, at: Timestamp) -> Result<i64, ProviderError> {
    let query = "SELECT CAST(UNIX_TIMESTAMP() AS CHAR)";
    let now = session.text(query).await?;
    let now: f64 = now
        .parse()
        .map_err(|_| ProviderError::Unavailable("the server has no time".to_owned()))?;
    #[allow(clippy::cast_possible_truncation, reason = "seconds of this era")]
    let left = at.timestamp() - now as i64;
    Ok((left + 86_399).div_euclid(86_400).clamp(1, 65_535))
}

fn expiry(at: Option<Timestamp>) -> Result<String, ProviderError> {
    let Some(at) = at else {
        let message = "the template has [#EXPIRES_AT#], and the account does not expire";
        return Err(ProviderError::Refused(message.to_owned()));
    };
    literal(&at.format("%Y-%m-%d %H:%M:%S").to_string())
}

fn hostname(target: &Target) -> Result<String, ProviderError> {
    let place: Place = target.address.parse().map_err(ProviderError::Refused)?;
    literal(place.host())
}
