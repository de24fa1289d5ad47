//! The examples of RFC 5849, and what it says in words.

use data_encoding::BASE64;

use super::{
    BaseUri, Fault, Parameter, Protocol, Scheme, SignatureMethod, SignedRequest, base_string, sign,
    verify,
};
use crate::secret::SecretText;

fn parameters(pairs: &[(&str, &str)]) -> Vec<Parameter> {
    let owned = |text: &str| text.as_bytes().to_vec();
    pairs
        .iter()
        .map(|(name, value)| (owned(name), owned(value)))
        .collect()
}

/// The request of section 1.2 for the photo.
fn photo() -> SignedRequest {
    SignedRequest {
        method: "GET".to_owned(),
        uri: BaseUri::new(Scheme::Http, "photos.example.net", "/photos").expect("a host"),
        parameters: parameters(&[
            ("file", "vacation.jpg"),
            ("size", "original"),
            ("oauth_consumer_key", "dpf43f3p2l4k3l03"),
            ("oauth_token", "nnch734d00sl2jdk"),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", "137131202"),
            ("oauth_nonce", "chapoH"),
            ("oauth_signature", "MdpQcU8iPSUjWoN/UDMsK2sui9I="),
        ]),
        body: None,
    }
}

fn secrets() -> (SecretText, SecretText) {
    ("kd94hf93k423kf44".into(), "pfkkdhi9sl3r4s00".into())
}

/// The photo's request with one parameter set, or removed.
fn with(name: &str, value: Option<&str>) -> SignedRequest {
    let mut request = photo();
    request.parameters.retain(|(it, _)| it != name.as_bytes());
    if let Some(value) = value {
        request.parameters.extend(parameters(&[(name, value)]));
    }
    request
}

#[test]
fn the_signature_of_section_1_2_is_verified() {
    let request = photo();
    let protocol = Protocol::of(&request).expect("complete");
    let (consumer, token) = secrets();
    assert_eq!(verify(&request, &protocol, &consumer, &token), Ok(()));
    let signature = sign(&request, SignatureMethod::HmacSha1, &consumer, &token);
    assert_eq!(BASE64.encode(&signature), "MdpQcU8iPSUjWoN/UDMsK2sui9I=");
}

#[test]
fn the_base_string_of_section_3_4_1_1_is_made() {
    // The signature that section 3.1 prints for this request is wrong in the RFC.
    let request = SignedRequest {
        method: "post".to_owned(),
        uri: BaseUri::new(Scheme::Http, "EXAMPLE.COM:80", "/request").expect("a host"),
        parameters: parameters(&[
            ("b5", "=%3D"),
            ("a3", "a"),
            ("c@", ""),
            ("a2", "r b"),
            ("oauth_consumer_key", "9djdj82h48djs9d2"),
            ("oauth_token", "kkk9d7dh3k39sjv7"),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", "137131201"),
            ("oauth_nonce", "7d8f3e4a"),
            ("oauth_signature", "bYT5CMsGcbgUdFHObYMEfcx6bsw="),
            ("c2", ""),
            ("a3", "2 q"),
        ]),
        body: None,
    };
    assert_eq!(
        base_string(&request),
        "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D\
         %25253D%26c%2540%3D%26c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3\
         e4a%26oauth_signature_method%3DHMAC-SHA1%26oauth_timestamp%3D137131201%26oauth_token%3Dkk\
         k9d7dh3k39sjv7"
    );
    let protocol = Protocol::of(&request).expect("complete");
    let (consumer, token) = ("j49sk3j29djd".into(), "dh893hdasih9".into());
    let verified = verify(&request, &protocol, &consumer, &token);
    assert_eq!(verified, Err(Fault::Signature));
    let right = sign(&request, SignatureMethod::HmacSha1, &consumer, &token);
    assert_eq!(BASE64.encode(&right), "r6/TJjbCOr97/+UU0NsvSne7s5g=");
}

#[test]
fn base_uris_are_as_the_client_saw_them() {
    for (scheme, authority, path, uri) in [
        // The examples of section 3.4.1.2.
        (
            Scheme::Http,
            "EXAMPLE.COM:80",
            "/r%20v/X",
            "http://example.com/r%20v/X",
        ),
        (
            Scheme::Https,
            "www.example.net:8080",
            "/",
            "https://www.example.net:8080/",
        ),
        (
            Scheme::Https,
            "example.com:443",
            "/",
            "https://example.com/",
        ),
        (
            Scheme::Http,
            "example.com:443",
            "/",
            "http://example.com:443/",
        ),
        (
            Scheme::Https,
            "example.com:80",
            "/a",
            "https://example.com:80/a",
        ),
        (Scheme::Http, "example.com:", "", "http://example.com/"),
        (
            Scheme::Http,
            "[2001:DB8::1]:8200",
            "/Api/X",
            "http://[2001:db8::1]:8200/Api/X",
        ),
        (Scheme::Http, "[::1]", "/a//b/", "http://[::1]/a//b/"),
    ] {
        let made = BaseUri::new(scheme, authority, path);
        assert_eq!(made, Ok(BaseUri(uri.to_owned())), "{authority}");
    }
    for wrong in [
        "", ":80", "a:b", "a:80:90", "a:65536", "me@a", "a/b", "[::1", "[::1]80", "a b",
    ] {
        let made = BaseUri::new(Scheme::Http, wrong, "/");
        assert_eq!(made, Err(Fault::Malformed("Host")), "{wrong}");
    }
}

