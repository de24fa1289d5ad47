//! Making a vault, and opening it again.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::cache::{Cache, ReadAt};
use super::client::{Bearers, Uses, decoy};
use super::error::OpenError;
use super::record::Records;
use super::registry::{ENGINES, Registry, RegistryEntry};
use super::rotation::Turns;
use super::sealing::{Sealing, SealingOptions};
use super::{Vault, kind};
use crate::audit::{
    Actor, AuditSink, FileSink, FileSinkOptions, ObjectKind, ObjectRef, Operation, StoreSink,
    Trail, TrailOptions,
};
use crate::aws::Sts;
use crate::crypto::{CryptoError, KeyProvider, Keyring, Sealer, VaultId, root_key_id};
use crate::entropy::{Entropy, OsEntropy};
use crate::provider::{Provider, Providers};
use crate::store::{
    ChangeSet, Changed, Page, Query, Record, RecordKey, ServerId, Store, StoreError,
};
use crate::time::{Clock, SystemClock};
use crate::transfer;

/// Where the vault's own record is.
pub(crate) const KEYRING_RECORD: RecordKey = RecordKey {
    kind: kind::VAULT,
    id: 1,
};

/// How a vault behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultOptions {
    /// How old policy and metadata may be that another process has changed; zero turns caching
    /// off. Default: a second.
    pub max_staleness: Duration,
    /// For how long an access token is good. Default: an hour.
    pub token_lifetime: Duration,
    /// How many versions of a secret are kept. Default: 100.
    pub retained_versions: NonZeroU32,
    /// Whether clients that register applications may name systems, environments, lines and types
    /// that are not registered yet. Default: no.
    pub auto_register: bool,
    /// How sensitive values are sealed to the keys of authorizations.
    pub sealing: SealingOptions,
    /// How long a credential that was rotated away stays good. Default: the larger of the token
    /// lifetime and five minutes. It never outlasts the interval of its timer.
    pub rotation_overlap: Option<Duration>,
    /// How many rotations this vault works on at the same time on one target. Default: 4.
    pub rotations_per_target: NonZeroUsize,
    /// How many accounts that live for a while an authorization has at most at a time. Default: 100.
    pub leases_per_authorization: NonZeroU32,
}

impl VaultOptions {
    /// How long a credential that was rotated away stays good, unless asked for otherwise.
    pub fn overlap(&self) -> Duration {
        let usual = self.token_lifetime.max(Duration::from_mins(5));
        self.rotation_overlap.unwrap_or(usual)
    }
}

impl Default for VaultOptions {
    fn default() -> Self {
        Self {
            max_staleness: Duration::from_secs(1),
            token_lifetime: Duration::from_hours(1),
            retained_versions: NonZeroU32::new(100).expect("100 is not zero"),
            auto_register: false,
            sealing: SealingOptions::default(),
            rotation_overlap: None,
            rotations_per_target: NonZeroUsize::new(4).expect("4 is not zero"),
            leases_per_authorization: NonZeroU32::new(100).expect("100 is not zero"),
        }
    }
}

/// Where the audit trail is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditPlace {
    /// Only in the store's log; every answer waits for it.
    Store,
    /// In a folder, for which every answer waits; the store's log follows.
    Folder(PathBuf),
    /// In the store's log, for which every answer waits; the folder follows.
    StoreThenFolder(PathBuf),
}

/// The keys of a vault without its trail, for what only looks at it.
#[derive(Debug)]
pub struct Unlocked {
    /// Seals and opens.
    pub sealer: Arc<Sealer>,
    /// The vault's own keys.
    pub keyring: Arc<Keyring>,
}

/// Puts a [`Vault`] together.
#[derive(Debug)]
pub struct VaultBuilder {
    store: Arc<dyn Store>,
    keys: Arc<dyn KeyProvider>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    audit: AuditPlace,
    options: VaultOptions,
    providers: Providers,
    #[cfg(feature = "testing")]
    fail_points: Option<Arc<crate::testing::FailPoints>>,
    sts: Option<Arc<dyn Sts>>,
}

impl VaultBuilder {
    pub(super) fn new(store: Arc<dyn Store>, keys: Arc<dyn KeyProvider>) -> Self {
        Self {
            store,
            keys,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(OsEntropy),
            audit: AuditPlace::Store,
            options: VaultOptions::default(),
            providers: Providers::default(),
            #[cfg(feature = "testing")]
            fail_points: None,
            sts: None,
        }
    }

