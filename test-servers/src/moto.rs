//! AWS as moto plays it: its identities and its token service.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::kept::{Kept, folder};
use crate::python::MOTO;

/// AWS knows no key that is not active; moto would let it in.
const MAIN: &str = r#"
import moto.iam.access_control as control
from moto.server import main

class UserKey(control.IAMUserAccessKey):
    def __init__(self, account_id, partition, access_key_id, headers):
        super().__init__(account_id, partition, access_key_id, headers)
        for user in self.backend.list_users("/", None, None):
            for key in user.access_keys:
                if key.access_key_id == access_key_id and key.status != "Active":
                    raise control.CreateAccessKeyFailure(reason="InvalidId")

control.IAMUserAccessKey = UserKey
main()
"#;

/// A server of moto, gone with its handle.
#[derive(Debug)]
pub struct Moto {
    _kept: Kept,
    address: SocketAddr,
}

impl Moto {
    /// Whether it can be started, or else what is to be done.
    ///
    /// # Errors
    ///
    /// One line for people.
    pub fn available() -> Result<(), String> {
        MOTO.available()
    }

    /// A server that answers so many calls before signatures and policies count.
    pub fn start(unchecked: u32) -> io::Result<Self> {
        let folder = folder("dsm-moto-")?;
        let main = folder.join("main.py");
        std::fs::write(&main, MAIN)?;
        let mut program = MOTO.python();
        program
            .arg(main)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .env("INITIAL_NO_AUTH_ACTION_COUNT", unchecked.to_string())
            .env("PYTHONUNBUFFERED", "1");
        let kept = Kept::start(folder, &program)?;
        let mut address = None;
        kept.wait_until(|| {
            address = told(kept.folder());
            address.is_some()
        })?;
        let address = address.ok_or_else(|| io::Error::other("it does not say where it is"))?;
        Ok(Self {
            _kept: kept,
            address,
        })
    }

    /// Where it listens, plain HTTP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Where it says that it listens.
fn told(folder: &Path) -> Option<SocketAddr> {
    let log = std::fs::read_to_string(folder.join("log")).ok()?;
    let mut places = log.lines().filter_map(|line| line.split_once("http://"));
    places.find_map(|(_, place)| place.trim().parse().ok())
}
