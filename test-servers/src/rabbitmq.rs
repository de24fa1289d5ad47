//! RabbitMQ with its management plugin.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::authority;
use crate::kept::{Kept, folder, free_port};

/// The server itself; what stands in the path changes to an account of its own first.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// How often other ports are tried when somebody was faster.
const PORTS: u32 = 3;

/// A node of its own: name, ports, cookie and daemon for names.
#[derive(Debug)]
pub struct RabbitMq {
    kept: Kept,
    port: u16,
    management: u16,
    management_tls: u16,
}

impl RabbitMq {
    /// Who may do everything there.
    pub const ADMIN: &'static str = "root";
    /// The password of [`ADMIN`](Self::ADMIN).
    pub const PASSWORD: &'static str = "Admin-password-of-tests-1";

    /// Whether a server can be started, or else what is to be installed.
    ///
    /// # Errors
    ///
    /// One line for people.
    pub fn available() -> Result<(), String> {
        if Path::new(SERVER).exists() {
            return Ok(());
        }
        Err(format!("{SERVER} is missing: install rabbitmq-server"))
    }

    /// A server with one administrator.
    pub fn start() -> io::Result<Self> {
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::start_once() {
                Err(_) if tries < PORTS => {}
                done => return done,
            }
        }
    }

    fn start_once() -> io::Result<Self> {
        let folder = folder("dsm-rabbitmq-")?;
        let (port, management, management_tls) = (free_port()?, free_port()?, free_port()?);
        let (distribution, names) = (free_port()?, free_port()?);
        let file = |name: &str, text: &str| fs::write(folder.join(name), text);
        authority::make(&folder)?;
        let path = |name: &str| folder.join(name).display().to_string();
        file("plugins", "[rabbitmq_management].\n")?;
        file(
            "rabbitmq.conf",
            &format!(
                "management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {management}\n\
                 management.ssl.ip = 127.0.0.1\nmanagement.ssl.port = {management_tls}\n\
                 management.ssl.certfile = {}\nmanagement.ssl.keyfile = {}\n\
                 default_user = {}\ndefault_pass = {}\n",
                path(authority::CERTIFICATE),
                path(authority::KEY),
                Self::ADMIN,
                Self::PASSWORD
            ),
        )?;
        file("env.conf", "")?;
        // Nodes talk to each other by a cookie; this one shall talk to none.
        let cookie = folder.join(".erlang.cookie");
        fs::write(&cookie, format!("DSM{port}{names}"))?;
        fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400))?;
        let mut program = Command::new("sh");
        program.args(["-c", "epmd -address 127.0.0.1 & exec \"$0\"", SERVER]);
        program
            .env("HOME", &folder)
            .env("ERL_EPMD_PORT", names.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", format!("dsm-{port}@localhost"))
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", port.to_string())
            .env("RABBITMQ_DIST_PORT", distribution.to_string())
            .env("RABBITMQ_CONF_ENV_FILE", folder.join("env.conf"))
            .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("plugins"))
            .env("RABBITMQ_MNESIA_BASE", folder.join("data"))
            .env("RABBITMQ_LOG_BASE", folder.join("logs"))
            .env("RABBITMQ_PID_FILE", folder.join("pid"))
            // Erlang's schedulers spin while they wait, which others of a small machine would feel.
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",
            );
        let kept = Kept::start(folder, &program)?;
        let server = Self {
            kept,
            port,
            management,
            management_tls,
        };
        server.kept.wait_until(|| server.answers())?;
        Ok(server)
    }

    /// Where it is managed: `127.0.0.1:PORT`, plain HTTP.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.management)
    }

    /// The port of 127.0.0.1 where it is managed under TLS.
    pub fn tls_port(&self) -> u16 {
        self.management_tls
    }

    /// The certificate by which its own is trusted.
    pub fn ca(&self) -> PathBuf {
        self.kept.folder().join(authority::CA)
    }

    /// The port of AMQP.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether all ports answer; the administrator is made before they do.
    fn answers(&self) -> bool {
        let ask = || -> io::Result<String> {
            TcpStream::connect(("127.0.0.1", self.port))?;
            TcpStream::connect(("127.0.0.1", self.management_tls))?;
            let mut stream = TcpStream::connect(("127.0.0.1", self.management))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(b"GET /api/overview HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
            let mut head = [0; 12];
            stream.read_exact(&mut head)?;
            Ok(String::from_utf8_lossy(&head).into_owned())
        };
        // Who nobody is does not matter: it looks.
        ask().is_ok_and(|head| head.ends_with("401"))
    }
}
