//! An OpenSSH server, and accounts of this machine to log in to it.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::kept::{Kept, folder, free_port};

/// It insists on being called by its whole path.
const SERVER: &str = "/usr/sbin/sshd";
/// Where it keeps those that have not logged in yet apart; root's, and empty.
const PRIVILEGES: &str = "/run/sshd";
/// Accounts belong to the machine, not to a server: who has this file locked has the names to itself.
const LOCK: &str = "dsm-test-accounts.lock";
/// How often another port is tried when somebody was faster.
const PORTS: u32 = 3;
/// Run when the server ended: removes the accounts, unless other tests have them by then.
const END: &str = r#"
exec 8>"$LOCK" && flock 8 || exit 1
getent passwd | cut -d: -f1 | grep -e "^conformance" -e "^rot_" | while read -r name; do
    pkill -KILL -u "$name"
    userdel -r -f -- "$name"
done
"#;

/// A server on a free port with host keys of its own. It has the accounts of this machine: those that
/// begin with one of [`PREFIXES`](Self::PREFIXES) are removed before and after, and nobody else's tests use them
/// meanwhile.
#[derive(Debug)]
pub struct Sshd {
    /// Locked as long as it is open. Dropped before the server, whose end waits for the lock.
    _alone: File,
    kept: Kept,
    port: u16,
    host_key: String,
    admin_key: String,
}

impl Sshd {
    /// What names of accounts begin with that tests make.
    pub const PREFIXES: [&'static str; 2] = ["conformance", "rot_"];
    /// Who may do everything there.
    pub const ADMIN: &'static str = "root";

    /// Whether a server can be started and accounts made, or else what is missing.
    ///
    /// # Errors
    ///
    /// One line for people.
    pub fn available() -> Result<(), String> {
        for program in [SERVER, "/usr/bin/ssh-keygen"] {
            if !Path::new(program).exists() {
                return Err(format!("{program} is missing: install openssh-server"));
            }
        }
        // Who owns the process owns this.
        if fs::metadata("/proc/self").map_or(true, |own| own.uid() != 0) {
            return Err("accounts are made by root only: run the tests as root".to_owned());
        }
        Ok(())
    }

    /// A server that root may use with a key.
    pub fn start() -> io::Result<Self> {
        let alone = File::create(std::env::temp_dir().join(LOCK))?;
        alone.lock()?;
        remove_accounts()?;
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::start_once(alone.try_clone()?) {
                Err(_) if tries < PORTS => {}
                done => return done,
            }
        }
    }

    fn start_once(alone: File) -> io::Result<Self> {
        let folder = folder("dsm-sshd-")?;
        let port = free_port()?;
        fs::create_dir_all(PRIVILEGES)?;
        for key in ["host", "admin"] {
            let mut command = Command::new("ssh-keygen");
            command.args(["-q", "-t", "ed25519", "-N", "", "-C", key, "-f"]);
            run(command.arg(folder.join(key)))?;
        }
        let file = |name: &str| folder.join(name).display().to_string();
        // The way to the admin's key leads through a folder that all may write to.
        let settings = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile {}\nUsePAM no\n\
             PasswordAuthentication yes\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
             MaxStartups 100\nMaxAuthTries 20\nLogLevel ERROR\nStrictModes no\n\
             Match User root\n  AuthorizedKeysFile {}\n",
            file("host"),
            file("pid"),
            file("admin.pub"),
        );
        fs::write(folder.join("config"), settings)?;
        let host_key = fs::read_to_string(folder.join("host.pub"))?;
        let admin_key = fs::read_to_string(folder.join("admin"))?;
        let lock = std::env::temp_dir().join(LOCK);
        fs::write(
            folder.join("end"),
            format!("LOCK='{}'\n{END}", lock.display()),
        )?;
        let mut program = Command::new(SERVER);
        program.args(["-D", "-e", "-f", &file("config")]);
        let kept = Kept::start(folder, &program)?;
        let server = Self {
            _alone: alone,
            kept,
            port,
            host_key: host_key.trim().to_owned(),
            admin_key,
        };
        server.kept.wait_until(|| server.answers())?;
        Ok(server)
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The public key that it proves to be, as OpenSSH writes it.
    pub fn host_key(&self) -> &str {
        &self.host_key
    }

