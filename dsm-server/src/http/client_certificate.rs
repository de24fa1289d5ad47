//! The client certificate that a trusted proxy passes on, as
//! [RFC 9440](https://www.rfc-editor.org/rfc/rfc9440) has it.

use data_encoding::BASE64;
use dsm_core::access::CertificateDigests;
use http::header::{HeaderMap, HeaderName};
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;

use crate::http::tls::digests;

/// The header.
pub const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");

/// Why a header is no certificate. Repeats nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A proxy names one certificate.
    #[error("is sent more than once")]
    Repeated,
    /// Not `:base64:` and nothing else.
    #[error("is no byte sequence")]
    NotBytes,
    /// The bytes are none of X.509.
    #[error("holds no X.509 certificate")]
    NotCertificate,
}

/// The certificate in the `Client-Cert` header, if there is one.
///
/// The caller makes sure that a trusted proxy sent it. The proxy has verified the certificate; here
/// it only has to be one.
pub fn forwarded(headers: &HeaderMap) -> Result<Option<CertificateDigests>, Malformed> {
    let mut instances = headers.get_all(CLIENT_CERT).iter();
    let Some(value) = instances.next() else {
        return Ok(None);
    };
    if instances.next().is_some() {
        return Err(Malformed::Repeated);
    }
    // A byte sequence of RFC 9651, section 3.3.5. Parameters are defined for none.
    let der = value
        .as_bytes()
        .trim_ascii()
        .strip_prefix(b":")
        .and_then(|text| text.strip_suffix(b":"))
        .and_then(|text| BASE64.decode(text).ok())
        .ok_or(Malformed::NotBytes)?;
    ParsedCertificate::try_from(&CertificateDer::from(der.as_slice()))
        .map_err(|_| Malformed::NotCertificate)?;
    Ok(Some(digests(&der)))
}

#[cfg(test)]
mod tests {
    use dsm_core::access::{CertificateDigests, Fingerprint};
    use http::header::{HeaderMap, HeaderValue};

    use super::{BASE64, CLIENT_CERT, Malformed, forwarded};

    fn headers(instances: &[String]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for instance in instances {
            let value = HeaderValue::from_str(instance).expect("a value");
            headers.append(CLIENT_CERT, value);
        }
        headers
    }

    fn certificate() -> Vec<u8> {
        let made =
            rcgen::generate_simple_self_signed(["client".to_owned()]).expect("a certificate");
        made.cert.der().to_vec()
    }

    fn sha256(der: &[u8]) -> Fingerprint {
        use sha2::Digest as _;
        Fingerprint::Sha256(sha2::Sha256::digest(der).into())
    }

    #[test]
    fn the_fingerprint_is_that_of_the_der() {
        let der = certificate();
        let text = BASE64.encode(&der);
        for written in [format!(":{text}:"), format!(" :{text}:  ")] {
            let found: Option<CertificateDigests> = forwarded(&headers(&[written])).expect("one");
            let found = found.expect("one");
            assert!(sha256(&der).matches(&found));
            assert!(!sha256(b"another").matches(&found));
        }
        assert_eq!(forwarded(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        let der = certificate();
        let text = BASE64.encode(&der);
        let good = format!(":{text}:");
        let trailing = BASE64.encode(&[der.as_slice(), b"x"].concat());
        let cut = BASE64.encode(&der[..der.len() - 1]);
        for (written, expected) in [
            (text.clone(), Malformed::NotBytes),
            (String::new(), Malformed::NotBytes),
            (":".to_owned(), Malformed::NotBytes),
            (format!(":{text}"), Malformed::NotBytes),
            (format!(":{text}:;a=1"), Malformed::NotBytes),
            (format!("{good}, {good}"), Malformed::NotBytes),
            (format!("\"{text}\""), Malformed::NotBytes),
            (
                format!(":{}:", text.replace('/', "_")).replace('+', "-") + "=",
                Malformed::NotBytes,
            ),
            (":!!!!:".to_owned(), Malformed::NotBytes),
            ("::".to_owned(), Malformed::NotCertificate),
            (":MAA=:".to_owned(), Malformed::NotCertificate),
            (format!(":{trailing}:"), Malformed::NotCertificate),
            (format!(":{cut}:"), Malformed::NotCertificate),
        ] {
            assert_eq!(forwarded(&headers(&[written])), Err(expected));
        }
        assert_eq!(
            forwarded(&headers(&[good.clone(), good])),
            Err(Malformed::Repeated)
        );
    }
}
