//! Connections under TLS.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use dsm_core::store::{Store as _, StoreError};
use dsm_store_postgres::PostgresStore;
use dsm_test_servers::postgres::Postgres;

use crate::support::{chain, create, eventually, open, options, through};

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// An authority `{name}.pem` and its key.
fn authority(folder: &Path, name: &str) {
    openssl(
        folder,
        &format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name} \
             -keyout {name}.key -out {name}.pem"
        ),
    );
}

/// A server whose certificate is for `localhost` alone.
async fn secured(folder: &Path) -> Postgres {
    authority(folder, "ca");
    authority(folder, "other");
    openssl(
        folder,
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \
         -keyout server.key -out server.csr",
    );
    fs::write(folder.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    openssl(
        folder,
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
         -extfile names -out server.crt",
    );
    let server = Postgres::start_with(&[]).unwrap();
    for file in ["server.crt", "server.key"] {
        let target = server.data().join(file);
        fs::copy(folder.join(file), &target).unwrap();
        server.give(&target).unwrap();
    }
    server.sql("ALTER SYSTEM SET ssl = on").unwrap();
    server.sql("SELECT pg_reload_conf()").unwrap();
    eventually("TLS is on", Duration::from_secs(30), async || {
        server.sql("SHOW ssl").unwrap() == "on"
    })
    .await;
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_verified_by_authority_and_name() {
    let folder = tempfile::tempdir().unwrap();
    let server = secured(folder.path()).await;
    let url = |host: &str, authority: &str| {
        let url = through(&server.url(), &format!("{host}:{}", server.port()));
        let authority = folder.path().join(authority);
        format!(
            "{url}?sslmode=verify-full&sslrootcert={}",
            authority.display()
        )
    };
    let store = open(&url("localhost", "ca.pem")).await;
    create(&store, 1).await.unwrap();
    let plain = server.sql(
        "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE application_name = 'dsm' AND NOT ssl",
    );
    assert_eq!(plain.unwrap(), "0");
    store.close().await;

    for (host, authority) in [("127.0.0.1", "ca.pem"), ("localhost", "other.pem")] {
        let refused = PostgresStore::open(options(&url(host, authority))).await;
        let error = refused.expect_err("it is refused");
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert!(chain(&error).contains("secure connection"), "{error:?}");
        assert!(chain(&error).contains("certificate"), "{error:?}");
    }
}
