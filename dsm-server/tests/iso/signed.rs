//! Requests signed by OAuth 1.0, over HTTP as clients send them.

use data_encoding::BASE64;
use dsm_core::access::AuthenticationMethod;
use dsm_core::oauth1::{self, BaseUri, Parameter, Scheme, SignatureMethod, SignedRequest};
use dsm_core::vault::{ApplicationFields, AuthorizationFields, Credentials, SigningCredentials};
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::world::{Answer, FORM, JSON, World, authorization_fields};

const HOST: &str = "dsm.example.org";
const LIST: &str = "/iso/sctm/secrets";

/// An application of the world that signs its requests.
struct Signer {
    world: World,
    own: SigningCredentials,
}

/// Where the parameters of the protocol are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Header,
    Query,
    Form,
}

/// A request to be signed.
#[derive(Clone)]
struct Ask<'a> {
    method: Method,
    scheme: Scheme,
    signed_for: &'a str,
    path: &'a str,
    /// Of the query, decoded.
    query: &'a [(&'a str, &'a str)],
    /// Of the form, decoded.
    form: &'a [(&'a str, &'a str)],
    place: Place,
    nonce: &'a str,
}

impl Default for Ask<'_> {
    fn default() -> Self {
        Self {
            method: Method::GET,
            scheme: Scheme::Http,
            signed_for: HOST,
            path: LIST,
            query: &[],
            form: &[],
            place: Place::Header,
            nonce: "1",
        }
    }
}

impl Signer {
    async fn new() -> Self {
        let world = World::new().await;
        let fields = ApplicationFields {
            authentication_method: Some(AuthenticationMethod::OAuth1),
            ..ApplicationFields::new("signing")
        };
        let application = world.vault.create_application(&world.me, fields).await;
        let application = application.expect("an application").id;
        let fields = authorization_fields(vec![world.secret]);
        let made = world
            .vault
            .create_authorization(&world.me, application, fields)
            .await;
        let made = made.expect("an authorization").id;
        let revealed = world.vault.reveal_credentials(&world.me, made).await;
        let Ok(Credentials::OAuth1(own)) = revealed else {
            panic!("{revealed:?}");
        };
        Self { world, own }
    }

