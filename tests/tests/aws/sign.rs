//! Requests signed as clients of AWS sign them, by AWS's own crate.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, SessionTokenMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use dsm_core::time::Timestamp;

/// The credentials of somebody in AWS.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    pub(crate) session_token: Option<String>,
}

/// What is signed, and by which rules.
#[derive(Debug, Clone)]
pub(crate) struct Signing<'a> {
    pub(crate) method: &'a str,
    /// With scheme and host.
    pub(crate) uri: &'a str,
    pub(crate) headers: &'a [(String, String)],
    pub(crate) body: &'a str,
    pub(crate) service: &'a str,
    pub(crate) at: Timestamp,
    pub(crate) normalise: bool,
    pub(crate) hash_header: bool,
    pub(crate) sign_token: bool,
}

/// The signature, and the headers that have to be added to the request.
pub(crate) fn signed(signing: &Signing<'_>, keys: &Keys) -> (String, Vec<(String, String)>) {
    let identity = Credentials::new(
        &keys.access_key_id,
        &keys.secret_access_key,
        keys.session_token.clone(),
        None,
        "tests",
    )
    .into();
    let mut settings = SigningSettings::default();
    settings.uri_path_normalization_mode = if signing.normalise {
        UriPathNormalizationMode::Enabled
    } else {
        UriPathNormalizationMode::Disabled
    };
    settings.session_token_mode = if signing.sign_token {
        SessionTokenMode::Include
    } else {
        SessionTokenMode::Exclude
    };
    settings.payload_checksum_kind = if signing.hash_header {
        PayloadChecksumKind::XAmzSha256
    } else {
        PayloadChecksumKind::NoHeader
    };
    let params = SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name(signing.service)
        .time(SystemTime::from(signing.at))
        .settings(settings)
        .build()
        .expect("everything is given")
        .into();
    let headers = signing.headers.iter();
    let request = SignableRequest::new(
        signing.method,
        signing.uri,
        headers.map(|(name, value)| (name.as_str(), value.as_str())),
        SignableBody::Bytes(signing.body.as_bytes()),
    );
    let output = sign(request.expect("a right request"), &params);
    let (instructions, signature) = output.expect("it can be signed").into_parts();
    let (added, _query) = instructions.into_parts();
    let added = added
        .into_iter()
        .map(|header| (header.name().to_owned(), header.value().to_owned()));
    (signature, added.collect())
}
