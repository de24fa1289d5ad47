//! What is run on a host: fixed texts, with every name and value on their standard input.

use dsm_core::provider::ProviderError;

use super::refused;
use crate::outcome::unclear;

/// Printed first, so that whatever comes before it, `sudo` above all, is known to have run nothing.
const BEGUN: &str = "dsm: begun";
/// The status of a script that changed nothing and says why.
const UNCHANGED: u32 = 65;

/// A script for `/bin/sh`, without a single quote in it. It reads one field a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Script {
    text: &'static str,
    changes: bool,
}

/// What scripts share: `no` ends one that changed nothing, `account` wants one that exists.
const COMMON: &str = r#"
LC_ALL=C; PATH=/usr/sbin:/usr/bin:/sbin:/bin; export LC_ALL PATH
no() { echo "$*" >&2; exit 65; }
account() { getent passwd "$1" >/dev/null || no "there is no such account"; }
shadow() { getent shadow "$1" | cut -d: -f2; }
home() { getent passwd "$1" | cut -d: -f6; }
echo "dsm: begun"
[ "$(id -u)" = 0 ] || no "the admin does not act as root"
"#;

impl Script {
    /// Whether it runs at all.
    pub(super) const TEST: Self = Self {
        changes: false,
        text: r#"
for program in chpasswd useradd usermod userdel getent runuser flock mktemp; do
    command -v "$program" >/dev/null || no "the host has no $program"
done
"#,
    };

    /// Fields: account, password. A password that is refused leaves the old one.
    pub(super) const CHANGE_PASSWORD: Self = Self {
        changes: true,
        text: r#"
IFS= read -r name && IFS= read -r password || no "cut off"
account "$name"
before=$(shadow "$name")
if ! said=$(printf "%s:%s\n" "$name" "$password" | chpasswd 2>&1); then
    [ -n "$before" ] && [ "$(shadow "$name")" = "$before" ] && no "$said"
    echo "$said" >&2
    exit 1
fi
"#,
    };

    /// Field: account. Prints its authorized keys.
    pub(super) const READ_KEYS: Self = Self {
        changes: false,
        text: r#"
IFS= read -r name || no "cut off"
account "$name"
runuser -u "$name" -- sh -c "cat -- \"\$1\" 2>/dev/null || [ ! -e \"\$1\" ]" sh \
    "$(home "$name")/.ssh/authorized_keys" || no "its authorized keys cannot be read"
"#,
    };

