//! `/iso` in process: every endpoint as its clients call it, every answer checked against the types
//! that those clients need.

mod access;
mod check;
#[path = "../common/conformance.rs"]
mod conformance;
mod forwarded;
mod read;
mod refusals;
mod register;
mod sealing;
mod signed;
#[path = "../common/store.rs"]
mod store;
mod throttle;
mod token;
mod variables;
mod world;
mod write;
