//! Limits of the whole process, in a test process of its own.

use std::fs;

use dsm_server::hardening::{forbid_core_dumps, raise_open_files};

fn limit(name: &str) -> Vec<String> {
    let limits = fs::read_to_string("/proc/self/limits").expect("Linux says its limits");
    let line = limits.lines().find_map(|line| line.strip_prefix(name));
    let words = line.expect("the limit is listed").split_whitespace();
    words.take(2).map(str::to_owned).collect()
}

#[test]
fn no_core_is_left_and_all_descriptors_are_had() {
    forbid_core_dumps().expect("allowed for every process");
    assert_eq!(limit("Max core file size"), ["0", "0"]);
    // The files of a process that is not dumpable belong to root and not to its user; root itself
    // would see no difference, the kernel's own flag does.
    let dumpable = rustix::process::dumpable_behavior().expect("Linux says");
    assert_eq!(dumpable, rustix::process::DumpableBehavior::NotDumpable);

    let open_files = raise_open_files().expect("the soft limit may be raised");
    let expected = open_files.map_or("unlimited".to_owned(), |files| files.to_string());
    assert_eq!(limit("Max open files"), [expected.clone(), expected]);
}