    /// Reads the time elsewhere than from the system.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Takes randomness elsewhere than from the system.
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// Where the audit trail is kept; in the store unless said.
    pub fn audit(mut self, place: AuditPlace) -> Self {
        self.audit = place;
        self
    }

    /// Asks this endpoint who AWS clients are; without one they are refused.
    pub fn sts(mut self, sts: Arc<dyn Sts>) -> Self {
        self.sts = Some(sts);
        self
    }

    /// How the vault behaves.
    pub fn options(mut self, options: VaultOptions) -> Self {
        self.options = options;
        self
    }

    /// Adds a provider, by the name under which targets choose it.
    pub fn provider(mut self, name: impl Into<String>, provider: Arc<dyn Provider>) -> Self {
        self.providers = self.providers.with(name, provider);
        self
    }

    /// Where workers die in a test.
    #[cfg(feature = "testing")]
    pub fn fail_points(mut self, points: Arc<crate::testing::FailPoints>) -> Self {
        self.fail_points = Some(points);
        self
    }

    /// Makes a new vault in an empty store and opens it. It knows the four engines.
    ///
    /// # Errors
    ///
    /// [`OpenError::NotEmpty`] when the store holds anything.
    pub async fn initialise(self) -> Result<Vault, OpenError> {
        if find_vault_record(&*self.store).await?.is_some() {
            return Err(OpenError::NotEmpty);
        }
        refuse_unfinished(&*self.store).await?;
        for &kind in kind::SEALED {
            let found = self.store.list(&Query::new(kind), Page::first(1)).await?;
            if !found.records.is_empty() {
                return Err(OpenError::NotEmpty);
            }
        }
        let id: VaultId = self.entropy.array();
        let sealer = Sealer::new(id, Arc::clone(&self.keys), Arc::clone(&self.entropy))?;
        let keyring = Keyring::generate(&*self.entropy);
        let record = Record {
            key: KEYRING_RECORD,
            revision: 1,
            body: [&id[..], &sealer.seal_keyring(&keyring)].concat(),
            terms: Vec::new(),
            created_at: self.clock.now(),
            expires_at: None,
        };
        let unlocked = Unlocked {
            sealer: Arc::new(sealer),
            keyring: Arc::new(keyring),
        };
        let vault = self.assemble(unlocked).await?;
        let decoy = decoy(&vault.records, &*vault.entropy);
        let mut set = ChangeSet::default().create(record).create(decoy);
        for name in ENGINES {
            let entry = RegistryEntry {
                registry: Registry::Engine,
                name: name.to_owned(),
                enabled: true,
                description: String::new(),
            };
            let id = vault.records.store.next_id(kind::ENGINE).await?;
            let entry = vault.records.object(id.into(), entry, "vault");
            set = set.create(vault.records.encode(&entry));
        }
        match vault.records.store.commit(set).await {
            Ok(()) => {}
            Err(StoreError::AlreadyExists(_)) => return Err(OpenError::NotEmpty),
            Err(error) => return Err(error.into()),
        }
        // Not before: whoever is faster makes another vault, in whose trail this could not be read.
        vault.record_alone(Operation::Initialise).await?;
        Ok(vault)
    }

    /// Opens the vault in the store. Nothing is made where there is none.
    ///
    /// # Errors
    ///
    /// [`OpenError::NotInitialised`] for an empty store; [`OpenError::Key`] and
    /// [`OpenError::WrongKey`] when the root key is missing or another one.
    pub async fn open(self) -> Result<Vault, OpenError> {
        let unlocked = self.unlock().await?;
        let vault = self.assemble(unlocked).await?;
        vault.record_alone(Operation::Start).await?;
        vault.keep_decoy().await?;
        Ok(vault)
    }

