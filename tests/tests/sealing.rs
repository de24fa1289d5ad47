//! What is sealed to a client's key, opened by programs that others wrote: Python's jwcrypto and the
//! `openssl` command; and what was changed on the way, opened by nobody.
//!
//! `DSM_CASES` says how many values; without it a few. `cargo xtask campaign sealing` does 1,000.
#![allow(clippy::disallowed_methods, reason = "what a client does")]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use dsm_core::crypto::sealing::{KeyPair, PrivateKey, SealingFormat};
use dsm_core::entropy::{Entropy as _, OsEntropy};
use dsm_test_servers::is_there;
use dsm_test_servers::python::JWCRYPTO;

/// Opens each line of standard input and prints it as base64, or a dash when it does not open.
///
/// jwcrypto takes an empty value for none: it decrypts it, notes the success, and then says that nothing
/// was found. What it noted counts.
const OPEN_JWE: &str = "
import base64, sys
from jwcrypto import jwe, jwk
key = jwk.JWK.from_pem(open(sys.argv[1], 'rb').read())
for line in sys.stdin:
    token = jwe.JWE()
    try:
        token.deserialize(line.strip(), key=key)
        opened = True
    except Exception:
        opened = token.plaintext == b'' and token.decryptlog == ['Success']
    print('+' + base64.b64encode(token.plaintext).decode() if opened else '-')
";

fn cases(short: usize) -> usize {
    let given = std::env::var("DSM_CASES").ok();
    given.map_or(short, |cases| cases.parse().expect("a number"))
}

/// A pair of 3072 bits, made once: it takes a while.
fn pair() -> &'static KeyPair {
    static PAIR: OnceLock<KeyPair> = OnceLock::new();
    PAIR.get_or_init(|| KeyPair::generate(&OsEntropy))
}

fn private() -> PrivateKey {
    PrivateKey::from_pem(pair().private.expose()).expect("just made")
}

fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    OsEntropy.fill(&mut bytes);
    bytes
}

/// A number below `bound`.
fn below(bound: usize) -> usize {
    let number = u64::from_le_bytes(random(8).try_into().expect("eight bytes"));
    usize::try_from(number % bound as u64).expect("below a usize")
}

/// Lengths from none to `longest`, both among them.
fn lengths(count: usize, longest: usize) -> Vec<usize> {
    let between = (2..count).map(|_| below(longest + 1));
    [0, longest]
        .into_iter()
        .chain(between)
        .take(count)
        .collect()
}

fn key_file() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(pair().private.expose().as_bytes())
        .expect("written");
    file
}

fn run(mut command: Command, input: &[u8]) -> Output {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_owned();
    let feeding = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("ends");
    // What does not read to the end says so by its answer.
    let _ = feeding.join().expect("no panic");
    output
}

/// What jwcrypto makes of each text; none where it opens nothing.
fn jwcrypto(key: &Path, sealed: &[String]) -> Vec<Option<Vec<u8>>> {
    let mut python = JWCRYPTO.python();
    python.args(["-c", OPEN_JWE]).arg(key);
    let output = run(python, sealed.join("\n").as_bytes());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let lines = String::from_utf8(output.stdout).expect("base64");
    let opened = lines.lines().map(|line| {
        let text = line.strip_prefix('+')?;
        Some(BASE64.decode(text.as_bytes()).expect("base64"))
    });
    opened.collect()
}

/// What `openssl` makes of a text; none where it does not open it.
fn openssl(key: &Path, format: SealingFormat, sealed: &str) -> Option<Vec<u8>> {
    let hash = match format {
        SealingFormat::OaepSha1 => "sha1",
        _ => "sha256",
    };
    let mut openssl = Command::new("openssl");
    openssl
        .args(["pkeyutl", "-decrypt", "-inkey"])
        .arg(key)
        .args(["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt"])
        .arg(format!("rsa_oaep_md:{hash}"));
    let sealed = BASE64.decode(sealed.as_bytes()).expect("base64");
    let output = run(openssl, &sealed);
    output.status.success().then_some(output.stdout)
}

fn openssl_available() -> Result<(), String> {
    let found = Command::new("openssl").arg("version").output();
    let there = found.is_ok_and(|output| output.status.success());
    there.then_some(()).ok_or("openssl is missing".to_owned())
}

/// The same text with one bit of what it encodes changed.
fn tampered(format: SealingFormat, sealed: &str) -> String {
    let flip = |mut bytes: Vec<u8>| {
        let at = below(bytes.len() * 8);
        bytes[at / 8] ^= 1 << (at % 8);
        bytes
    };
    if format != SealingFormat::Jwe {
        let bytes = BASE64.decode(sealed.as_bytes()).expect("base64");
        return BASE64.encode(&flip(bytes));
    }
    let mut parts: Vec<String> = sealed.split('.').map(str::to_owned).collect();
    // An empty value has an empty part.
    let filled: Vec<usize> = (0..parts.len())
        .filter(|at| !parts[*at].is_empty())
        .collect();
    let part = &mut parts[filled[below(filled.len())]];
    let bytes = BASE64URL_NOPAD.decode(part.as_bytes()).expect("base64url");
    *part = BASE64URL_NOPAD.encode(&flip(bytes));
    parts.join(".")
}

