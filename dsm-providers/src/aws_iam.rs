//! Access keys of AWS IAM users.
//!
//! A user can have two keys at a time, which AWS makes. The address is the endpoint of IAM, usually
//! `iam.amazonaws.com`. The option `region` is the one that requests are signed for (`us-east-1`
//! unless said), `sts` the endpoint by which a key is tried, `sts.REGION.amazonaws.com` unless said;
//! it has to be said where IAM is anywhere else than at AWS. The admin is an access key: its id, and
//! the secret for a password. It needs `iam:ListAccessKeys`, `iam:CreateAccessKey`,
//! `iam:UpdateAccessKey` and `iam:DeleteAccessKey` for the users.
//!
//! A key is tried by `sts:GetCallerIdentity`, which every key may call, and has to be one of the user.
//! AWS knows a new key everywhere only after some seconds: one that IAM lists as active and that is
//! not accepted yet is waited for.

mod query;

use std::sync::Arc;

use async_trait::async_trait;
use dsm_core::provider::{
    AccountKeys, IssuedKeys, Key, KeyState, Keys, LogIn, Options, Problem, Proof, Provider,
    ProviderError, Target, TestReport,
};
use dsm_core::secret::SecretText;
use dsm_core::time::{Clock, SystemClock};

use self::query::{Caller, Failed, Query, Service};
use crate::options::Checked;
use crate::place::Place;
use crate::tls;

const REGION: &str = "region";
const STS: &str = "sts";

/// Access keys of AWS IAM users.
#[derive(Debug, Clone)]
pub struct AwsIam {
    clock: Arc<dyn Clock>,
}

impl Default for AwsIam {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock))
    }
}

impl AwsIam {
    /// Access keys whose requests are signed at the time of this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }

    fn as_admin<'a>(&'a self, target: &'a Target) -> Result<Query<'a>, ProviderError> {
        match &target.admin.proof {
            Proof::Password(secret) => self.signed_by(target, &target.admin.user, secret),
            Proof::PrivateKey { .. } => Err(ProviderError::Refused(
                "the admin of AWS proves itself by the secret of an access key".to_owned(),
            )),
        }
    }

    fn signed_by<'a>(
        &'a self,
        target: &'a Target,
        id: &'a str,
        secret: &'a SecretText,
    ) -> Result<Query<'a>, ProviderError> {
        Query::new(target, id, secret, &*self.clock)
    }
}

#[async_trait]
impl Provider for AwsIam {
    fn check(&self, address: &str, options: &Options) -> Vec<Problem> {
        let mut checked = Checked::new(options);
        let place = address.parse::<Place>();
        let region = checked.parsed(REGION, query::region).is_some();
        let sts = checked.parsed(STS, str::parse::<Place>).is_some();
        match place {
            Err(message) => checked.problem("address", message),
            Ok(place) if !sts && !options.contains_key(STS) => {
                let region = options.get(REGION).filter(|_| region);
                let region = region.map_or(query::REGION, String::as_str);
                if query::sts_beside(place.host(), region).is_none() {
                    let missing = "must be given where IAM is not at amazonaws.com";
                    checked.problem("options.sts", missing);
                }
            }
            Ok(_) => {}
        }
        tls::check(&mut checked);
        checked.finish()
    }

    async fn test(&self, target: &Target) -> Result<TestReport, ProviderError> {
        let admin = self.as_admin(target)?;
        let identity = admin.read(Service::Sts, "GetCallerIdentity", &[]).await;
        identity.map_err(Failed::into_error)?;
        let report = TestReport::default().with("log in", true, "");
        // Without a user it lists the admin's own.
        match admin.read(Service::Iam, "ListAccessKeys", &[]).await {
            Ok(_) => Ok(report.with("list access keys", true, "")),
            Err(failed) => match failed.into_error() {
                ProviderError::Refused(message) => {
                    Ok(report.with("list access keys", false, message))
                }
                error => Err(error),
            },
        }
    }

    fn keys(&self) -> Option<Keys<'_>> {
        Some(Keys::Issued(self))
    }
}

