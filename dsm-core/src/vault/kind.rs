//! The numbers of record kinds and queue topics. A number is never given twice.

use crate::store::{Kind, Topic};

pub(crate) const VAULT: Kind = Kind(1);
pub(crate) const ENVIRONMENT: Kind = Kind(2);
pub(crate) const SYSTEM: Kind = Kind(3);
pub(crate) const ENGINE: Kind = Kind(4);
pub(crate) const APPLICATION_TYPE: Kind = Kind(5);
pub(crate) const LINE_OF_BUSINESS: Kind = Kind(6);
pub(crate) const APPLICATION: Kind = Kind(7);
pub(crate) const AUTHORIZATION: Kind = Kind(8);
pub(crate) const CLIENT: Kind = Kind(9);
pub(crate) const TOKEN: Kind = Kind(10);
pub(crate) const OPERATOR: Kind = Kind(11);
pub(crate) const SECRET: Kind = Kind(12);
pub(crate) const SECRET_VERSION: Kind = Kind(13);
pub(crate) const SECRET_ERROR: Kind = Kind(14);
pub(crate) const ONCE: Kind = Kind(15);
pub(crate) const ATTACHMENT: Kind = Kind(16);
pub(crate) const SEALING_KEY: Kind = Kind(17);
pub(crate) const TARGET: Kind = Kind(22);
pub(crate) const PROFILE: Kind = Kind(23);
pub(crate) const LEASE: Kind = Kind(24);
pub(crate) const ATTEMPT: Kind = Kind(25);
pub(crate) const NONCE: Kind = Kind(18);
pub(crate) const CLIENT_USE: Kind = Kind(26);
pub(crate) const DECOY: Kind = Kind(27);
pub(crate) const VARIABLE: Kind = Kind(19);
pub(crate) const DEPLOY: Kind = Kind(20);

/// What is remembered of a transfer into the store while it is not finished. Not sealed.
pub(crate) const TRANSFER: Kind = Kind(u16::MAX);

/// Everything that is sealed as a record, in an order in which a rotation goes through it.
pub(crate) const SEALED: &[Kind] = &[
    ENVIRONMENT,
    SYSTEM,
    ENGINE,
    APPLICATION_TYPE,
    LINE_OF_BUSINESS,
    APPLICATION,
    AUTHORIZATION,
    CLIENT,
    TOKEN,
    OPERATOR,
    SECRET,
    SECRET_VERSION,
    SECRET_ERROR,
    ONCE,
    ATTACHMENT,
    SEALING_KEY,
    TARGET,
    PROFILE,
    LEASE,
    ATTEMPT,
    NONCE,
    CLIENT_USE,
    DECOY,
    VARIABLE,
    DEPLOY,
];

/// A secret's values are to be destroyed; the subject is its id.
pub(crate) const EXPIRE_SECRET: Topic = Topic(1);
/// A timer of a secret is due, or a rotation under way; the subject is four times the secret's id
/// and the timer's number.
pub(crate) const ROTATE: Topic = Topic(2);
/// An account is to be removed, and the subject is twice its lease's id; or the accounts of a target
/// are to be compared with their leases, and it is twice the target's id and one.
pub(crate) const REVOKE: Topic = Topic(3);
/// What a rotation replaced is to be retired; the subject is the attempt's id.
pub(crate) const RETIRE: Topic = Topic(4);