#[test]
fn jwcrypto_opens_every_value_sealed_as_jwe() {
    if !is_there(JWCRYPTO.available()) {
        return;
    }
    let key = key_file();
    let texts: Vec<Vec<u8>> = lengths(cases(20), 64 * 1024)
        .into_iter()
        .map(random)
        .collect();
    let seal = |text: &Vec<u8>| pair().public.seal(SealingFormat::Jwe, &OsEntropy, text);
    let sealed: Result<Vec<String>, _> = texts.iter().map(seal).collect();
    let sealed = sealed.expect("sealed");
    let opened = jwcrypto(key.path(), &sealed);
    assert_eq!(opened.len(), texts.len());
    for (opened, text) in opened.iter().zip(&texts) {
        assert!(opened.as_ref() == Some(text), "{} bytes", text.len());
    }
    let private = private();
    for (sealed, text) in sealed.iter().zip(&texts) {
        let opened = private.open(SealingFormat::Jwe, sealed).expect("opened");
        assert!(*opened == *text, "{} bytes", text.len());
    }
    println!(
        "{} values sealed as JWE were opened by jwcrypto",
        texts.len()
    );
}

#[test]
fn openssl_opens_every_value_sealed_by_oaep() {
    if !is_there(openssl_available()) {
        return;
    }
    let key = key_file();
    let formats = [SealingFormat::OaepSha1, SealingFormat::OaepSha256];
    let lengths = lengths(cases(20), 318);
    for (number, length) in lengths.iter().enumerate() {
        // The longest and the shortest by both.
        let formats = if number < 2 {
            &formats[..]
        } else {
            &formats[number % 2..=number % 2]
        };
        for format in formats {
            let text = random(*length);
            let sealed = pair()
                .public
                .seal(*format, &OsEntropy, &text)
                .expect("sealed");
            let opened = openssl(key.path(), *format, &sealed);
            assert!(opened.as_ref() == Some(&text), "{format:?}, {length} bytes");
            let opened = private().open(*format, &sealed).expect("opened");
            assert!(*opened == text, "{format:?}, {length} bytes");
        }
    }
    println!(
        "{} values sealed by OAEP were opened by openssl",
        lengths.len()
    );
}

#[test]
fn nobody_opens_what_was_changed_on_the_way() {
    if !is_there(openssl_available()) || !is_there(JWCRYPTO.available()) {
        return;
    }
    let key = key_file();
    let private = private();
    let formats = [
        SealingFormat::Jwe,
        SealingFormat::OaepSha1,
        SealingFormat::OaepSha256,
    ];
    let count = cases(30);
    let mut changed: Vec<(SealingFormat, String)> = Vec::with_capacity(count);
    for number in 0..count {
        let format = formats[number % formats.len()];
        let text = random(below(319));
        let sealed = pair()
            .public
            .seal(format, &OsEntropy, &text)
            .expect("sealed");
        changed.push((format, tampered(format, &sealed)));
    }
    for (format, sealed) in &changed {
        assert!(private.open(*format, sealed).is_err(), "{format:?}");
        if *format != SealingFormat::Jwe {
            assert_eq!(openssl(key.path(), *format, sealed), None, "{format:?}");
        }
    }
    let jwe = changed
        .iter()
        .filter(|(format, _)| *format == SealingFormat::Jwe);
    let jwe: Vec<String> = jwe.map(|(_, sealed)| sealed.clone()).collect();
    let opened = jwcrypto(key.path(), &jwe);
    assert_eq!(opened.len(), jwe.len());
    assert!(opened.iter().all(Option::is_none));
    println!("{count} changed values were opened by nobody");
}

#[test]
fn an_ssh_key_of_4096_bits_comes_through_whole() {
    if !is_there(openssl_available()) || !is_there(JWCRYPTO.available()) {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("id_rsa");
    let mut openssl = Command::new("openssl");
    openssl
        .args(["genrsa", "-traditional", "-out"])
        .arg(&file)
        .arg("4096");
    assert!(run(openssl, b"").status.success());
    let ssh = fs::read(&file).expect("a key");
    assert!(ssh.len() > 3000, "{} bytes", ssh.len());
    let sealed = pair()
        .public
        .seal(SealingFormat::Jwe, &OsEntropy, &ssh)
        .expect("sealed");
    let key = key_file();
    assert_eq!(jwcrypto(key.path(), &[sealed]), [Some(ssh)]);
}

/// The first block of the README in this language that has `text` in it.
fn of_readme(language: &str, text: &str) -> &'static str {
    let readme = include_str!("../../README.md");
    let mut blocks = readme.split("```");
    let block = blocks.find(|block| block.starts_with(language) && block.contains(text));
    let block = block.expect("a block of the README");
    block.strip_prefix(language).expect("starts with it")
}

#[test]
fn the_readme_says_how_to_open_values() {
    if !is_there(openssl_available()) || !is_there(JWCRYPTO.available()) {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("private.pem");
    fs::write(file, pair().private.expose()).expect("written");
    let seal = |format| pair().public.seal(format, &OsEntropy, b"correct horse");

    let mut shell = Command::new("sh");
    shell
        .args(["-c", of_readme("sh", "openssl pkeyutl")])
        .current_dir(folder.path())
        .env("SEALED", seal(SealingFormat::OaepSha1).expect("sealed"));
    let output = run(shell, b"");
    assert_eq!(output.stdout, b"correct horse", "{output:?}");

    let mut python = JWCRYPTO.python();
    python
        .args(["-c", of_readme("python", "jwcrypto")])
        .arg(seal(SealingFormat::Jwe).expect("sealed"))
        .current_dir(folder.path());
    let output = run(python, b"");
    assert_eq!(output.stdout, b"correct horse", "{output:?}");
}
