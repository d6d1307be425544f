//! Requests made from the OpenAPI document, good and bad: no server error, and no answer that the document
//! does not know.

use std::{process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

use super::support::App;

/// What every answer is held against. Left out are the checks that want each made-up request to succeed or
/// to fail: which values exist, the document cannot say.
const CHECKS: &str =
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
/// Requests an operation in the phase that makes them up; the other phases bring a few dozen each. The phase
/// that follows ids from answer to answer is left out: it would find the key of the run and revoke it.
const EXAMPLES_MAX: &str = "50";
/// Python runs one thread at a time: two are as slow, and in one run of six two of them broke the generator of data, which
/// ended with an exception of its own.
const WORKERS: &str = "1";
/// Far above what it takes, for a machine that does something else as well.
const TIME_MAX: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread")]
async fn requests_made_from_the_document_get_documented_answers() {
    let Ok(schemathesis) = std::env::var("SCHEMATHESIS") else {
        println!("Skipped: SCHEMATHESIS does not name the program; scripts/test.sh installs it and sets it.");
        return;
    };
    let app = App::start().await;
    app.seed(300).await;
    let scratch = tempfile::tempdir().expect("there is room for scratch files");
    let mut command = Command::new(schemathesis);
    command
        // It keeps what it learnt in the working folder.
        .current_dir(scratch.path())
        .args(["run", "--checks", CHECKS, "--phases", "examples,coverage,fuzzing"])
        .args([
            "--max-examples",
            EXAMPLES_MAX,
            "--seed",
            "2026",
            "--workers",
            WORKERS,
            "--request-timeout",
            "20",
        ])
        .args([
            "--continue-on-failure",
            "--suppress-health-check",
            "all",
            "--generation-database",
            "none",
        ])
        .args(["--warnings", "off", "--no-color"])
        .args(["--header", &format!("X-API-Key: {}", app.secret_key)])
        .arg(format!("http://{}/openapi.json", app.address))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(TIME_MAX, command.output())
        .await
        .expect("the run ends in time");
    let output = output.expect("the program SCHEMATHESIS names runs");
    let report = String::from_utf8_lossy(&output.stdout);
    println!("{report}");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(report.contains("Operations:"), "operations were tested");
    let head = format!(
        "GET /api/v1/keys HTTP/1.1\r\nHost: t\r\nX-API-Key: {}\r\nConnection: close\r\n\r\n",
        app.secret_key
    );
    let answer = app.send(head.as_bytes()).await;
    assert_eq!(
        answer.status(),
        200,
        "the requests had a usable key to the end: {}",
        answer.text
    );
    app.assert_healthy().await;
    app.stop().await;
}
