//! The STS endpoint over HTTP when it is not what it should be: whatever it does, the client is refused
//! within the time-out.

use std::time::Duration;

use dsm_core::aws::{IdentityRequest, SignedIdentity, Sts as _, StsError};
use dsm_server::sts::StsEndpoint;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

const ARN: &str = "arn:aws:iam::123456789012:user/ann";

fn good() -> String {
    format!(
        "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>{ARN}</Arn>\
         </GetCallerIdentityResult></GetCallerIdentityResponse>"
    )
}

fn answer(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// A good request for the endpoint.
fn request_for(endpoint: &StsEndpoint) -> IdentityRequest {
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=AKID/20300131/us-east-1/sts/aws4_request, \
         SignedHeaders=host;x-amz-date, Signature={}",
        "ab".repeat(32)
    );
    let headers = [
        ("Authorization", authorization.as_str()),
        ("Host", endpoint.authority()),
        ("X-Amz-Date", "20300131T120000Z"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let shown = SignedIdentity {
        unique_key: "key",
        method: "POST",
        headers: &headers,
        body: "Action=GetCallerIdentity&Version=2011-06-15",
    };
    IdentityRequest::read(&shown, endpoint.authority()).expect("a good request")
}

/// What the endpoint says of a request that is answered by `serve`, and what it was sent.
async fn ask<F>(
    serve: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> (Result<String, StsError>, String)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let endpoint = StsEndpoint::new(format!("http://{addr}").parse().expect("a URL"));
    let (sent, mut received) = tokio::sync::mpsc::channel(1);
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = vec![0; 8192];
        let mut filled = 0;
        while !String::from_utf8_lossy(&request[..filled]).ends_with("2011-06-15") {
            let read = stream
                .read(&mut request[filled..])
                .await
                .expect("a request");
            assert_ne!(read, 0, "half a request");
            filled += read;
        }
        request.truncate(filled);
        sent.send(request).await.expect("the test waits");
        serve(stream).await;
    });
    let request = request_for(&endpoint);
    let found = endpoint.caller_identity(&request).await;
    let request = received.recv().await.expect("what was sent");
    serving.abort();
    let request = String::from_utf8(request).expect("UTF-8");
    (found.map(|arn| arn.to_string()), request)
}

async fn answered(bytes: Vec<u8>) -> Result<String, StsError> {
    let serve = |mut stream: TcpStream| async move {
        // It may hang up before all of it is there.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
    };
    ask(serve).await.0
}

#[track_caller]
fn unavailable(found: Result<String, StsError>, reason: &str) {
    match found {
        Err(StsError::Unavailable(why)) => assert!(why.contains(reason), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_identity_comes_back_for_the_request_that_was_signed() {
    let bytes = answer("200 OK", &good());
    let serve = |mut stream: TcpStream| async move {
        stream.write_all(&bytes).await.expect("written");
    };
    let (found, request) = ask(serve).await;
    assert_eq!(found.as_deref(), Ok(ARN));
    let (head, body) = request.split_once("\r\n\r\n").expect("a body");
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("POST / HTTP/1.1"));
    let mut names: Vec<&str> = lines
        .map(|line| line.split_once(':').expect("a header").0)
        .collect();
    names.sort_unstable();
    // Nothing of the server's own but the framing and the type of the body.
    assert_eq!(
        names,
        [
            "authorization",
            "content-length",
            "content-type",
            "host",
            "x-amz-date"
        ]
    );
    assert_eq!(body, "Action=GetCallerIdentity&Version=2011-06-15");
}

#[tokio::test]
async fn a_refusal_is_one() {
    let body = "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code></Error></ErrorResponse>";
    let found = answered(answer("403 Forbidden", body)).await;
    let refused = StsError::Refused("SignatureDoesNotMatch (status 403)".to_owned());
    assert_eq!(found, Err(refused));
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let elsewhere = listener.local_addr().expect("an address");
    for status in [
        "301 Moved",
        "302 Found",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let head = format!("HTTP/1.1 {status}\r\nLocation: http://{elsewhere}/\r\n");
        let bytes = format!("{head}Content-Length: 0\r\n\r\n").into_bytes();
        let found = answered(bytes).await;
        unavailable(found, &status[..3]);
    }
    let followed = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(followed.is_err(), "it was followed");
}

#[tokio::test]
async fn an_answer_of_ten_megabytes_is_not_read_to_its_end() {
    let padding = "x".repeat(10 << 20);
    let long = good().replace("</Arn>", &format!("</Arn><!--{padding}-->"));
    unavailable(answered(answer("200 OK", &long)).await, "length limit");
    // The same without saying how long it is.
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n",
        long.len()
    );
    unavailable(answered(chunked.into_bytes()).await, "length limit");
    // As long as it may be.
    let padding = "x".repeat((1 << 20) - good().len() - 7);
    let longest = good().replace("</Arn>", &format!("</Arn><!--{padding}-->"));
    assert_eq!(longest.len(), 1 << 20);
    let found = answered(answer("200 OK", &longest)).await;
    assert_eq!(found.as_deref(), Ok(ARN));
}

#[tokio::test]
async fn answers_that_cannot_be_read_are_none() {
    let good = good();
    for (bytes, reason) in [
        (answer("200 OK", ""), "no ARN"),
        (answer("200 OK", "{}"), "no ARN"),
        (answer("200 OK", &good.replace("Arn>", "Arn2>")), "no ARN"),
        (answer("200 OK", &good.replace(":user", "")), "no ARN"),
        (answer("500 Internal Server Error", &good), "status 500"),
        (answer("204 No Content", ""), "status 204"),
        (b"SSH-2.0-OpenSSH\r\n".to_vec(), ""),
        (Vec::new(), ""),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<Get".to_vec(),
            "",
        ),
    ] {
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        match answered(bytes).await {
            Err(StsError::Unavailable(why)) => assert!(why.contains(reason), "{shown}: {why}"),
            other => panic!("{shown}: {other:?}"),
        }
    }
    // A document that grows when its entities are replaced.
    let bomb =
        "<!DOCTYPE a [<!ENTITY b \"bbbbbbbbbb\"><!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;\">]>";
    let bomb = format!("{bomb}{}", good.replace(ARN, "&c;"));
    unavailable(answered(answer("200 OK", &bomb)).await, "no ARN");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_hangs_is_given_up_after_ten_seconds() {
    let started = Instant::now();
    let silent = |stream: TcpStream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    };
    unavailable(ask(silent).await.0, "10 s");
    assert_eq!(started.elapsed().as_secs(), 10);
    // A byte now and then does not prolong it.
    let started = Instant::now();
    let dripping = |mut stream: TcpStream| async move {
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
            .iter()
            .cycle()
        {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    unavailable(ask(dripping).await.0, "10 s");
    assert_eq!(started.elapsed().as_secs(), 10);
}

#[tokio::test]
async fn nobody_there_is_no_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    drop(listener);
    let endpoint = StsEndpoint::new(format!("http://{addr}").parse().expect("a URL"));
    let request = request_for(&endpoint);
    let found = endpoint.caller_identity(&request).await;
    assert!(matches!(found, Err(StsError::Unavailable(_))), "{found:?}");
}