#[async_trait]
impl AccountKeys for AwsIam {
    async fn list_keys(
        &self,
        target: &Target,
        account: &str,
    ) -> Result<Vec<KeyState>, ProviderError> {
        let admin = self.as_admin(target)?;
        let mut all = Vec::new();
        let mut marker: Option<String> = None;
        loop {
            let mut fields = vec![("UserName", account)];
            fields.extend(marker.as_deref().map(|marker| ("Marker", marker)));
            let answer = admin.read(Service::Iam, "ListAccessKeys", &fields).await;
            let answer = answer.map_err(Failed::into_error)?;
            let page = query::key_page(&answer)
                .ok_or_else(|| query::nonsense(false, "its list of keys cannot be read"))?;
            all.extend(page.keys);
            match page.marker {
                Some(next) if marker.as_ref() != Some(&next) => marker = Some(next),
                _ => return Ok(all),
            }
        }
    }

    async fn log_in(
        &self,
        target: &Target,
        account: &str,
        key: &Key,
    ) -> Result<LogIn, ProviderError> {
        let own = self.signed_by(target, &key.id, &key.secret)?;
        let answer = own.read(Service::Sts, "GetCallerIdentity", &[]).await;
        let code = match answer {
            Ok(answer) => {
                let caller = query::caller(&answer)
                    .ok_or_else(|| query::nonsense(false, "its answer has no ARN"))?;
                return Ok(if caller == Caller::User(account.to_owned()) {
                    LogIn::Accepted
                } else {
                    LogIn::Rejected
                });
            }
            Err(Failed::Said { code, message }) if query::is_rejection(&code, &message) => code,
            Err(failed) => return Err(failed.into_error()),
        };
        // A secret that is wrong for a key that is known will not become right.
        if code != query::UNKNOWN_KEY {
            return Ok(LogIn::Rejected);
        }
        let listed = match self.list_keys(target, account).await {
            Ok(listed) => listed,
            // There is no such user, or nobody who could be asked.
            Err(ProviderError::Refused(_)) => return Ok(LogIn::Rejected),
            Err(error) => return Err(error),
        };
        if listed.iter().any(|it| it.id == key.id && it.active) {
            return Err(ProviderError::Unavailable(
                "the key is active and not yet known everywhere".to_owned(),
            ));
        }
        Ok(LogIn::Rejected)
    }

    async fn deactivate_key(
        &self,
        target: &Target,
        account: &str,
        id: &str,
    ) -> Result<(), ProviderError> {
        let fields = [
            ("UserName", account),
            ("AccessKeyId", id),
            ("Status", "Inactive"),
        ];
        let admin = self.as_admin(target)?;
        admin.change_if_there("UpdateAccessKey", &fields).await
    }

    async fn delete_key(
        &self,
        target: &Target,
        account: &str,
        id: &str,
    ) -> Result<(), ProviderError> {
        let fields = [("UserName", account), ("AccessKeyId", id)];
        let admin = self.as_admin(target)?;
        admin.change_if_there("DeleteAccessKey", &fields).await
    }
}

#[async_trait]
impl IssuedKeys for AwsIam {
    async fn issue_key(&self, target: &Target, account: &str) -> Result<Key, ProviderError> {
        let admin = self.as_admin(target)?;
        let fields = [("UserName", account)];
        let answer = admin.change("CreateAccessKey", &fields).await;
        let answer = answer.map_err(Failed::into_error)?;
        let (id, secret) = query::new_key(&answer)
            .ok_or_else(|| query::nonsense(true, "its answer has no key"))?;
        Ok(Key {
            id,
            secret,
            public: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_of_a_target_is_named() {
        let problems = |address: &str, pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            let options: Options = pairs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            let problems = AwsIam::default().check(address, &options);
            problems.into_iter().map(|it| it.field).collect::<Vec<_>>()
        };
        assert!(problems("iam.amazonaws.com", &[]).is_empty());
        assert!(
            problems(
                "iam.cn-north-1.amazonaws.com.cn",
                &[("region", "cn-north-1")]
            )
            .is_empty()
        );
        assert!(problems("127.0.0.1:5000", &[("sts", "127.0.0.1:5000")]).is_empty());
        assert_eq!(problems("127.0.0.1:5000", &[]), ["options.sts"]);
        assert_eq!(
            problems("iam.amazonaws.com.example.org", &[]),
            ["options.sts"]
        );
        let wrong = [("region", "EU/1"), ("sts", "a b"), ("colour", "red")];
        let named = ["options.region", "options.sts", "address", "options.colour"];
        assert_eq!(problems("", &wrong), named);
    }
}
