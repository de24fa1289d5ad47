//! Where a worker can be stopped by a test.

/// Declares the fail points, so that a test finds all of them.
macro_rules! points {
    ($($name:ident = $text:literal,)+) => {
        pub(super) mod points {
            $(pub(crate) const $name: &str = $text;)+
            #[cfg(feature = "testing")]
            pub(crate) const ALL: &[&str] = &[$($text),+];
        }
    };
}
