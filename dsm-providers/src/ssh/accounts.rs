//! Accounts that live for a while.

use async_trait::async_trait;
use chrono::Days;
use dsm_core::provider::{Accounts, NewAccount, ProviderError, Target, Template};
use dsm_core::time::Timestamp;

use super::script::{Script, field};
use super::session::Session;
use super::{Ssh, account_name, refused};

/// The first day on which an account may be refused that shall live until then. Hosts count in days,
/// and PAM refuses on the day itself.
fn expiry(at: Timestamp) -> Result<String, ProviderError> {
    let day = at.date_naive().checked_add_days(Days::new(1));
    let day = day.ok_or_else(|| refused("there is no such day"))?;
    Ok(day.format("%Y-%m-%d").to_string())
}

#[async_trait]
impl Accounts for Ssh {
    async fn create_account(
        &self,
        target: &Target,
        account: &NewAccount<'_>,
    ) -> Result<(), ProviderError> {
        no_template(account.template)?;
        let name = account_name(account.name)?;
        let password = match account.password {
            Some(password) => field(password.expose(), "the password")?,
            None => "",
        };
        for group in account.roles {
            account_name(group).map_err(|_| {
                ProviderError::Refused(format!("the role `{group}` is not the name of a group"))
            })?;
        }
        let groups = account.roles.join(",");
        let last = account.expires_at.map(expiry).transpose()?;
        let fields = [name, password, &groups, last.as_deref().unwrap_or_default()];
        let session = Session::as_admin(target).await?;
        session.run(Script::CREATE_ACCOUNT, &fields).await?;
        Ok(())
    }

    async fn drop_account(
        &self,
        target: &Target,
        name: &str,
        template: Option<&Template>,
    ) -> Result<(), ProviderError> {
        no_template(template)?;
        let name = account_name(name)?;
        let session = Session::as_admin(target).await?;
        session.run(Script::DROP_ACCOUNT, &[name]).await?;
        Ok(())
    }

    async fn list_accounts(
        &self,
        target: &Target,
        prefix: &str,
    ) -> Result<Vec<String>, ProviderError> {
        let session = Session::as_admin(target).await?;
        let all = session.run(Script::LIST_ACCOUNTS, &[]).await?;
        let names = all.lines().filter(|name| name.starts_with(prefix));
        Ok(names.map(str::to_owned).collect())
    }
}

fn no_template(template: Option<&Template>) -> Result<(), ProviderError> {
    match template {
        Some(_) => Err(refused(
            "accounts of hosts are made in one way, without a template",
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_not_refused_before_its_time() {
        let at = "2026-12-31T23:59:00Z".parse().unwrap();
        assert_eq!(expiry(at).unwrap(), "2027-01-01");
        assert!(expiry(Timestamp::MAX_UTC).is_err());
    }
}
