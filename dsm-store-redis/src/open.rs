//! What is asked of Redis before it is used.

use std::collections::HashMap;

use dsm_core::store::{SchemaChanges, StoreError};
use redis::{Value, cmd, from_redis_value};

use crate::fault::{Unsafe, told, unexpected, vanished};
use crate::keys::Keys;
use crate::link::{Link, Resend};
use crate::read::text;
use crate::scripts;
use crate::target::Live;

/// The version of what is stored.
const VERSION: i64 = 1;

/// By each of these an acknowledged write survives a crash, and nothing is evicted.
const SETTINGS: [(&str, &str); 4] = [
    ("appendonly", "yes"),
    ("appendfsync", "always"),
    // Otherwise nothing is synced while the file is rewritten.
    ("no-appendfsync-on-rewrite", "no"),
    ("maxmemory-policy", "noeviction"),
];

/// Refuses settings that lose acknowledged writes.
pub(crate) async fn check_settings(live: &mut Live, name: &str) -> Result<(), StoreError> {
    let mut question = cmd("CONFIG");
    question.arg("GET");
    for (setting, _) in SETTINGS {
        question.arg(setting);
    }
    let answer = question.query_async(&mut live.connection).await;
    let found: HashMap<String, String> = match answer {
        Ok(found) => found,
        // Redis answered, and did not tell.
        Err(error) if matches!(error.code(), Some("NOPERM" | "ERR")) => HashMap::new(),
        Err(error) => return Err(told(name, error)),
    };
    for (setting, needed) in SETTINGS {
        let problem = match found.get(setting).map(String::as_str) {
            Some(value) if value == needed => continue,
            Some(value) => format!(
                "{name} has {setting} {value}, by which acknowledged writes can be lost: \
                 set {setting} to {needed}, or accept the loss with --accept-data-loss"
            ),
            None => format!(
                "{name} does not tell its settings (CONFIG GET is refused), so it cannot be checked \
                 that appendonly is yes, appendfsync always, no-appendfsync-on-rewrite no and \
                 maxmemory-policy noeviction: allow CONFIG GET, or see to them and start with \
                 --accept-data-loss"
            ),
        };
        return Err(StoreError::backend(Unsafe(problem)));
    }
    Ok(())
}

/// Refuses a server without the store, which had one when it was opened.
pub(crate) async fn check_presence(
    live: &mut Live,
    keys: &Keys,
    name: &str,
) -> Result<(), StoreError> {
    let mut version = cmd("GET");
    version.arg(keys.schema());
    let found = version.query_async(&mut live.connection).await;
    match found.map_err(|error| told(name, error))? {
        Value::Nil => Err(vanished(name)),
        _ => Ok(()),
    }
}

/// Finds the store's version, or makes a new store where there is nothing and that is allowed.
pub(crate) async fn check_schema(
    link: &Link,
    keys: &Keys,
    changes: SchemaChanges,
) -> Result<(), StoreError> {
    let mut version = cmd("GET");
    version.arg(keys.schema());
    let mut found = link.command(&version, Resend::Once).await?;
    if found == Value::Nil {
        if any_key(link, keys).await? {
            // Another process may have begun meanwhile.
            found = link.command(&version, Resend::Once).await?;
            if found == Value::Nil {
                return Err(foreign(keys));
            }
        } else {
            changes.check(0, VERSION)?;
            let arguments = [VERSION.to_string().into_bytes()];
            let opened = link.script(&scripts::OPEN, keys, &arguments, Resend::Once);
            found = opened.await?;
        }
    }
    let found = text(found)?;
    match found.parse() {
        Ok(found) if found > 0 => changes.check(found, VERSION),
        _ => Err(foreign(keys)),
    }
}

/// Whether there is any key of the prefix. It is asked once in the life of a store.
async fn any_key(link: &Link, keys: &Keys) -> Result<bool, StoreError> {
    let pattern = format!("{}*", keys.tag());
    let mut cursor = "0".to_owned();
    loop {
        let mut scan = cmd("SCAN");
        scan.arg(&cursor).arg("MATCH").arg(&pattern);
        scan.arg("COUNT").arg(10_000);
        let page = link.command(&scan, Resend::Once).await?;
        let (next, found): (String, Vec<Vec<u8>>) =
            from_redis_value(page).map_err(|_| unexpected())?;
        if !found.is_empty() {
            return Ok(true);
        }
        if next == "0" {
            return Ok(false);
        }
        cursor = next;
    }
}

fn foreign(keys: &Keys) -> StoreError {
    StoreError::Corrupt(format!(
        "there are keys of another program under {}: choose another prefix",
        keys.tag()
    ))
}
