//! Bodies of `/api/v1`, and JSON by itself.
#![no_main]

use bytes::Bytes;
use dsm_server::http::call::{Call, Peer};
use dsm_server::http::fields::FieldReader;
use dsm_server::http::json;
use http::Request;
use http::header::{CONTENT_TYPE, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(value) = json::read(data) {
        let written = value.to_string();
        let again = json::read(written.as_bytes()).expect("what is written reads back");
        assert_eq!(again.to_string(), written);
    }
    let Ok(mut fields) = FieldReader::of(&request("application/json", data)) else {
        return;
    };
    let _ = fields.required_string("name");
    let _ = fields.patch_string("description");
    let _ = fields.optional_bool("enabled");
    let _ = fields.optional_integer("n");
    let _ = fields.optional_list("tags");
    let _ = fields.instant("expires_at");
    let _ = fields.object("data", |inner| inner.optional_string("a"));
    let _ = fields.objects("items", |inner| inner.required_integer("a"));
    let _ = fields.finish();
});

fn request(content_type: &str, body: &[u8]) -> Call {
    let mut request = Request::new(Bytes::copy_from_slice(body));
    if !content_type.is_empty() {
        let value = HeaderValue::from_str(content_type).expect("a media type");
        request.headers_mut().insert(CONTENT_TYPE, value);
    }
    Call::unrouted(request, Peer::new(([192, 0, 2, 1], 1).into()))
}