    /// Opens the keys of the vault in the store and nothing else. Nothing is recorded or changed.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn unlock(&self) -> Result<Unlocked, OpenError> {
        refuse_unfinished(&*self.store).await?;
        let Some(record) = find_vault_record(&*self.store).await? else {
            return Err(OpenError::NotInitialised);
        };
        let Some((id, sealed)) = record.body.split_first_chunk::<16>() else {
            return Err(OpenError::WrongKey(CryptoError::UnsupportedFormat));
        };
        let sealer = Sealer::new(*id, Arc::clone(&self.keys), Arc::clone(&self.entropy))?;
        let keyring = sealer.open_keyring(sealed).map_err(OpenError::WrongKey)?;
        Ok(Unlocked {
            sealer: Arc::new(sealer),
            keyring: Arc::new(keyring),
        })
    }

    async fn assemble(self, unlocked: Unlocked) -> Result<Vault, OpenError> {
        let records = Arc::new(Records {
            store: self.store,
            sealer: unlocked.sealer,
            keyring: unlocked.keyring,
            clock: Arc::clone(&self.clock),
            cache: Cache::new(self.options.max_staleness),
        });
        let trail = start_trail(&records, &self.audit, &self.clock, &self.entropy).await?;
        watch_changes(&records);
        Ok(Vault {
            records,
            trail: Arc::new(trail),
            clock: self.clock,
            entropy: self.entropy,
            sealing: Sealing::new(&self.options.sealing),
            options: self.options,
            providers: self.providers,
            turns: Turns::default(),
            #[cfg(feature = "testing")]
            fail_points: self.fail_points,
            bearers: Bearers::new(100_000),
            uses: Uses::default(),
            sts: self.sts,
            committing: Arc::default(),
        })
    }
}

impl Vault {
    /// Records that the vault was made, started or stopped.
    pub(super) async fn record_alone(&self, operation: Operation) -> Result<(), OpenError> {
        let object = Some(ObjectRef::new(ObjectKind::Vault, 0u64, ""));
        let event = super::act::event(self, Actor::Vault, None, operation, object);
        drop(self.trail.record(&event).await?);
        Ok(())
    }
}

pub(crate) async fn find_vault_record(store: &dyn Store) -> Result<Option<Record>, StoreError> {
    store.find(KEYRING_RECORD).await
}

async fn refuse_unfinished(store: &dyn Store) -> Result<(), OpenError> {
    if transfer::unfinished(store).await? {
        return Err(OpenError::Unfinished);
    }
    Ok(())
}

async fn start_trail(
    records: &Records,
    place: &AuditPlace,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<Trail, OpenError> {
    let in_store: Arc<dyn AuditSink> = Arc::new(StoreSink::new(
        Arc::clone(&records.store),
        Arc::clone(&records.sealer),
        Arc::clone(&records.keyring),
    ));
    let in_folder = |folder: &PathBuf| {
        let keyring = Arc::clone(&records.keyring);
        let options = FileSinkOptions::new(folder, keyring, Arc::clone(clock), Arc::clone(entropy));
        FileSink::open(options).map(Arc::new)
    };
    let options = match place {
        AuditPlace::Store => TrailOptions::new(ServerId(entropy.array()), in_store),
        AuditPlace::Folder(folder) => {
            let file = in_folder(folder)?;
            TrailOptions::new(file.server(), file).follower(in_store)
        }
        AuditPlace::StoreThenFolder(folder) => {
            let file = in_folder(folder)?;
            TrailOptions::new(file.server(), in_store).follower(file)
        }
    };
    Ok(Trail::start(options).await?)
}

/// Forgets cached records that others change, for as long as the vault is there.
fn watch_changes(records: &Arc<Records>) {
    let mut changes = records.store.changes();
    let records = Arc::downgrade(records);
    tokio::spawn(async move {
        while let Some(changed) = changes.next().await {
            let Some(records) = records.upgrade() else {
                return;
            };
            records.cache.forget(changed);
            let rotated = match changed {
                Changed::UpToDate(instant) => {
                    let now = ReadAt::now(&*records.clock);
                    if let Some(until) = now.before(instant.elapsed()) {
                        records.cache.told_until(until);
                    }
                    false
                }
                Changed::Record(key) => key == KEYRING_RECORD,
                Changed::Unknown => is_rotated(&records).await,
            };
            if rotated && let Err(error) = records.sealer.refresh() {
                tracing::error!(%error, "the root key was rotated and cannot be loaded");
            }
        }
    });
}

/// Whether the keyring is sealed under another root key than the one that is active here.
async fn is_rotated(records: &Records) -> bool {
    match find_vault_record(&*records.store).await {
        Ok(Some(record)) => record
            .body
            .get(16..)
            .is_some_and(|sealed| root_key_id(sealed) != Ok(records.sealer.active())),
        // A store that cannot be read now says so to whoever needs it.
        Ok(None) | Err(_) => false,
    }
}
