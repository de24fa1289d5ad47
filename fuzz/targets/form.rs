//! Bodies and queries of `/iso`: forms, multipart, and JSON told from them.
#![no_main]

use bytes::Bytes;
use dsm_server::http::call::{Call, Peer};
use dsm_server::http::form::Fields;
use http::Request;
use http::header::{CONTENT_TYPE, HeaderValue};
use libfuzzer_sys::fuzz_target;

const TYPES: [&str; 4] = [
    "",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=b",
    "application/json",
];
const NAMES: [&[&str]; 4] = [&["a"], &["name", "secret_name"], &["data"], &["tags"]];

fuzz_target!(|data: &[u8]| {
    let Some((kind, body)) = data.split_first() else {
        return;
    };
    if let Ok(query) = std::str::from_utf8(body) {
        let _ = Fields::of_query(query);
    }
    let call = request(TYPES[usize::from(*kind) % TYPES.len()], body);
    if let Ok(fields) = Fields::of(&call) {
        for names in NAMES {
            let there = fields.contains(names);
            let value = fields.value(names);
            assert!(there || matches!(value, Ok(None)));
            let _ = (
                fields.text(names),
                fields.boolean(names),
                fields.list(names),
            );
        }
    }
});

fn request(content_type: &str, body: &[u8]) -> Call {
    let mut request = Request::new(Bytes::copy_from_slice(body));
    if !content_type.is_empty() {
        let value = HeaderValue::from_str(content_type).expect("a media type");
        request.headers_mut().insert(CONTENT_TYPE, value);
    }
    Call::unrouted(request, Peer::new(([192, 0, 2, 1], 1).into()))
}
