//! Forwarding headers and certificates that a proxy passes on.
#![no_main]

use std::net::IpAddr;

use dsm_server::http::client_certificate::{CLIENT_CERT, forwarded};
use dsm_server::http::client_ip::{ForwardedHeader, Forwarding};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    let headers = [
        ForwardedHeader::XForwardedFor,
        ForwardedHeader::Forwarded,
        ForwardedHeader::XRealIp,
    ];
    let header = headers[usize::from(*kind) % headers.len()];
    let name = HeaderName::try_from(header.to_string()).expect("a name");
    let mut sent = HeaderMap::new();
    // One line for each instance of the header.
    for line in rest.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            sent.append(&name, value.clone());
            sent.append(CLIENT_CERT, value);
        }
    }
    let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|net| net.parse().expect("a network"));
    let forwarding = Forwarding::new(trusted, header);
    let proxy = IpAddr::from([10, 0, 0, 1]);
    if let Ok(client) = forwarding.client(proxy, &sent) {
        assert!(!forwarding.trusts(client), "the client is no proxy");
        assert_eq!(client, client.to_canonical());
    }
    let stranger = IpAddr::from([192, 0, 2, 1]);
    assert_eq!(forwarding.client(stranger, &sent), Ok(stranger));
    let _ = forwarded(&sent);
});
