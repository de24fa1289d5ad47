//! For those who write stores and providers, and for tests: a manual clock, fakes and the suites.

mod clock;
mod fail_points;
mod faulty;
pub mod provider;
pub mod provision;
pub mod rotation;
pub mod store;
mod sts;

pub use self::clock::ManualClock;
pub use self::fail_points::FailPoints;
pub use self::faulty::{FaultyStore, StoreCall};
pub use self::sts::FakeSts;
