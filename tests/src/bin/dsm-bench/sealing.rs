//! What sealing costs, through the vault in this process: reads that are sealed again and for the first
//! time, beside plain ones and beside the arithmetic alone; and what a client that forces first
//! sealings does to another.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dsm_core::access::{Principal, SealingFormat};
use dsm_core::crypto::sealing::{KeyPair, PublicKey};
use dsm_core::entropy::OsEntropy;
use dsm_core::id::AuthorizationId;
use dsm_core::secret::Identity;
use dsm_core::vault::{AuditPlace, AuthorizationFields, Caller, SealingOptions, Vault};
use dsm_tests::fill::{fill, origin};

use crate::report::median;

type Fault = Box<dyn std::error::Error>;

/// How many secrets there are: more than are sealed for the first time in one turn.
const SECRETS: usize = 20_000;
/// How many of them are read again and again.
const FEW: usize = 500;
/// How many sensitive values each has.
const VALUES: f64 = 3.0;
/// The authorization that the vault is filled for.
const AUTHORIZATION: AuthorizationId = AuthorizationId(1);

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// How many callers at the same time.
    pub(crate) clients: usize,
    /// How long a measurement takes.
    pub(crate) turn: Duration,
    /// How many turns each comparison has.
    pub(crate) turns: usize,
}

/// A vault, the client whose values are sealed, and another whose are not.
struct World {
    vault: Arc<Vault>,
    me: Caller,
    sealed: Credentials,
    plain: Principal,
    identities: Arc<Vec<Identity>>,
}

struct Credentials {
    client_id: String,
    client_secret: String,
}

pub(crate) async fn run(plan: Plan) -> Result<(), Fault> {
    let mut out = io::stdout();
    let folder = tempfile::tempdir()?;
    let filled = fill(SECRETS, 1).await.map_err(|error| -> Fault { error })?;
    let builder = Vault::builder_dyn(Arc::clone(&filled.store), Arc::clone(&filled.keys));
    let builder = builder.audit(AuditPlace::Folder(folder.path().join("audit")));
    let vault = Arc::new(builder.open().await?);
    let me = Caller::embedded("bench");
    let world = World {
        plain: another(&vault, &me).await?,
        identities: Arc::clone(&filled.identities),
        sealed: Credentials {
            client_id: filled.client_id.clone(),
            client_secret: filled.client_secret.clone(),
        },
        vault,
        me,
    };
    let threads = SealingOptions::default().threads;
    writeln!(
        out,
        "sealing through the vault in this process, {} callers, {threads} threads for RSA; medians of \
         {} turns of {:?}",
        plan.clients, plan.turns, plan.turn
    )?;
    let mut again = Vec::new();
    let mut first = Vec::new();
    let mut disturbed = Vec::new();
    for _ in 0..plan.turns {
        again.push(world.again(&plan, &mut out).await?);
        first.push(world.first(&plan, threads, &mut out).await?);
        disturbed.push(world.disturbed(&plan, &mut out).await?);
    }
    writeln!(
        out,
        "a read that is sealed again: {:.0} % of a plain one",
        median(again) * 100.0
    )?;
    writeln!(
        out,
        "sealing for the first time: {:.0} % of what the arithmetic alone allows",
        median(first) * 100.0
    )?;
    writeln!(
        out,
        "p99 of another client's plain reads meanwhile: {:.2} times its undisturbed value",
        median(disturbed)
    )?;
    world.vault.close().await;
    Ok(())
}

/// A second authorization with some of the secrets.
async fn another(vault: &Vault, me: &Caller) -> Result<Principal, Fault> {
    let mut fields = AuthorizationFields::new("one", "one");
    fields.allowed_ips = Some(vec!["*".to_owned()]);
    fields.secrets = Some((1..=FEW as u64).map(Into::into).collect());
    let made = vault.create_authorization(me, 1.into(), fields).await?;
    let credentials = vault.reveal_credentials(me, made.id).await?;
    let credentials = credentials.into_oauth2().expect("the default method");
    let secret = credentials.client_secret.expose();
    let token = vault
        .authenticate(&credentials.client_id, secret, origin())
        .await?;
    Ok(vault.principal(token.token.expose(), origin()).await?)
}

impl World {
    /// The client whose values are sealed, or are not for the moment.
    async fn client(&self, sealed: bool) -> Result<Principal, Fault> {
        let fields = AuthorizationFields {
            encrypt_sensitive: Some(sealed),
            encryption_format: Some(SealingFormat::Jwe),
            ..AuthorizationFields::default()
        };
        self.vault
            .update_authorization(&self.me, AUTHORIZATION, fields, None)
            .await?;
        let Credentials {
            client_id,
            client_secret,
        } = &self.sealed;
        let token = self
            .vault
            .authenticate(client_id, client_secret, origin())
            .await?;
        Ok(self.vault.principal(token.token.expose(), origin()).await?)
    }

    /// Nothing is sealed yet to this key.
    async fn new_key(&self) -> Result<PublicKey, Fault> {
        let key = tokio::task::spawn_blocking(|| KeyPair::generate(&OsEntropy)).await?;
        let pem = key.public.to_pem();
        self.vault
            .register_public_key(&self.me, AUTHORIZATION, &pem)
            .await?;
        Ok(key.public)
    }

