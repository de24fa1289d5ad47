use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use data_encoding::{BASE64, BASE64URL, HEXLOWER, HEXUPPER};

use crate::harness::{Client, Place};

/// The value as it could stand in a file: raw, in hexadecimal, and in base64 wherever it begins.
fn forms(value: &str) -> Vec<Vec<u8>> {
    let bytes = value.as_bytes();
    let mut forms = vec![
        bytes.to_vec(),
        HEXLOWER.encode(bytes).into_bytes(),
        HEXUPPER.encode(bytes).into_bytes(),
    ];
    for skipped in 0..3 {
        // Encoded together with what stands before and after it, only whole groups are certain.
        let length = (bytes.len() - skipped) / 3 * 3;
        let whole = &bytes[skipped..skipped + length];
        forms.push(BASE64.encode(whole).into_bytes());
        forms.push(BASE64URL.encode(whole).into_bytes());
    }
    forms
}

/// The files that hold the value in any form.
fn holding(files: &[(PathBuf, Vec<u8>)], value: &str) -> Vec<PathBuf> {
    let forms = forms(value);
    let holds = |content: &[u8]| {
        forms
            .iter()
            .any(|form| content.windows(form.len()).any(|part| part == form))
    };
    files
        .iter()
        .filter(|(_, content)| holds(content))
        .map(|(path, _)| path.clone())
        .collect()
}

#[test]
fn the_search_finds_what_is_there() {
    let value = "a value of some length";
    for before in ["", "x", "xy", "xyz"] {
        let text = format!("{before}{value}!");
        for content in [
            text.clone().into_bytes(),
            HEXLOWER.encode(text.as_bytes()).into_bytes(),
            HEXUPPER.encode(text.as_bytes()).into_bytes(),
            BASE64.encode(text.as_bytes()).into_bytes(),
            BASE64URL.encode(text.as_bytes()).into_bytes(),
        ] {
            let files = [("file".into(), content)];
            assert_eq!(holding(&files, value).len(), 1, "{files:?}");
        }
    }
}

#[test]
fn a_second_start_has_the_same_secret_and_no_file_has_it() {
    let place = Place::new();
    let (process, first) = place.quickstart();
    let client = Client::new(&first.url);
    let password = client.password(&first);
    let token = client.token(&first);
    assert_eq!(client.me(&first.operator_token), 200);
    let mut logs = process.kill();
    let killed = place.files();

    let (process, second) = place.quickstart();
    assert_eq!(second.identity, first.identity);
    let client = Client::new(&second.url);
    assert_eq!(client.password(&second), password);
    assert_eq!(client.password(&first), password, "the old credentials");
    assert_eq!(client.me(&first.operator_token), 200, "the old token");
    assert_eq!(client.me(&second.operator_token), 200);
    let secret = format!("/iso/sctm/secret/{}", first.identity);
    assert_eq!(client.get(&secret, &token).0, 200, "the old access token");
    let mut files = place.files();
    logs.push_str(&process.stop());
    files.extend(killed);
    files.extend(place.files());
    files.push(("the logs".into(), logs.into_bytes()));

    // The trail is legible, so the search would see.
    assert!(!holding(&files, &first.identity).is_empty());
    for value in [
        &password,
        &token,
        &first.client_secret,
        &first.operator_token,
        &second.client_secret,
        &second.operator_token,
    ] {
        let found = holding(&files, value);
        assert!(found.is_empty(), "{found:?}");
    }
}

#[test]
fn what_it_makes_is_private() {
    let place = Place::new();
    let (process, _) = place.quickstart();
    let mode = |path: PathBuf| path.metadata().expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(place.data()), 0o700);
    assert_eq!(mode(place.data().join("audit")), 0o700);
    for (path, _) in place.files() {
        assert_eq!(mode(path.clone()), 0o600, "{}", path.display());
    }
    drop(process);
}

#[test]
fn another_port_is_taken_when_the_usual_one_is() {
    // If this fails somebody else has the port, which serves as well.
    let _taken = TcpListener::bind("127.0.0.1:8200");
    let place = Place::new();
    let (process, line) = place.quickstart_with(&["quickstart", "--json"]);
    assert_ne!(line.url, "http://127.0.0.1:8200");
    assert_eq!(Client::new(&line.url).get("/livez", "").0, 200);
    process.stop();
}

#[test]
fn memory_leaves_nothing_behind() {
    let place = Place::new();
    let arguments = [
        "quickstart",
        "--json",
        "--listen",
        "127.0.0.1:0",
        "--store",
        "memory:",
    ];
    let (process, line) = place.quickstart_with(&arguments);
    assert!(!Client::new(&line.url).password(&line).is_empty());
    process.stop();
    assert!(place.files().is_empty());
}

#[test]
fn the_printed_commands_work() {
    let place = Place::new();
    let (process, text) = place.quickstart_text();
    let commands: Vec<&str> = text.lines().filter(|line| line.starts_with("  ")).collect();
    let script = commands.join("\n");
    let output = std::process::Command::new("sh")
        .args(["-e", "-c", &script])
        .output()
        .expect("a shell");
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{script}");
    assert!(printed.contains("\"password\""), "{script}\n{printed}");
    assert!(printed.contains("\"items\""), "{script}\n{printed}");
    let log = process.stop();
    assert!(!log.is_empty());
    assert!(!log.contains('\x1b'), "colours are for terminals: {log:?}");
}