    /// The private key of [`ADMIN`](Self::ADMIN), as OpenSSH writes it.
    pub fn admin_key(&self) -> &str {
        &self.admin_key
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.kept.process()
    }

    /// Makes an account with a password past everything under test; one that is there gets it.
    ///
    /// # Panics
    ///
    /// For a name that does not begin with one of [`PREFIXES`](Self::PREFIXES).
    pub fn make_account(&self, name: &str, password: &str) -> io::Result<()> {
        assert!(is_ours(name), "{name} would stay");
        if !accounts()?.iter().any(|there| there == name) {
            run(Command::new("useradd").args(["-m", "-s", "/bin/sh", "--", name]))?;
        }
        let mut change = Command::new("chpasswd").stdin(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = change.stdin.take() {
            stdin.write_all(format!("{name}:{password}\n").as_bytes())?;
        }
        if change.wait()?.success() {
            return Ok(());
        }
        Err(io::Error::other("chpasswd failed"))
    }

    /// The accounts of this machine that begin with one of [`PREFIXES`](Self::PREFIXES).
    pub fn accounts(&self) -> io::Result<Vec<String>> {
        accounts()
    }

    /// Lets an account in with a public key as well, past everything under test.
    pub fn authorize(&self, name: &str, public: &str) -> io::Result<()> {
        let folder = Path::new("/home").join(name).join(".ssh");
        let mut make = Command::new("install");
        make.args(["-d", "-m", "700", "-o", name, "-g", name]);
        run(make.arg(&folder))?;
        let file = folder.join("authorized_keys");
        let held = fs::read_to_string(&file).unwrap_or_default();
        fs::write(&file, format!("{held}{public}\n"))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        run(Command::new("chown")
            .arg(format!("{name}:{name}"))
            .arg(&file))
    }

    /// Whether [`ADMIN`](Self::ADMIN) may run anything at all: its key is bound to a command that
    /// does nothing, or not.
    pub fn set_admin(&self, has: bool) -> io::Result<()> {
        let key = fs::read_to_string(self.kept.folder().join("admin.pub"))?;
        let bare = key.split_once("\" ").map_or(key.as_str(), |(_, bare)| bare);
        let bound = if has {
            ""
        } else {
            "restrict,command=\"false\" "
        };
        fs::write(
            self.kept.folder().join("admin.pub"),
            format!("{bound}{bare}"),
        )
    }

    /// Whatever changes when a password or a key of those accounts does.
    pub fn state(&self) -> Vec<String> {
        let shadow = fs::read_to_string("/etc/shadow").unwrap_or_default();
        let ours = shadow.lines().filter(|line| is_ours(line));
        let ours: Vec<String> = ours.map(str::to_owned).collect();
        let names = ours.iter().filter_map(|line| line.split(':').next());
        let keys = names.map(|name| {
            let file = format!("/home/{name}/.ssh/authorized_keys");
            fs::read_to_string(file).unwrap_or_default()
        });
        let keys: Vec<String> = keys.collect();
        [ours, keys].concat()
    }

    /// Removes those accounts.
    pub fn clear(&self) -> io::Result<()> {
        remove_accounts()
    }

    fn answers(&self) -> bool {
        let ask = || -> io::Result<String> {
            let stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            let mut hello = String::new();
            BufReader::new(stream).read_line(&mut hello)?;
            Ok(hello)
        };
        ask().is_ok_and(|hello| hello.starts_with("SSH-2.0-"))
    }
}

fn is_ours(name: &str) -> bool {
    Sshd::PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn accounts() -> io::Result<Vec<String>> {
    let all = fs::read_to_string("/etc/passwd")?;
    let names = all.lines().filter_map(|line| line.split(':').next());
    let ours = names.filter(|name| is_ours(name));
    Ok(ours.map(str::to_owned).collect())
}

fn remove_accounts() -> io::Result<()> {
    for name in accounts()? {
        // It complains about mail that was never there.
        let _ = Command::new("pkill").args(["-KILL", "-u", &name]).output();
        Command::new("userdel")
            .args(["-r", "-f", "--", &name])
            .output()?;
    }
    Ok(())
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(io::Error::other(
        String::from_utf8_lossy(&said).into_owned(),
    ))
}
