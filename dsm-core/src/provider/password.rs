use async_trait::async_trait;

use super::{LogIn, ProviderError, Target};
use crate::secret::SecretText;

/// Passwords of accounts that exist.
///
/// One account is changed in place: there is a moment in which readers hold what no longer logs in.
/// Of two accounts the vault changes the one that nobody is served, so there is none.
#[async_trait]
pub trait Passwords: Send + Sync {
    /// Whether this password logs in as this account, found out by logging in.
    ///
    /// # Errors
    ///
    /// [`ProviderError::Unavailable`] when the target does not say. A rejection is no error.
    async fn log_in(
        &self,
        target: &Target,
        account: &str,
        password: &SecretText,
    ) -> Result<LogIn, ProviderError>;

    /// Gives the account this password, with the admin credential. The old one stops working.
    ///
    /// # Errors
    ///
    /// [`ProviderError::Refused`] for an account that does not exist: none is made.
    async fn change_password(
        &self,
        target: &Target,
        account: &str,
        password: &SecretText,
    ) -> Result<(), ProviderError>;
}