#[test]
fn sha_256_signs_as_well() {
    let request = with("oauth_signature_method", Some("HMAC-SHA256"));
    let (consumer, token) = secrets();
    let signature = sign(&request, SignatureMethod::HmacSha256, &consumer, &token);
    assert_eq!(signature.len(), 32);
    let mut request = with("oauth_signature", Some(&BASE64.encode(&signature)));
    request.parameters = request
        .parameters
        .into_iter()
        .map(|(name, value)| match &*name {
            b"oauth_signature_method" => (name, b"HMAC-SHA256".to_vec()),
            _ => (name, value),
        })
        .collect();
    let protocol = Protocol::of(&request).expect("complete");
    assert_eq!(verify(&request, &protocol, &consumer, &token), Ok(()));
    // Of the other method it is not.
    let other = Protocol {
        method: SignatureMethod::HmacSha1,
        ..protocol
    };
    assert!(verify(&request, &other, &consumer, &token).is_err());
}

#[test]
fn whatever_is_changed_breaks_the_signature() {
    let (consumer, token) = secrets();
    let changed: [fn(&mut SignedRequest); 6] = [
        |request| request.method = "DELETE".to_owned(),
        |request| request.uri = BaseUri("https://photos.example.net/photos".to_owned()),
        |request| request.uri = BaseUri("http://photos.example.net/Photos".to_owned()),
        |request| request.parameters[0].1 = b"vacation.png".to_vec(),
        |request| request.parameters.push((b"more".to_vec(), Vec::new())),
        |request| drop(request.parameters.remove(1)),
    ];
    for change in changed {
        let mut request = photo();
        let protocol = Protocol::of(&request).expect("complete");
        change(&mut request);
        let verified = verify(&request, &protocol, &consumer, &token);
        assert_eq!(verified, Err(Fault::Signature), "{}", base_string(&request));
    }
    let request = photo();
    let protocol = Protocol::of(&request).expect("complete");
    for (consumer, token) in [("kd94hf93k423kf44", ""), ("", "pfkkdhi9sl3r4s00"), ("", "")] {
        assert!(verify(&request, &protocol, &consumer.into(), &token.into()).is_err());
    }
}

#[test]
fn parameters_of_the_protocol_are_there_once_and_well_formed() {
    for name in [
        "oauth_consumer_key",
        "oauth_token",
        "oauth_signature_method",
        "oauth_signature",
        "oauth_timestamp",
        "oauth_nonce",
    ] {
        for absent in [None, Some("")] {
            let found = Protocol::of(&with(name, absent));
            assert_eq!(found, Err(Fault::Missing(name)), "{absent:?}");
        }
        let mut twice = photo();
        let again = twice
            .parameters
            .iter()
            .find(|(it, _)| it == name.as_bytes());
        let again = again.expect("it is there").clone();
        twice.parameters.push(again);
        assert_eq!(Protocol::of(&twice), Err(Fault::Repeated), "{name}");
    }
    for (name, value, fault) in [
        ("oauth_version", "2.0", Fault::Version),
        ("oauth_signature_method", "PLAINTEXT", Fault::Method),
        ("oauth_signature_method", "RSA-SHA1", Fault::Method),
        ("oauth_signature_method", "hmac-sha1", Fault::Method),
        (
            "oauth_signature",
            "not base64",
            Fault::Malformed("oauth_signature"),
        ),
        ("oauth_timestamp", "-1", Fault::Malformed("oauth_timestamp")),
        (
            "oauth_timestamp",
            "1e9",
            Fault::Malformed("oauth_timestamp"),
        ),
        (
            "oauth_timestamp",
            "99999999999999999999",
            Fault::Malformed("oauth_timestamp"),
        ),
        ("oauth_nonce", "a\nb", Fault::Malformed("oauth_nonce")),
    ] {
        assert_eq!(
            Protocol::of(&with(name, Some(value))),
            Err(fault),
            "{value}"
        );
    }
    let long = "a".repeat(257);
    let found = Protocol::of(&with("oauth_nonce", Some(&long)));
    assert_eq!(found, Err(Fault::Malformed("oauth_nonce")));
    assert!(Protocol::of(&with("oauth_version", Some("1.0"))).is_ok());
}

#[test]
fn a_hash_of_the_body_is_that_of_the_body() {
    let (consumer, token) = secrets();
    let signed = |body: &[u8], hash: &str| {
        let mut request = with("oauth_body_hash", Some(hash));
        request.body = Some(body.to_vec());
        let protocol = Protocol::of(&request).expect("complete");
        let signature = sign(&request, protocol.method, &consumer, &token);
        let protocol = Protocol {
            signature,
            ..protocol
        };
        verify(&request, &protocol, &consumer, &token)
    };
    // SHA-1 of `Hello World!`.
    let hash = "Lve95gjOVATpfV8EL5X4nxwjKHE=";
    assert_eq!(signed(b"Hello World!", hash), Ok(()));
    assert_eq!(signed(b"Hello World?", hash), Err(Fault::BodyHash));
}

#[test]
fn timestamps_count_within_five_minutes_both_ways() {
    let protocol = Protocol::of(&photo()).expect("complete");
    for (now, timely) in [
        (137_131_202, true),
        (137_131_502, true),
        (137_130_902, true),
        (137_131_503, false),
        (137_130_901, false),
        (i64::MAX, false),
    ] {
        assert_eq!(protocol.is_timely(now), timely, "{now}");
    }
}
