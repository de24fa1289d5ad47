//! One shared connection that is made anew when it was lost.

use std::time::Duration;

use dsm_core::store::StoreError;
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value, cmd};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::fault::{Fault, is_answer, is_elsewhere, is_vanished, told};
use crate::keys::Keys;
use crate::scripts::Script;
use crate::target::{Live, Target};

/// How long replicas have to confirm a write.
const CONFIRM: Duration = Duration::from_secs(1);

/// Whether a command is sent again, once, when its answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resend {
    /// It may be done twice.
    Once,
    /// It must not.
    Never,
}

#[derive(Debug)]
pub(crate) struct Link {
    target: std::sync::Arc<Target>,
    slot: Mutex<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    live: Option<Live>,
    /// When connecting failed the last time, and why.
    failed: Option<(Instant, String)>,
}

impl Link {
    pub(crate) fn new(target: std::sync::Arc<Target>) -> Self {
        Self {
            target,
            slot: Mutex::default(),
        }
    }

    /// The connection, made when there is none.
    async fn live(&self) -> Result<Live, StoreError> {
        let asked = Instant::now();
        let mut slot = self.slot.lock().await;
        if let Some(live) = slot.live.as_ref().filter(|live| live.is_up()) {
            return Ok(live.clone());
        }
        slot.live = None;
        // Whoever waited while another tried in vain need not try as well.
        if let Some((at, reason)) = &slot.failed
            && *at >= asked
        {
            return Err(StoreError::Unavailable {
                reason: reason.clone(),
                source: None,
            });
        }
        match self.target.connect().await {
            Ok(live) => {
                slot.failed = None;
                Ok(slot.live.insert(live).clone())
            }
            Err(error) => {
                if let StoreError::Unavailable { reason, .. } = &error {
                    slot.failed = Some((Instant::now(), reason.clone()));
                }
                Err(error)
            }
        }
    }

    /// Ends the connection when the last call over it has ended.
    pub(crate) async fn close(&self) {
        self.slot.lock().await.live = None;
    }

    /// Runs a command.
    pub(crate) async fn command(&self, command: &Cmd, resend: Resend) -> Result<Value, Fault> {
        let (value, _) = self.send(Sending::Command(command), resend).await?;
        Ok(value)
    }

    /// Runs a script.
    pub(crate) async fn script(
        &self,
        script: &Script,
        keys: &Keys,
        arguments: &[Vec<u8>],
        resend: Resend,
    ) -> Result<Value, Fault> {
        let sending = Sending::Script(script, keys, arguments);
        let (value, _) = self.send(sending, resend).await?;
        Ok(value)
    }

    /// Runs a command or script that writes, and waits until so many replicas have received it.
    pub(crate) async fn write(
        &self,
        sending: Sending<'_>,
        resend: Resend,
        replicas: u32,
    ) -> Result<Value, Fault> {
        let (value, live) = self.send(sending, resend).await?;
        if replicas == 0 {
            return Ok(value);
        }
        let mut wait = cmd("WAIT");
        wait.arg(replicas).arg(CONFIRM.as_millis());
        // On the same connection: it waits for all that this one wrote.
        let mut connection = live.connection.clone();
        let ask = async || wait.query_async(&mut connection).await;
        let confirmed: Result<u32, RedisError> = live.rounds.join(ask).await;
        match confirmed {
            Ok(confirmed) if confirmed >= replicas => Ok(value),
            Ok(confirmed) => Err(Fault::lost(StoreError::Unavailable {
                reason: format!(
                    "{} took the write, but {confirmed} of {replicas} replicas confirmed it: \
                     check the replicas",
                    self.target.name(),
                ),
                source: None,
            })),
            Err(error) => {
                if !is_answer(&error) {
                    live.give_up();
                }
                Err(Fault::lost(told(self.target.name(), error)))
            }
        }
    }

    async fn send(&self, sending: Sending<'_>, resend: Resend) -> Result<(Value, Live), Fault> {
        let mut attempts = 0;
        loop {
            let mut live = self.live().await.map_err(|error| Fault {
                error,
                sent: attempts > 0,
            })?;
            attempts += 1;
            let error = match sending.run(&mut live).await {
                // While it was read the server may have been replaced, and the changes are told of
                // another one by now.
                Ok(_) if resend == Resend::Once && !live.is_current() => {
                    if attempts == 1 {
                        continue;
                    }
                    return Err(Fault::lost(StoreError::Unavailable {
                        reason: format!("{} was replaced meanwhile: try again", self.target.name()),
                        source: None,
                    }));
                }
                Ok(value) => return Ok((value, live)),
                Err(error) => error,
            };
            let answered = is_answer(&error);
            if !answered || is_elsewhere(&error) || is_vanished(&error) {
                live.give_up();
            }
            // A server that is no master has done nothing.
            let again =
                attempts == 1 && (is_elsewhere(&error) || !answered && resend == Resend::Once);
            if !again {
                return Err(Fault {
                    sent: !answered,
                    error: told(self.target.name(), error),
                });
            }
        }
    }
}

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sending<'a> {
    Command(&'a Cmd),
    Script(&'a Script, &'a Keys, &'a [Vec<u8>]),
}

impl Sending<'_> {
    /// Sends it once.
    pub(crate) async fn run(self, live: &mut Live) -> Result<Value, RedisError> {
        match self {
            Self::Command(command) => command.query_async(&mut live.connection).await,
            Self::Script(script, keys, arguments) => {
                let by_hash = call("EVALSHA", script.hash(), keys, arguments);
                match by_hash.query_async(&mut live.connection).await {
                    // A server that was restarted or promoted does not know it; nothing was run.
                    Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                        let whole = call("EVAL", script.text(), keys, arguments);
                        whole.query_async(&mut live.connection).await
                    }
                    result => result,
                }
            }
        }
    }
}

fn call(name: &str, script: &str, keys: &Keys, arguments: &[Vec<u8>]) -> Cmd {
    let mut command = cmd(name);
    command.arg(script).arg(keys.all().len()).arg(keys.all());
    for argument in arguments {
        command.arg(argument.as_slice());
    }
    command
}
