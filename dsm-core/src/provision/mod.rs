//! Dynamic provisioning: accounts on targets that exist only while they are needed.
//!
//! A [`Profile`] says how such an account is made on its target and for how long it lives. Each
//! account has a lease, whose life is [`LeaseProgress`]; both are pure. What they are kept as, and
//! who makes and removes accounts, is in [`vault`](crate::vault).

mod account;
mod lease;
mod profile;

pub(crate) use self::account::{AccountStem, account_name, account_prefix, stem_of};
pub use self::lease::{LeaseEvent, LeaseProgress, LeaseState};
pub use self::profile::{MAX_POLICIES, Profile, ProfileKind, Ttl, TtlError};
pub(crate) use self::profile::{check_identifier, check_names, host_of};
