//! The statements that write, each of which is a transaction.

mod commit;
mod log;
mod number;
mod operation;
mod queue;

pub(crate) use self::commit::Commit;
pub(crate) use self::log::Append;
pub(crate) use self::number::{Advance, BLOCK, Reserve};
pub(crate) use self::operation::{Prune, Resolve};
pub(crate) use self::queue::{Claim, Extend};
