//! What the documents say is so: examples run, and tests that are named exist.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use dsm_tests::place::{Backend, Place};
use dsm_tests::server::Server;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// An example of docs/clients.md: what it is for, after `<!-- example: … -->`, and its text.
struct Example {
    kind: String,
    text: String,
}

fn examples() -> Vec<Example> {
    let page = fs::read_to_string(root().join("docs/clients.md")).expect("docs/clients.md");
    let mut examples = Vec::new();
    for part in page.split("<!-- example: ").skip(1) {
        let (kind, rest) = part
            .split_once(" -->\n```")
            .expect("a block after the mark");
        let (_, rest) = rest.split_once('\n').expect("the language of the block");
        let (text, _) = rest.split_once("\n```\n").expect("the end of the block");
        examples.push(Example {
            kind: kind.to_owned(),
            text: text.to_owned(),
        });
    }
    let marked = examples.len();
    assert_eq!(
        page.matches("\n```\n").count(),
        marked,
        "a block without a mark"
    );
    examples
}

fn of_kind(kind: &str) -> Vec<String> {
    let found: Vec<String> = examples()
        .into_iter()
        .filter(|example| example.kind == kind)
        .map(|example| example.text)
        .collect();
    assert!(!found.is_empty(), "no example for {kind}");
    found
}

/// Whether a program answers; says so where it does not, and fails under CI if it is `needed`.
fn is_there(program: &str, arguments: &[&str], needed: bool) -> bool {
    let answer = Command::new(program).args(arguments).output();
    if answer.is_ok_and(|answer| answer.status.success()) {
        return true;
    }
    let ci = std::env::var_os("CI").is_some();
    assert!(!(needed && ci), "{program} {arguments:?} is missing");
    #[allow(clippy::print_stderr, reason = "why a test was not run")]
    {
        eprintln!("ignored: {program} {arguments:?} is missing");
    }
    false
}

fn run(mut command: Command, server: &Server) -> Output {
    let printed = &server.printed;
    command
        .env("DSM_URL", format!("http://{}", printed.addr))
        .env("DSM_CLIENT_ID", &printed.client_id)
        .env("DSM_CLIENT_SECRET", &printed.client_secret)
        .env("DSM_SECRET", &printed.identity)
        .env("no_proxy", "127.0.0.1");
    let output = command.output().expect("the program starts");
    let told = String::from_utf8_lossy(&output.stderr);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{told}");
    output
}

fn said(command: Command, server: &Server) -> String {
    String::from_utf8(run(command, server).stdout).expect("text")
}

/// A server with its example, and the place that ends with it.
fn server() -> (Place, Server) {
    let place = Place::new(Backend::Memory);
    let server = place.server().expect("the server starts");
    (place, server)
}

#[test]
fn the_examples_for_curl_work() {
    if !is_there("curl", &["--version"], true) {
        return;
    }
    let (_place, server) = server();
    let shell = |text: &str| {
        let mut command = Command::new("sh");
        command.args(["-eu", "-c", text]);
        said(command, &server)
    };
    let examples = of_kind("sh");
    assert_eq!(examples.len(), 2);
    let read: serde_json::Value = serde_json::from_str(&shell(&examples[0])).expect("JSON");
    assert_eq!(read["secret"]["identity"], *server.printed.identity);
    let written: serde_json::Value = serde_json::from_str(&shell(&examples[1])).expect("JSON");
    let data = &written["application"]["secrets"][0]["data"];
    let expected = serde_json::json!([
        {"username": "app", "password": "correct horse"}, {"PORT": "5432"},
    ]);
    assert_eq!(*data, expected);
}

#[test]
fn the_examples_for_python_work() {
    if !is_there("python3", &["--version"], true) {
        return;
    }
    let (_place, server) = server();
    let python = |text: &str| {
        let mut command = Command::new("python3");
        command.args(["-c", text]);
        said(command, &server)
    };
    let examples = of_kind("python");
    assert_eq!(examples.len(), 2);
    let identity = &server.printed.identity;
    assert!(python(&examples[0]).starts_with(&format!("{identity} version 1 has ")));
    assert_eq!(python(&examples[1]), "Variables registered successfully.\n");
    if is_there("python3", &["-c", "import requests"], false) {
        let all = python(&of_kind("python requests")[0]);
        assert!(all.contains(&format!("{identity} has ")), "{all}");
        assert!(all.contains("clients/db has DB_USER, DB_PASSWORD"), "{all}");
    }
}

#[test]
fn the_example_for_go_works() {
    if !is_there("go", &["version"], false) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("main.go");
    fs::write(&file, &of_kind("go")[0]).expect("a file");
    let (_place, server) = server();
    let mut command = Command::new("go");
    command
        .arg("run")
        .arg(&file)
        .env("GOCACHE", folder.path().join("cache"))
        .env("GOFLAGS", "-mod=mod")
        .env("GOTOOLCHAIN", "local");
    let all = said(command, &server);
    assert!(
        all.contains(&format!("{} has ", server.printed.identity)),
        "{all}"
    );
}

/// What the provider makes of the objects is replayed in the end-to-end tests; here they are read.
#[test]
fn the_example_for_external_secrets_parses() {
    const READ: &str = "
import json, sys, yaml
print(json.dumps(list(yaml.safe_load_all(sys.argv[1]))))";

    if !is_there("python3", &["-c", "import yaml"], false) {
        return;
    }
    let output = Command::new("python3")
        .args(["-c", READ, &of_kind("yaml")[0]])
        .output()
        .expect("python3");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let objects: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let [credentials, store, external] = objects.as_array().expect("a list").as_slice() else {
        panic!("{objects}");
    };
    let provider = &store["spec"]["provider"]["senhasegura"];
    assert!(
        provider["url"]
            .as_str()
            .is_some_and(|url| url.starts_with("https://"))
    );
    assert_eq!(provider["module"], "DSM");
    let secret = &provider["auth"]["clientSecretSecretRef"];
    assert_eq!(secret["name"], credentials["metadata"]["name"]);
    let key = secret["key"].as_str().expect("a key");
    assert!(credentials["stringData"][key].is_string());
    assert_eq!(
        external["spec"]["secretStoreRef"]["name"],
        store["metadata"]["name"]
    );
    assert_eq!(external["spec"]["secretStoreRef"]["kind"], store["kind"]);
    for remote in [
        &external["spec"]["data"][0]["remoteRef"]["key"],
        &external["spec"]["dataFrom"][0]["extract"]["key"],
    ] {
        assert_eq!(*remote, "quickstart/database");
    }
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    let page = fs::read_to_string(root().join("docs/threat-model.md")).expect("the page");
    let names: Vec<&str> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|text| {
            text.contains('_')
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        })
        .collect();
    assert!(names.len() > 20, "{names:?}");
    let mut sources = String::new();
    for folder in [
        "dsm-core",
        "dsm-providers",
        "dsm-server",
        "dsm-store-postgres",
        "dsm-store-redis",
        "dsm-store-sqlite",
        "tests",
    ] {
        read_into(&root().join(folder), &mut sources);
    }
    let missing: Vec<_> = names
        .into_iter()
        .filter(|name| !sources.contains(&format!("fn {name}(")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn read_into(folder: &Path, sources: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_into(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&fs::read_to_string(&path).expect("a source"));
        }
    }
}
