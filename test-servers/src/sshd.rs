//! An OpenSSH server, and accounts of this machine to log in to it.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::kept::{Kept, folder, free_port, run};

/// It insists on being called by its whole path.
const SERVER: &str = "/usr/sbin/sshd";
/// Where it keeps those that have not logged in yet apart; root's, and empty.
const PRIVILEGES: &str = "/run/sshd";
/// Accounts belong to the machine, not to a server: who has this file locked has the names to itself.
const LOCK: &str = "dsm-test-accounts.lock";
/// How often another port is tried when somebody was faster.
const PORTS: u32 = 3;
/// How accounts are described that a server made: nobody else's are touched.
const MARK: &str = "dsm-test";
/// How the program under test describes those that it made.
const MARK_UNDER_TEST: &str = "dsm";
/// What names begin with of those that it makes in tests.
const UNDER_TEST: &str = "conformance";
/// Run when the server ended: removes the accounts, unless other tests have them by then.
const END: &str = r#"
exec 8>"$LOCK" && flock 8 || exit 1
getent passwd | while IFS=: read -r name _ _ _ about _; do
    case "${about%%,*}:$name" in
        "$MARK:"*|"$MARK_UNDER_TEST:$UNDER_TEST"*)
            pkill -KILL -u "$name"
            userdel -r -f -- "$name"
            ;;
    esac
done
"#;
/// What the admin runs while an answer is to be lost. The next command with the text in the file
/// `mark` is run as it is, with all of its input, and the connection ends in place of its answer.
const FORGET: &str = r#"
cd "${0%/*}" || exit 1
mark=$(cat mark 2>/dev/null)
case $SSH_ORIGINAL_COMMAND in
    *"${mark:-$0}"*) ;;
    *) cd / && exec sh -c "$SSH_ORIGINAL_COMMAND" ;;
esac
input=$(cat; echo .)
rm mark || exit 1
printf %s "${input%.}" | sh -c "$SSH_ORIGINAL_COMMAND" >/dev/null 2>&1
kill -KILL "$PPID"
"#;

/// A server on a free port with host keys of its own. It has the accounts of this machine: those that
/// it made itself, and those named `conformance…` that the program under test did, are removed
/// before and after, and nobody else's tests have such meanwhile. All others are left alone.
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
    /// Who may do everything there.
    pub const ADMIN: &'static str = "root";

    /// Whether a server can be started and accounts made, or else what is missing.
    ///
    /// # Errors
    ///
    /// One line for people.
    pub fn available() -> Result<(), String> {
        for (program, package) in [
            (SERVER, "openssh-server"),
            ("/usr/bin/ssh-keygen", "openssh-client"),
            ("/usr/bin/pkill", "procps"),
        ] {
            if !Path::new(program).exists() {
                return Err(format!("{program} is missing: install {package}"));
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
        // The way to the admin's key leads through a folder that all may write to. What the profile of
        // this machine's root does would be done for every command.
        let settings = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile {}\nUsePAM no\n\
             PasswordAuthentication yes\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
             MaxStartups 100\nMaxAuthTries 20\nLogLevel ERROR\nStrictModes no\n\
             Match User root\n  AuthorizedKeysFile {}\n  SetEnv HOME={}\n",
            file("host"),
            file("pid"),
            file("admin.pub"),
            folder.display(),
        );
        fs::write(folder.join("config"), settings)?;
        let host_key = fs::read_to_string(folder.join("host.pub"))?;
        let admin_key = fs::read_to_string(folder.join("admin"))?;
        let lock = std::env::temp_dir().join(LOCK);
        let names = format!(
            "LOCK='{}' MARK={MARK} MARK_UNDER_TEST={MARK_UNDER_TEST} UNDER_TEST={UNDER_TEST}",
            lock.display()
        );
        fs::write(folder.join("end"), format!("{names}\n{END}"))?;
        fs::write(folder.join("forget"), FORGET)?;
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

    /// Makes an account with a password past everything under test; one that it made gets it.
    ///
    /// # Errors
    ///
    /// For an account that somebody else made, which stays as it is.
    pub fn make_account(&self, name: &str, password: &str) -> io::Result<()> {
        if !self.accounts()?.iter().any(|there| there == name) {
            run(Command::new("useradd").args(["-m", "-s", "/bin/sh", "-c", MARK, "--", name]))?;
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

    /// The accounts of this machine that tests made, with the program under test or past it.
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
        .map(|_| ())
    }

    /// Whether [`ADMIN`](Self::ADMIN) may run anything at all: its key is bound to a command that
    /// does nothing, or not.
    pub fn set_admin(&self, may_run: bool) -> io::Result<()> {
        self.bind_admin(if may_run { None } else { Some("false") })
    }

    /// The next command of [`ADMIN`](Self::ADMIN) that has `mark` in it is done, once, and the
    /// connection closed in place of its answer. [`set_admin`](Self::set_admin) calls it off.
    pub fn forget_answer(&self, mark: &str) -> io::Result<()> {
        fs::write(self.kept.folder().join("mark"), mark)?;
        let forget = self.kept.folder().join("forget");
        self.bind_admin(Some(&format!("exec sh {}", forget.display())))
    }

    /// Whether no such command has come yet.
    pub fn would_forget(&self) -> bool {
        self.kept.folder().join("mark").exists()
    }

    /// Binds the admin's key to a command.
    fn bind_admin(&self, command: Option<&str>) -> io::Result<()> {
        let file = self.kept.folder().join("admin.pub");
        let key = fs::read_to_string(&file)?;
        let bare = key.split_once("\" ").map_or(key.as_str(), |(_, bare)| bare);
        let bound = command.map_or_else(String::new, |it| format!("restrict,command=\"{it}\" "));
        // The server reads it at any time.
        let new = file.with_extension("new");
        fs::write(&new, format!("{bound}{bare}"))?;
        fs::rename(new, file)
    }

    /// Removes those accounts, and the admin may run everything.
    pub fn clear(&self) -> io::Result<()> {
        let _ = fs::remove_file(self.kept.folder().join("mark"));
        self.set_admin(true)?;
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

/// The accounts of a file in the form of `/etc/passwd` that tests made.
fn made_by_tests(passwd: &str) -> Vec<String> {
    let names = passwd.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, _, _, about, ..] = fields[..] else {
            return None;
        };
        // Whoever has the account may set the parts after the first comma.
        let about = about.split(',').next();
        let is_under_test = about == Some(MARK_UNDER_TEST) && name.starts_with(UNDER_TEST);
        (about == Some(MARK) || is_under_test).then(|| name.to_owned())
    });
    names.collect()
}

fn accounts() -> io::Result<Vec<String>> {
    Ok(made_by_tests(&fs::read_to_string("/etc/passwd")?))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_of_others_are_not_of_the_tests_whatever_their_names() {
        let passwd = "rot_a:x:1:1:dsm-test:/home/rot_a:/bin/sh\n\
                      conformance_a:x:2:2:dsm-test,,,:/home/a:/bin/sh\n\
                      conformance_e1:x:3:3:dsm:/home/e1:/bin/sh\n\
                      conformance_e2:x:4:4:Erna:/home/e2:/bin/sh\n\
                      rot_b:x:5:5::/home/rot_b:/bin/sh\n\
                      rot_c:x:6:6:Rota,dsm-test:/home/rot_c:/bin/sh\n\
                      app:x:7:7:dsm:/home/app:/bin/sh\n\
                      nonsense\n";
        assert_eq!(
            made_by_tests(passwd),
            ["rot_a", "conformance_a", "conformance_e1"]
        );
    }
}
