//! Programs that embed the vault; run one with `cargo run -p dsm-examples --example embed`.
