//! Redis, alone or behind Sentinel.
