//! AWS as moto plays it: its identities and its token service, signatures checked.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};

use dsm_core::time::{Clock as _, SystemClock};
use dsm_test_servers::python::MOTO;
use dsm_tests::client;

use crate::sign::{Keys, Signing, signed};

/// How many calls are answered before signatures count: those of [`Moto::furnish`].
const UNCHECKED: &str = "4";

/// A running moto; killed when dropped.
#[derive(Debug)]
pub(crate) struct Moto {
    child: Child,
    pub(crate) addr: SocketAddr,
}

/// Who there is.
#[derive(Debug)]
pub(crate) struct Identities {
    /// `arn:aws:iam::123456789012:user/team/ann`.
    pub(crate) user: Keys,
    /// `arn:aws:sts::123456789012:assumed-role/ci/build-7`.
    pub(crate) session: Keys,
}

impl Moto {
    pub(crate) fn start() -> Self {
        let mut child = MOTO
            .program("moto_server")
            .args(["-H", "127.0.0.1", "-p", "0"])
            .env("INITIAL_NO_AUTH_ACTION_COUNT", UNCHECKED)
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("moto starts");
        let mut log = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut line = String::new();
        let addr = loop {
            line.clear();
            let read = log.read_line(&mut line).expect("its log");
            assert_ne!(read, 0, "moto ended before it listened");
            let place = line.split_once("http://").map(|(_, place)| place.trim());
            if let Some(addr) = place.and_then(|place| place.parse().ok()) {
                break addr;
            }
        };
        // Read on, so that it never waits for somebody to take its log.
        std::thread::spawn(move || for _ in log.lines() {});
        Self { child, addr }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Makes the identities. From then on every signature is checked.
    pub(crate) async fn furnish(&self) -> Identities {
        self.call(
            "iam",
            "Action=CreateUser&UserName=ann&Path=%2Fteam%2F&Version=2010-05-08",
        )
        .await;
        let made = self
            .call(
                "iam",
                "Action=CreateAccessKey&UserName=ann&Version=2010-05-08",
            )
            .await;
        let user = keys(&made);
        let policy = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%5D%7D";
        let role = format!(
            "Action=CreateRole&RoleName=ci&AssumeRolePolicyDocument={policy}&Version=2010-05-08"
        );
        self.call("iam", &role).await;
        let assumed = self
            .call(
                "sts",
                "Action=AssumeRole&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fci\
                 &RoleSessionName=build-7&Version=2011-06-15",
            )
            .await;
        Identities {
            user,
            session: keys(&assumed),
        }
    }

    async fn call(&self, service: &str, body: &str) -> String {
        let host = self.addr.to_string();
        let uri = format!("http://{host}/");
        let headers = [("host".to_owned(), host)];
        let nobody = Keys {
            access_key_id: "nobody".to_owned(),
            secret_access_key: "unchecked".to_owned(),
            session_token: None,
        };
        let signing = Signing {
            method: "POST",
            uri: &uri,
            headers: &headers,
            body,
            service,
            at: SystemClock.now(),
            normalise: true,
            hash_header: false,
            sign_token: true,
        };
        let (_, added) = signed(&signing, &nobody);
        let mut headers = vec![("Content-Type", "application/x-www-form-urlencoded")];
        headers.extend(added.iter().map(|(name, value)| (&**name, &**value)));
        let answer = client::send(self.addr, "POST", "/", &headers, body.as_bytes()).await;
        let answer = answer.expect("an answer of moto");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 200, "{body}: {text}");
        text
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The credentials in an answer.
fn keys(answer: &str) -> Keys {
    let text = |name: &str| {
        let (_, rest) = answer.split_once(&format!("<{name}>"))?;
        Some(rest.split_once('<')?.0.to_owned())
    };
    Keys {
        access_key_id: text("AccessKeyId").expect("a key"),
        secret_access_key: text("SecretAccessKey").expect("its secret"),
        session_token: text("SessionToken"),
    }
}
