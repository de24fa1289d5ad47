//! How a credential on a target is renewed, without I/O.
//!
//! [`step`] is the whole of it: from a state and an event it gives the next state and the one thing
//! to do. The vault's worker does that thing and comes back with what happened. [`schedule`] says
//! when.

pub mod schedule;

mod machine;
#[cfg(test)]
mod model;

pub use self::machine::{
    Effect, Event, Failure, Found, MAX_REFUSALS, Progress, Settle, Stage, State, step,
};
