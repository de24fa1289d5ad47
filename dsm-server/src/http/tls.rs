//! TLS at the accept loop: files, what is made of them, and their exchange while it runs.
//!
//! A connection takes the configuration that holds when it arrives and keeps it. Reloading therefore
//! disturbs nobody, and files that make no configuration leave the old one in place.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};

use dsm_core::access::CertificateDigests;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientCertVerifierBuilder, NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Whether clients show certificates, which are verified against the authorities in the file.
///
/// A certificate that is to be known by its fingerprint alone is its own authority: it goes into the
/// file itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked for.
    Off,
    /// A connection without one is good too.
    Optional(PathBuf),
    /// No connection without one.
    Required(PathBuf),
}

/// The PEM files that TLS needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, and those that lead from it to its authority.
    pub certificate: PathBuf,
    /// Its private key: PKCS#8, PKCS#1 or SEC 1.
    pub key: PathBuf,
    /// Certificates of clients.
    pub clients: ClientCertificates,
}

/// Files that make no configuration. Says nothing of what is in them.
#[derive(Debug, Error)]
#[error("{}: {reason}", path.display())]
pub struct TlsError {
    path: PathBuf,
    reason: String,
}

impl TlsError {
    fn new(path: &Path, reason: impl fmt::Display) -> Self {
        Self {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// TLS 1.2 and 1.3 for HTTP/1.1, as the files had it when they were read last.
pub struct Tls {
    files: TlsFiles,
    current: RwLock<Arc<ServerConfig>>,
    failed: AtomicU64,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// [`TlsError`] with the file that is missing or wrong.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let current = RwLock::new(Arc::new(configuration(&files)?));
        Ok(Self {
            files,
            current,
            failed: AtomicU64::new(0),
        })
    }

    /// Reads the files again, for the connections to come.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load); what was in force stays so.
    pub fn reload(&self) -> Result<(), TlsError> {
        let new = Arc::new(configuration(&self.files)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// Handshakes that came to nothing so far, those that took too long among them.
    pub fn failed_handshakes(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Takes a connection through its handshake.
    pub(crate) async fn accept<I>(&self, io: I) -> io::Result<Secured<I>>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            TlsAcceptor::from(Arc::clone(&current))
        };
        let accepted = acceptor.accept(io).await;
        if accepted.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        accepted.map(Secured)
    }
}

/// A connection after its handshake.
///
/// One that ends without having said so reads as one that ended: what is missing of a request shows
/// in its own length.
#[derive(Debug)]
pub(crate) struct Secured<I>(TlsStream<I>);

impl<I> Secured<I> {
    /// The certificate that the client has proved to hold.
    pub(crate) fn certificate(&self) -> Option<CertificateDigests> {
        let (_, session) = self.0.get_ref();
        let leaf = session.peer_certificates()?.first()?;
        Some(digests(leaf))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Secured<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.0).poll_read(cx, buf) {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Poll::Ready(Ok(()))
            }
            other => other,
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Secured<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Both digests of a certificate's DER.
pub(crate) fn digests(der: &[u8]) -> CertificateDigests {
    CertificateDigests::new(Sha1::digest(der).into(), Sha256::digest(der).into())
}

fn configuration(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| TlsError::new(&files.key, in_words(&error, "private key")))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::new(&files.certificate, error))?;
    let builder = match &files.clients {
        ClientCertificates::Off => builder.with_no_client_auth(),
        ClientCertificates::Optional(path) => {
            let verifier = authorities(path, provider)?.allow_unauthenticated();
            builder.with_client_cert_verifier(built(path, verifier)?)
        }
        ClientCertificates::Required(path) => {
            builder.with_client_cert_verifier(built(path, authorities(path, provider)?)?)
        }
    };
    // Says so when the key is another certificate's.
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| TlsError::new(&files.key, error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if files.clients != ClientCertificates::Off {
        // A resumed session would show a certificate that was verified some other day.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

fn authorities(
    path: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<ClientCertVerifierBuilder, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let added = roots.add(certificate);
        added.map_err(|error| TlsError::new(path, error))?;
    }
    let roots = Arc::new(roots);
    Ok(WebPkiClientVerifier::builder_with_provider(roots, provider))
}

fn built(
    path: &Path,
    verifier: ClientCertVerifierBuilder,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    verifier.build().map_err(|error| TlsError::new(path, error))
}

/// All certificates of a PEM file; at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |error| TlsError::new(path, in_words(&error, "certificate"));
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(wrong)?
        .collect();
    let read = read.map_err(wrong)?;
    if read.is_empty() {
        return Err(TlsError::new(path, "there is no certificate in it"));
    }
    Ok(read)
}

/// Without the parser's own text, which may repeat a line of the file.
fn in_words(error: &rustls::pki_types::pem::Error, what: &str) -> String {
    use rustls::pki_types::pem::Error;
    match error {
        Error::Io(error) => format!("cannot be read: {error}"),
        Error::NoItemsFound => format!("there is no {what} in it"),
        _ => "is no PEM".to_owned(),
    }
}