    /// Fields: account, the text that marks a key, and its line or nothing. Every line with the text is
    /// removed, and the line added. It is the account that writes: what stands in its home is its own.
    pub(super) const EDIT_KEYS: Self = Self {
        changes: true,
        text: r#"
IFS= read -r name && IFS= read -r mark && IFS= read -r line || no "cut off"
account "$name"
edit="
no() { echo \"\$*\" >&2; exit 65; }
umask 077
dir=\$1/.ssh; file=\$dir/authorized_keys
[ -d \"\$dir\" ] || mkdir -- \"\$dir\" || no \"it has no folder .ssh and makes none\"
[ ! -h \"\$file\" ] || no \"authorized_keys is a link\"
exec 9<\"\$dir\" && flock -w 5 9 || no \"somebody else changes it\"
if [ -e \"\$file\" ]; then old=\$(cat -- \"\$file\") || no \"it cannot be read\"; else old=; fi
new=\$(mktemp \"\$dir/authorized_keys.XXXXXX\") || no \"nothing can be written there\"
trap \"rm -f -- \$new\" EXIT
{ [ -z \"\$old\" ] || printf \"%s\\n\" \"\$old\" | grep -vF -e \"\$2\"; [ \$? -lt 2 ] || exit 65
  [ -z \"\$3\" ] || printf \"%s\\n\" \"\$3\"; } >\"\$new\" || no \"nothing can be written there\"
sync -- \"\$new\" 2>/dev/null || sync
mv -f -- \"\$new\" \"\$file\"
"
runuser -u "$name" -- sh -c "$edit" sh "$(home "$name")" "$mark" "$line"
"#,
    };

    /// Fields: account, password or nothing, groups with commas or nothing, the last day as
    /// `YYYY-MM-DD` or nothing.
    pub(super) const CREATE_ACCOUNT: Self = Self {
        changes: true,
        text: r#"
IFS= read -r name && IFS= read -r password && IFS= read -r groups && IFS= read -r last ||
    no "cut off"
if getent passwd "$name" >/dev/null; then
    [ "$(getent passwd "$name" | cut -d: -f5 | cut -d, -f1)" = dsm ] ||
        no "there is such an account already"
    usermod -p "*" -e "$last" -G "$groups" -- "$name" || exit 1
else
    said=$(useradd -m -s /bin/sh -c dsm -e "$last" -G "$groups" -p "*" -- "$name" 2>&1) || {
        getent passwd "$name" >/dev/null || no "$said"
        echo "$said" >&2
        exit 1
    }
fi
[ -z "$password" ] || printf "%s:%s\n" "$name" "$password" | chpasswd
"#,
    };

    /// Field: account.
    pub(super) const DROP_ACCOUNT: Self = Self {
        changes: true,
        text: r#"
IFS= read -r name || no "cut off"
getent passwd "$name" >/dev/null || exit 0
# Whoever has the account may set the parts after the first comma.
[ "$(getent passwd "$name" | cut -d: -f5 | cut -d, -f1)" = dsm ] || no "it is an account of somebody else"
usermod -e 1 -- "$name" || exit 1
pkill -KILL -u "$(id -u "$name")"
userdel -r -f -- "$name" >&2
! getent passwd "$name" >/dev/null
"#,
    };

    /// No field. Prints the names of the accounts that were made here.
    pub(super) const LIST_ACCOUNTS: Self = Self {
        changes: false,
        text: r#"
getent passwd | while IFS=: read -r name _ _ _ about _; do
    [ "${about%%,*}" != dsm ] || echo "$name"
done
"#,
    };

    /// What the admin's shell is given.
    pub(super) fn command(self, is_root: bool) -> String {
        let sudo = if is_root { "" } else { "sudo -n " };
        format!("exec {sudo}/bin/sh -c '{COMMON}{}'", self.text)
    }

    /// What is not heard of any more.
    pub(super) fn lost(self, why: &str) -> ProviderError {
        unclear(self.changes, why)
    }
}

/// What came of a script.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) output: Vec<u8>,
    pub(super) said: Vec<u8>,
    pub(super) status: Option<u32>,
}

impl Outcome {
    /// What it printed, or what its end means.
    pub(super) fn read(self, script: Script) -> Result<String, ProviderError> {
        let output = String::from_utf8_lossy(&self.output);
        let said = String::from_utf8_lossy(&self.said);
        let said = said.trim();
        // The shell's own profile may print something before.
        let printed = output.split_once(BEGUN).map(|(_, printed)| printed);
        match (self.status, printed) {
            (Some(0), Some(printed)) => Ok(printed.trim_start_matches(['\r', '\n']).to_owned()),
            (Some(UNCHANGED), Some(_)) => Err(refused(said)),
            // It was a shell, or sudo, that ended.
            (Some(_), None) => Err(ProviderError::Refused(format!(
                "the admin cannot run a script: {said}"
            ))),
            (Some(_), Some(_)) => Err(unclear(script.changes, said)),
            (None, _) => Err(script.lost("the connection ended before the script")),
        }
    }
}

/// What a script reads: its fields, one a line.
pub(super) fn input(fields: &[&str]) -> Vec<u8> {
    let mut input = fields.join("\n").into_bytes();
    input.push(b'\n');
    input
}

/// A text as a field: one line, not empty.
pub(super) fn field<'a>(text: &'a str, what: &str) -> Result<&'a str, ProviderError> {
    if text.is_empty() || text.contains(['\n', '\r', '\0']) {
        return Err(ProviderError::Refused(format!(
            "{what} must be one line of text"
        )));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Script; 7] = [
        Script::TEST,
        Script::CHANGE_PASSWORD,
        Script::READ_KEYS,
        Script::EDIT_KEYS,
        Script::CREATE_ACCOUNT,
        Script::DROP_ACCOUNT,
        Script::LIST_ACCOUNTS,
    ];

    #[test]
    fn a_script_is_one_word_of_a_shell() {
        assert!(!COMMON.contains('\''));
        for script in ALL {
            assert!(!script.text.contains('\''), "{}", script.text);
        }
    }

    #[test]
    fn what_may_have_run_is_not_called_refused() {
        let end = |output: &str, status: Option<u32>, script: Script| {
            let outcome = Outcome {
                output: output.as_bytes().to_vec(),
                said: b"words\n".to_vec(),
                status,
            };
            outcome.read(script)
        };
        let change = Script::CHANGE_PASSWORD;
        let begun = "Welcome!\ndsm: begun\nx\n";
        assert_eq!(end(begun, Some(0), change), Ok("x\n".to_owned()));
        assert_eq!(end(begun, Some(65), change), Err(refused("words")));
        let unknown = ProviderError::OutcomeUnknown("words".to_owned());
        assert_eq!(end(begun, Some(1), change), Err(unknown));
        for output in ["", begun] {
            let lost = end(output, None, change);
            assert!(matches!(lost, Err(ProviderError::OutcomeUnknown(_))));
        }
        let sudo = end("", Some(1), change).unwrap_err();
        assert_eq!(sudo, refused("the admin cannot run a script: words"));
        let question = end(begun, Some(1), Script::READ_KEYS);
        assert!(matches!(question, Err(ProviderError::Unavailable(_))));
        let silent = end("", Some(0), change);
        assert!(silent.is_err(), "a forced command is not the script");
    }
}
