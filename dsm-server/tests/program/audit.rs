use std::fs;

use crate::harness::{Client, Place};

#[test]
fn a_trail_is_verified_in_its_folder_in_the_store_and_as_an_export() {
    let place = Place::new();
    let (process, line) = place.quickstart();
    Client::new(&line.url).password(&line);
    process.stop();

    for arguments in [&["audit", "verify"][..], &["audit", "verify", "--in-store"]] {
        let report = place.run(arguments).succeeded().out;
        assert!(report.ends_with("\nsound\n"), "{report}");
    }
    let written = place.run(&["audit", "export", "--output", "trail.jsonl"]);
    assert!(written.succeeded().err.contains("entries written"));
    let printed = place.run(&["audit", "export"]).succeeded().out;
    let export = place.path().join("trail.jsonl");
    // The second has the first recorded.
    let first = fs::read_to_string(&export).expect("written");
    assert!(printed.starts_with(&first) && printed.len() > first.len());
    assert!(printed.contains("secret.read"));
    let verify = ["audit", "verify", "--export", "trail.jsonl"];
    place.run(&verify).succeeded();
    // An export is not written over a file.
    let again = place.run(&["audit", "export", "--output", "trail.jsonl"]);
    again.refused(74, &["trail.jsonl cannot be written"]);

    fs::write(&export, printed.replacen("secret.read", "secret.view", 1)).expect("written");
    let changed = place.run(&verify);
    assert_eq!(changed.code, Some(1), "{changed:?}");
    assert!(changed.out.contains("the hash does not match"));
}

#[test]
fn a_folder_that_was_cut_is_found_by_the_copy_in_the_store() {
    let place = Place::new();
    let (process, line) = place.quickstart();
    Client::new(&line.url).password(&line);
    process.stop();
    let segment = place
        .files()
        .into_iter()
        .find(|(path, _)| path.extension().is_some_and(|end| end == "jsonl"));
    let (path, sound) = segment.expect("a segment");
    let text = String::from_utf8(sound).expect("UTF-8");

    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    // The last lines are the stop and its checkpoint.
    fs::write(&path, lines[..lines.len() - 2].concat()).expect("written");
    let cut = place.run(&["audit", "verify"]);
    assert_eq!(cut.code, Some(1), "{cut:?}");
    assert!(cut.out.contains("its end was removed"), "{cut:?}");

    fs::write(&path, text.replacen("secret.read", "secret.view", 1)).expect("written");
    let changed = place.run(&["audit", "verify"]);
    assert_eq!(changed.code, Some(1), "{changed:?}");
    assert!(changed.out.contains("line "), "{changed:?}");

    // Without the keys the hashes are checked all the same.
    fs::remove_file(place.key()).expect("the key");
    let changed = place.run(&["audit", "verify"]);
    assert_eq!(changed.code, Some(1), "{changed:?}");
    assert!(changed.err.contains("signatures are not checked"));
}
