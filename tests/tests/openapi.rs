//! The description of the interface, and the server against it: schemathesis makes up requests from
//! `/openapi.json`, right ones and wrong ones, and checks every answer with all of its checks.
//!
//! `DSM_CASES` is how many requests there have to be at least.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use dsm_test_servers::is_there;
use dsm_test_servers::python::OPENAPI;
use dsm_tests::client;
use dsm_tests::server::Server;
use serde_json::Value;

/// A server over memory with the description that it serves.
struct Described {
    server: Server,
    folder: tempfile::TempDir,
    document: Value,
}

impl Described {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // Wrong tokens are among what is sent, and what they are answered is looked at.
        let further = [
            "--store",
            "memory:",
            "--set",
            "throttle.address_per_minute=0",
            "--set",
            "throttle.client_per_minute=0",
        ];
        let server = Server::quickstart_with(folder.path(), &further).expect("a server");
        let answer = client::send(server.addr(), "GET", "/openapi.json", &[], b"").await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        Self {
            document: answer.json(),
            server,
            folder,
        }
    }

    /// The operations of the description, such as `GET /api/v1/secrets/{id}`.
    fn operations(&self) -> BTreeSet<String> {
        let paths = self.document["paths"].as_object().expect("paths");
        let operations = paths.iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods").keys();
            methods.map(move |method| format!("{} {path}", method.to_ascii_uppercase()))
        });
        operations.collect()
    }

    /// Runs schemathesis with so many made up requests for each operation; the report of the run.
    async fn try_out(&self, examples: u32) -> (Output, Report) {
        let report = self.folder.path().join("report.ndjson");
        let printed = &self.server.printed;
        let mut command: Command = OPENAPI.program("schemathesis");
        command
            .current_dir(self.folder.path())
            .env("PYTHONPATH", here())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("DSM_URL", format!("http://{}", printed.addr))
            .env("DSM_OPERATOR_TOKEN", &printed.operator_token)
            .env(
                "DSM_ACCESS_TOKEN",
                self.server.token().await.expect("a token"),
            )
            .env("DSM_CLIENT_ID", &printed.client_id)
            .env("DSM_CLIENT_SECRET", &printed.client_secret)
            .arg("--config-file")
            .arg(here().join("schemathesis.toml"))
            .arg("run")
            .arg(format!("http://{}/openapi.json", printed.addr))
            .args(["--max-examples", &examples.to_string()])
            .args(["--report", "ndjson", "--report-ndjson-path"])
            .arg(&report);
        let run = tokio::task::spawn_blocking(move || command.output());
        let output = run.await.expect("it does not panic").expect("it runs");
        let text = fs::read_to_string(&report).unwrap_or_default();
        (output, Report::read(&text))
    }
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi")
}

/// What a run came to.
#[derive(Default)]
struct Report {
    requests: usize,
    /// Answers by operation and status.
    answers: BTreeMap<String, BTreeMap<u64, usize>>,
    /// How often each check was made, and of these, with another outcome than success.
    checks: BTreeMap<String, (usize, usize)>,
}

impl Report {
    fn read(text: &str) -> Self {
        let mut report = Self::default();
        for line in text.lines() {
            let event: Value = serde_json::from_str(line).expect("an event");
            let recorder = &event["ScenarioFinished"]["recorder"];
            let cases = recorder["interactions"].as_object();
            for (id, interaction) in cases.into_iter().flatten() {
                report.requests += 1;
                let case = &recorder["cases"][id]["value"];
                let text = |name: &str| case[name].as_str().unwrap_or_default();
                let operation = format!("{} {}", text("method"), text("path"));
                let status = interaction["response"]["status_code"].as_u64();
                let answers = report.answers.entry(operation).or_default();
                *answers.entry(status.unwrap_or(0)).or_default() += 1;
            }
            let checks = recorder["checks"].as_object().into_iter().flatten();
            for check in checks.flat_map(|(_, checks)| checks.as_array().into_iter().flatten()) {
                let name = check["name"].as_str().unwrap_or_default().to_owned();
                let (made, failed) = report.checks.entry(name).or_default();
                *made += 1;
                *failed += usize::from(check["status"] != "success");
            }
        }
        report
    }

    /// How many answers had such a status.
    fn count(&self, statuses: impl Fn(u64) -> bool) -> usize {
        let all = self.answers.values().flatten();
        all.filter(|(status, _)| statuses(**status))
            .map(|(_, count)| count)
            .sum()
    }

    fn succeeded(&self, operation: &str) -> bool {
        let answers = self.answers.get(operation);
        answers.is_some_and(|answers| answers.keys().any(|status| (200..300).contains(status)))
    }
}

/// How many requests there have to be, and how many are made up at random for each operation. The
/// cases that schemathesis derives from the schemas come on top, and are thousands by themselves.
fn size() -> (usize, u32) {
    let cases = std::env::var("DSM_CASES").ok();
    match cases.and_then(|cases| cases.parse().ok()) {
        Some(cases) => (cases, 100),
        None => (5_000, 1),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_answers_as_it_describes_itself() {
    if !is_there(OPENAPI.available()) {
        return;
    }
    let described = Described::start().await;
    let (least, examples) = size();
    let (output, report) = described.try_out(examples).await;
    let said = String::from_utf8_lossy(&output.stdout);
    println!(
        "{} requests, {} of them answered 2xx, {} 5xx; checks made and failed: {:?}",
        report.requests,
        report.count(|status| (200..300).contains(&status)),
        report.count(|status| status >= 500),
        report.checks
    );
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    assert!(
        report.requests >= least,
        "only {} requests",
        report.requests
    );
    assert_eq!(
        report.count(|status| status >= 500 || status == 0),
        0,
        "{said}"
    );
    for check in [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
        "positive_data_acceptance",
        "ignored_auth",
        "unsupported_method",
    ] {
        let (made, failed) = report.checks.get(check).copied().unwrap_or_default();
        assert!(
            made >= least / 2 && failed == 0,
            "{check}: {made}, {failed}"
        );
    }
    let mut without: Vec<String> = described.operations().into_iter().collect();
    // The run begins with it, and it is not among what is tried.
    without.retain(|operation| operation != "GET /openapi.json" && !report.succeeded(operation));
    assert!(without.is_empty(), "never answered with 2xx: {without:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_openapi_3_1() {
    if !is_there(OPENAPI.available()) {
        return;
    }
    let described = Described::start().await;
    let path = described.folder.path().join("openapi.json");
    let validate = |document: &Value| {
        fs::write(&path, document.to_string()).expect("a file");
        let mut command = OPENAPI.program("openapi-spec-validator");
        command.args(["--schema", "3.1"]).arg(&path);
        command.output().expect("it runs")
    };
    let output = validate(&described.document);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    // A wrong one does not pass.
    let mut wrong = described.document.clone();
    wrong["paths"]["/livez"]["get"]["responses"]["200"] = Value::Null;
    assert!(!validate(&wrong).status.success());
}

#[tokio::test]
async fn paths_with_encoded_slashes_lead_to_the_secret() {
    let described = Described::start().await;
    let server = &described.server;
    let bearer = format!("Bearer {}", server.token().await.expect("a token"));
    let identity = server.printed.identity.as_str();
    assert!(identity.contains('/'), "{identity}");
    for path in [identity.to_owned(), identity.replace('/', "%2F")] {
        let path = format!("/iso/sctm/secret/{path}");
        let headers = [("Authorization", bearer.as_str())];
        let answer = client::send(server.addr(), "GET", &path, &headers, b"").await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.json()["secret"]["identity"], identity);
    }
}