    /// Repeated sealed reads by repeated plain ones.
    async fn again(&self, plan: &Plan, out: &mut impl io::Write) -> Result<f64, Fault> {
        let few: Arc<Vec<Identity>> = Arc::new(self.identities[..FEW].to_vec());
        let mut rates = [0.0; 2];
        for (rate, sealed) in rates.iter_mut().zip([false, true]) {
            let client = self.client(sealed).await?;
            for identity in few.iter() {
                self.vault.read_secret(&client, identity).await?;
            }
            let few = Arc::clone(&few);
            let next = AtomicUsize::new(0);
            let next = move || Some(few[next.fetch_add(1, Ordering::Relaxed) % few.len()].clone());
            *rate = self.rate(plan, &client, next).await?;
        }
        let [plain, sealed] = rates;
        writeln!(out, "  plain {plain:.0}/s, sealed again {sealed:.0}/s")?;
        Ok(sealed / plain)
    }

    /// First sealed reads by what as many threads seal that do nothing else.
    async fn first(
        &self,
        plan: &Plan,
        threads: usize,
        out: &mut impl io::Write,
    ) -> Result<f64, Fault> {
        let client = self.client(true).await?;
        let key = self.new_key().await?;
        let alone = alone(&key, threads, plan.turn)?;
        let identities = Arc::clone(&self.identities);
        let next = AtomicUsize::new(0);
        let next = move || {
            identities
                .get(next.fetch_add(1, Ordering::Relaxed))
                .cloned()
        };
        let through = VALUES * self.rate(plan, &client, next).await?;
        writeln!(
            out,
            "  arithmetic alone {alone:.0} values/s, first sealed {through:.0} values/s"
        )?;
        Ok(through / alone)
    }

    /// The p99 of plain reads while another client forces first sealings, by its undisturbed value.
    async fn disturbed(&self, plan: &Plan, out: &mut impl io::Write) -> Result<f64, Fault> {
        let client = self.client(true).await?;
        self.new_key().await?;
        let undisturbed = self.p99(plan.turn).await?;
        let over = Arc::new(AtomicBool::new(false));
        let next = Arc::new(AtomicUsize::new(0));
        let forcing: Vec<_> = (0..plan.clients)
            .map(|_| {
                let (vault, client) = (Arc::clone(&self.vault), client.clone());
                let (over, next) = (Arc::clone(&over), Arc::clone(&next));
                let identities = Arc::clone(&self.identities);
                tokio::spawn(async move {
                    while !over.load(Ordering::Relaxed)
                        && let Some(identity) = identities.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        vault.read_secret(&client, identity).await?;
                    }
                    Ok::<_, dsm_core::vault::Error>(())
                })
            })
            .collect();
        let disturbed = self.p99(plan.turn).await?;
        let left = next.load(Ordering::Relaxed) < SECRETS;
        over.store(true, Ordering::Relaxed);
        for task in forcing {
            task.await??;
        }
        if !left {
            return Err("all was sealed before the turn was over".into());
        }
        writeln!(
            out,
            "  p99 of plain reads: {:.3} ms undisturbed, {:.3} ms disturbed",
            undisturbed.as_secs_f64() * 1e3,
            disturbed.as_secs_f64() * 1e3
        )?;
        Ok(disturbed.as_secs_f64() / undisturbed.as_secs_f64())
    }

    /// Of plain reads by one caller.
    async fn p99(&self, turn: Duration) -> Result<Duration, Fault> {
        let end = Instant::now() + turn;
        let mut took = Vec::new();
        for identity in self.identities[..FEW].iter().cycle() {
            let started = Instant::now();
            if started >= end {
                break;
            }
            self.vault.read_secret(&self.plain, identity).await?;
            took.push(started.elapsed());
        }
        took.sort_unstable();
        let place = took.len() * 99 / 100;
        took.get(place).copied().ok_or("nothing was read".into())
    }

    /// Reads per second of all callers, until there is nothing to read or the time is over.
    async fn rate(
        &self,
        plan: &Plan,
        client: &Principal,
        next: impl Fn() -> Option<Identity> + Send + Sync + 'static,
    ) -> Result<f64, Fault> {
        let started = Instant::now();
        let end = started + plan.turn;
        let next = Arc::new(next);
        let tasks: Vec<_> = (0..plan.clients)
            .map(|_| {
                let (vault, client) = (Arc::clone(&self.vault), client.clone());
                let next = Arc::clone(&next);
                tokio::spawn(async move {
                    let mut count = 0_u32;
                    while Instant::now() < end
                        && let Some(identity) = next()
                    {
                        vault.read_secret(&client, &identity).await?;
                        count += 1;
                    }
                    Ok::<_, dsm_core::vault::Error>(count)
                })
            })
            .collect();
        let mut count = 0.0;
        for task in tasks {
            count += f64::from(task.await??);
        }
        Ok(count / started.elapsed().as_secs_f64())
    }
}

/// Values per second that so many threads seal.
fn alone(key: &PublicKey, threads: usize, turn: Duration) -> Result<f64, Fault> {
    let end = Instant::now() + turn;
    let started = Instant::now();
    let threads: Vec<_> = (0..threads)
        .map(|_| {
            let key = key.clone();
            std::thread::spawn(move || {
                let mut count = 0_u32;
                while Instant::now() < end {
                    key.seal(
                        SealingFormat::Jwe,
                        &OsEntropy,
                        b"a password of usual length",
                    )?;
                    count += 1;
                }
                Ok::<_, dsm_core::crypto::sealing::SealError>(count)
            })
        })
        .collect();
    let mut count = 0.0;
    for thread in threads {
        count += f64::from(thread.join().map_err(|_| "a thread panicked")??);
    }
    Ok(count / started.elapsed().as_secs_f64())
}