    /// The parameters of the protocol with the signature that the request needs.
    fn protocol(&self, ask: &Ask<'_>) -> Vec<(String, String)> {
        let now = self.world.vault.now().timestamp().to_string();
        let mut protocol: Vec<(String, String)> = [
            ("oauth_consumer_key", self.own.consumer_key.as_str()),
            ("oauth_token", &self.own.token),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", &now),
            ("oauth_nonce", ask.nonce),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let owned = |(name, value): (&str, &str)| -> Parameter { (name.into(), value.into()) };
        let others = ask.query.iter().chain(ask.form).copied();
        let own = protocol.iter().map(|(name, value)| (&**name, &**value));
        let uri = BaseUri::new(ask.scheme, ask.signed_for, ask.path);
        let request = SignedRequest {
            method: ask.method.to_string(),
            uri: uri.expect("a host"),
            parameters: others.chain(own).map(owned).collect(),
            body: None,
        };
        let (consumer, token) = (&self.own.consumer_secret, &self.own.token_secret);
        let signature = oauth1::sign(&request, SignatureMethod::HmacSha1, consumer, token);
        protocol.push(("oauth_signature".to_owned(), BASE64.encode(&signature)));
        protocol
    }

    /// Sends a signed request.
    async fn send(&self, ask: &Ask<'_>) -> Answer {
        self.send_with(ask, &self.protocol(ask), &[]).await
    }

    async fn send_with(
        &self,
        ask: &Ask<'_>,
        protocol: &[(String, String)],
        headers: &[(&str, &str)],
    ) -> Answer {
        let own = |place| {
            let own = protocol.iter().map(|(name, value)| (&**name, &**value));
            own.filter(move |_| ask.place == place)
        };
        let query = encoded(ask.query.iter().copied().chain(own(Place::Query)));
        let body = encoded(ask.form.iter().copied().chain(own(Place::Form)));
        let path = match query.as_str() {
            "" => ask.path.to_owned(),
            query => format!("{}?{query}", ask.path),
        };
        let header = own(Place::Header).map(|(name, value)| {
            format!(
                "{name}=\"{}\"",
                utf8_percent_encode(value, NON_ALPHANUMERIC)
            )
        });
        let header = format!(
            "OAuth realm=\"x\", {}",
            header.collect::<Vec<_>>().join(", ")
        );
        let mut all = vec![("host", HOST), ("content-type", FORM)];
        if ask.place == Place::Header {
            all.push(("authorization", &header));
        }
        all.extend(headers);
        self.world.send(ask.method.clone(), &path, &all, body).await
    }
}

fn encoded<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs = pairs.map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

#[tokio::test]
async fn parameters_come_in_the_header_the_query_or_the_form() {
    let signer = Signer::new().await;
    for (nonce, place) in [("1", Place::Header), ("2", Place::Query)] {
        let ask = Ask {
            place,
            nonce,
            ..Ask::default()
        };
        let answer = signer.send(&ask).await;
        assert_eq!(answer.status, 200, "{place:?}: {}", answer.body);
        assert_eq!(answer.body["secrets"].as_array().expect("a list").len(), 1);
    }
    let form = [
        ("identity", "signed/a"),
        ("name", "it's 100%+"),
        ("data", "{\"key_value\":{\"fields\":{\"A\":\"é b\"}}}"),
    ];
    for (nonce, place) in [
        ("3", Place::Header),
        ("4", Place::Query),
        ("5", Place::Form),
    ] {
        let ask = Ask {
            method: Method::POST,
            path: "/iso/sctm/secret",
            form: &form,
            place,
            nonce,
            ..Ask::default()
        };
        let answer = signer.send(&ask).await;
        assert!(answer.status.is_success(), "{place:?}: {}", answer.body);
        let data = &answer.body["application"]["secrets"][0]["data"][0];
        assert_eq!(data["A"], "é b");
    }
}

#[tokio::test]
async fn the_same_request_twice_is_refused_the_second_time() {
    let signer = Signer::new().await;
    for place in [Place::Header, Place::Query] {
        let ask = Ask {
            place,
            nonce: if place == Place::Header { "1" } else { "2" },
            ..Ask::default()
        };
        assert_eq!(signer.send(&ask).await.status, 200);
        signer.send(&ask).await.fails(401, "The access token");
    }
}

#[tokio::test]
async fn paths_count_as_they_were_sent() {
    let signer = Signer::new().await;
    for (nonce, path) in [
        ("1", "/iso/sctm/secrets/"),
        ("2", "/API/sctm/Secrets"),
        ("3", "/senhasegura/iso/sctm/secrets"),
        ("4", "/iso/sctm/secret/Team%2Fdb.main"),
        ("5", "/iso/sctm/secret/Team/db.main"),
    ] {
        let ask = Ask {
            path,
            nonce,
            query: &[("a", "1"), ("a", "0"), ("b", "")],
            ..Ask::default()
        };
        let answer = signer.send(&ask).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    }
    // Signed for another path than the one it is sent to.
    let ask = Ask {
        nonce: "6",
        ..Ask::default()
    };
    let protocol = signer.protocol(&ask);
    let elsewhere = Ask {
        path: "/api/sctm/secrets",
        ..ask
    };
    let answer = signer.send_with(&elsewhere, &protocol, &[]).await;
    answer.fails(401, "The access token");
}

#[tokio::test]
async fn what_is_signed_is_what_counts() {
    let signer = Signer::new().await;
    let ask = Ask::default();
    let signed = signer.protocol(&ask);
    for changed in [
        Ask {
            query: &[("more", "")],
            ..ask.clone()
        },
        Ask {
            form: &[("more", "")],
            ..ask.clone()
        },
        Ask {
            path: "/iso/dapp/application",
            ..ask.clone()
        },
    ] {
        let answer = signer.send_with(&changed, &signed, &[]).await;
        answer.fails(401, "The access token");
    }
    let elsewhere = Ask {
        signed_for: "other.example.org",
        ..ask.clone()
    };
    signer.send(&elsewhere).await.fails(401, "The access token");
    let with_default_port = Ask {
        signed_for: "DSM.example.org:80",
        ..ask
    };
    assert_eq!(signer.send(&with_default_port).await.status, 200);
}

#[tokio::test]
async fn parameters_of_the_protocol_stand_in_one_place() {
    let signer = Signer::new().await;
    let ask = Ask::default();
    let protocol = signer.protocol(&ask);
    // The same ones in the query as well.
    let twice: Vec<(&str, &str)> = protocol
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    let repeated = Ask {
        query: &twice,
        ..ask.clone()
    };
    let answer = signer.send_with(&repeated, &protocol, &[]).await;
    answer.fails(401, "The access token");
    // Beside another kind of proof none is looked at.
    let in_query = Ask {
        place: Place::Query,
        ..ask
    };
    let bearer = [("authorization", "Bearer dsm_at_unknown")];
    let protocol = signer.protocol(&in_query);
    let answer = signer.send_with(&in_query, &protocol, &bearer).await;
    answer.fails(401, "The access token");
    assert_eq!(signer.send(&in_query).await.status, 200);
}

#[tokio::test]
async fn a_body_that_is_no_form_is_covered_by_its_hash() {
    let signer = Signer::new().await;
    let body = "{\"identity\":\"signed/b\",\"name\":\"b\"}";
    let ask = Ask {
        method: Method::POST,
        path: "/iso/sctm/secret",
        ..Ask::default()
    };
    for (nonce, hashed, status) in [("1", body, 201), ("2", "{}", 401)] {
        let now = signer.world.vault.now().timestamp().to_string();
        let hash = BASE64.encode(&sha1_of(hashed));
        let own = [
            ("oauth_consumer_key", signer.own.consumer_key.as_str()),
            ("oauth_token", &signer.own.token),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", &now),
            ("oauth_nonce", nonce),
            ("oauth_body_hash", &hash),
        ];
        let request = SignedRequest {
            method: "POST".to_owned(),
            uri: BaseUri::new(Scheme::Http, HOST, ask.path).expect("a host"),
            parameters: own
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            body: None,
        };
        let (consumer, token) = (&signer.own.consumer_secret, &signer.own.token_secret);
        let signature = oauth1::sign(&request, SignatureMethod::HmacSha1, consumer, token);
        let signature = BASE64.encode(&signature);
        let all = own
            .iter()
            .copied()
            .chain([("oauth_signature", &*signature)]);
        let all = all.map(|(name, value)| {
            format!(
                "{name}=\"{}\"",
                utf8_percent_encode(value, NON_ALPHANUMERIC)
            )
        });
        let header = format!("OAuth {}", all.collect::<Vec<_>>().join(","));
        let headers = [
            ("host", HOST),
            ("content-type", JSON),
            ("authorization", &header),
        ];
        let answer = signer.world.send(Method::POST, ask.path, &headers, body);
        let answer = answer.await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
    }
}

fn sha1_of(text: &str) -> Vec<u8> {
    use sha1::Digest as _;

    sha1::Sha1::digest(text.as_bytes()).to_vec()
}

#[tokio::test]
async fn every_way_to_fail_looks_the_same() {
    let signer = Signer::new().await;
    let ask = Ask::default();
    let replace = |name: &str, value: &str| {
        let mut protocol = signer.protocol(&ask);
        for (it, old) in &mut protocol {
            if it == name {
                value.clone_into(old);
            }
        }
        protocol
    };
    let nobody = "0".repeat(42);
    let mut answers = Vec::new();
    for protocol in [
        replace("oauth_consumer_key", &nobody),
        replace("oauth_consumer_key", &signer.world.credentials.client_id),
        replace("oauth_token", &nobody),
        replace("oauth_signature", "AAAA"),
        replace("oauth_signature", "?"),
        replace("oauth_timestamp", "1"),
        replace("oauth_timestamp", "soon"),
        replace("oauth_nonce", ""),
        replace("oauth_signature_method", "PLAINTEXT"),
        Vec::new(),
    ] {
        answers.push(signer.send_with(&ask, &protocol, &[]).await);
    }
    let headers = [("host", HOST), ("authorization", "OAuth oauth_token")];
    let malformed = signer.world.send(Method::GET, LIST, &headers, "").await;
    answers.push(malformed);
    for answer in &answers {
        assert_eq!(answer.status, 401);
        assert_eq!(answer.bytes, answers[0].bytes);
        assert_eq!(answer.headers, answers[0].headers);
    }
    assert_eq!(signer.send(&ask).await.status, 200);
}

#[tokio::test]
async fn a_client_that_signs_is_bound_to_its_policy_like_others() {
    let signer = Signer::new().await;
    let world = &signer.world;
    let ask = |nonce| Ask {
        nonce,
        ..Ask::default()
    };
    world.come_from("203.0.113.1:4000");
    signer.send(&ask("1")).await.fails(403, "");
    world.come_from("192.0.2.1:4000");
    let fields = AuthorizationFields {
        enabled: Some(false),
        ..AuthorizationFields::default()
    };
    let id = dsm_core::id::AuthorizationId(2);
    world
        .vault
        .update_authorization(&world.me, id, fields, None)
        .await
        .expect("a change");
    signer
        .send(&ask("2"))
        .await
        .fails(401, "Inactive authorization");
}

#[tokio::test]
async fn a_write_that_lost_a_race_is_not_taken_for_a_replay() {
    let signer = &Signer::new().await;
    let writes = (0..8).map(|number: u8| async move {
        let nonce = number.to_string();
        let form = [("identity", "signed/c"), ("name", nonce.as_str())];
        let ask = Ask {
            method: Method::POST,
            path: "/iso/sctm/secret",
            form: &form,
            nonce: &nonce,
            ..Ask::default()
        };
        signer.send(&ask).await.status
    });
    for status in futures_util::future::join_all(writes).await {
        assert!(status.is_success(), "{status}");
    }
}
