//! What a call that got no clear answer says about what was done.

use dsm_core::provider::ProviderError;

/// How far a call was when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing was asked for that lasts.
    Before,
    /// A change was sent that takes effect by itself.
    Sent,
}

/// A connection that failed, or an answer that did not come.
pub(crate) fn lost(message: impl Into<String>, stage: Stage) -> ProviderError {
    match stage {
        Stage::Before => ProviderError::Unavailable(message.into()),
        Stage::Sent => ProviderError::OutcomeUnknown(message.into()),
    }
}

/// An answer that does not say what became of a call that `changes` something or not.
pub(crate) fn unclear(changes: bool, message: impl Into<String>) -> ProviderError {
    lost(message, if changes { Stage::Sent } else { Stage::Before })
}
