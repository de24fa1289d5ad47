//! What is wrong in each column of the table.

use std::net::{IpAddr, Ipv4Addr};

use chrono::TimeDelta;
use data_encoding::BASE64;
use dsm_core::access::{AuthenticationMethod, Permissions, SealingFormat};
use dsm_core::id::{AuthorizationId, OperatorId, SecretId};
use dsm_core::secret::SecretData;
use dsm_core::time::Timestamp;
use dsm_core::vault::{ApplicationFields, AuthorizationFields, Presented, SecretFields};
use dsm_server::http::call::Surface;
use serde_json::{Value, json};
use warp::http::{HeaderValue, Method};

use crate::exchange::Ask;
use crate::permissions;
use crate::proof;
use crate::request::{fields, request};
use crate::table::Row;
use crate::world::{APPLICATION, AUTHORIZATION, CONTAINER, SECRET, World};

/// Longer than an access token is good.
const TOKEN_LIFETIME: TimeDelta = TimeDelta::hours(1);
const OPERATOR_LIFETIME: TimeDelta = TimeDelta::days(90);
const MOMENT: TimeDelta = TimeDelta::minutes(1);
const UNKNOWN_TOKEN: &str = "dsm_at_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// One that no authorization allows.
const OTHER_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11));

/// One cell of the table.
pub(crate) struct Case<'t> {
    /// How clients prove who they are.
    pub(crate) method: AuthenticationMethod,
    pub(crate) surface: Surface,
    pub(crate) row: &'t Row,
    pub(crate) fault: &'t str,
}

impl Case<'_> {
    /// How many requests show the fault; none when the route has no such fault.
    pub(crate) fn requests(&self) -> usize {
        let pattern = self.row.path();
        match (self.surface, self.fault) {
            (Surface::V1, "absent" | "blind") => pattern.matches('{').count(),
            (_, "absent") => usize::from(
                pattern.starts_with("/iso/sctm/secret/")
                    || self.writes_secret()
                    || self.registers_variables()
                    || self.provisions(),
            ),
            (_, "create" | "foreign" | "wider") => usize::from(self.registers()),
            _ => 1,
        }
    }

    /// Whether an answer that refuses nothing leaves an entry in the audit trail.
    pub(crate) fn is_recorded(&self) -> bool {
        self.surface != Surface::Health && self.row.pattern != "/api/v1/me"
    }

    fn registers(&self) -> bool {
        self.row.method == "POST" && self.row.pattern == "/iso/dapp/application"
    }

    fn registers_variables(&self) -> bool {
        self.row.pattern == "/iso/cicd/variables"
    }

    fn provisions(&self) -> bool {
        self.row.path().ends_with("provision")
    }

    fn gives_back(&self) -> bool {
        self.row.path().ends_with("/deprovision")
    }

    /// The secret that it is about.
    fn secret(&self) -> SecretId {
        if self.gives_back() { CONTAINER } else { SECRET }
    }

    fn writes_secret(&self) -> bool {
        self.row.method == "POST" && self.row.pattern == "/iso/sctm/secret"
    }

    /// Brings the fault about and gives the request that meets it.
    pub(crate) async fn prepare(&self, world: &World, number: usize) -> Ask {
        if self.surface == Surface::Health {
            self.prepare_probe()
        } else if self.surface == Surface::V1 {
            self.prepare_operator(world, number).await
        } else if self.method == AuthenticationMethod::Aws {
            self.prepare_identity(world).await
        } else if self.method == AuthenticationMethod::OAuth1 {
            self.prepare_signed(world).await
        } else if self.row.pattern.starts_with("/iso/oauth2/") {
            self.prepare_token(world).await
        } else {
            self.prepare_client(world).await
        }
    }

    fn prepare_probe(&self) -> Ask {
        let mut ask = Ask::new(&self.row.method, &self.row.pattern);
        match self.fault {
            "good" => {}
            "unknown" => ask = ask.bearer(UNKNOWN_TOKEN),
            "ip" => ask.from = OTHER_ADDRESS,
            other => panic!("the fault {other} is not known"),
        }
        ask
    }

    async fn prepare_token(&self, world: &World) -> Ask {
        let own = world.credentials(AUTHORIZATION).await;
        let other = world.credentials(AuthorizationId(2)).await;
        let signing = Self::of_another_method(world).await;
        let (id, secret) = (own.client_id.as_str(), own.client_secret.expose());
        let unknown = "0".repeat(id.len());
        let wrong = "dsm-cs-wrong";
        let ask = Ask::new(&self.row.method, &self.row.pattern);
        // Its own token, for those that ask about one.
        let start = format!(
            "grant_type=client_credentials&token={}",
            world.token().await
        );
        let (id, secret) = match self.fault {
            "none" => return form(ask, &start),
            "unknown" => (unknown.as_str(), secret),
            "wrong" => (id, wrong),
            "other" => (id, other.client_secret.expose()),
            "basic" => {
                let ask = ask.header("authorization", &basic(id, wrong));
                return form(ask, &start);
            }
            "method" => (
                text(&signing, "consumer_key"),
                text(&signing, "consumer_secret"),
            ),
            _ => (id, secret),
        };
        let fields = format!("{start}&client_id={id}&client_secret={secret}");
        self.spoil(world, form(ask, &fields)).await
    }

    async fn prepare_signed(&self, world: &World) -> Ask {
        proof::provision(world).await;
        let ask = request(&self.row.method, &self.row.pattern);
        let ask = self.spoil(world, ask).await;
        proof::signed(world, ask, self.fault).await
    }

    async fn prepare_identity(&self, world: &World) -> Ask {
        let ask = Ask::new(&self.row.method, &self.row.pattern);
        let ask = self.spoil(world, ask).await;
        let fields = if self.row.pattern == "/iso/oauth2/token" {
            "grant_type=urn%3Adsm%3Aparams%3Aoauth%3Agrant-type%3Aaws"
        } else {
            "token=dsm_at_none"
        };
        proof::identified(world, ask, fields, self.fault).await
    }

    /// The answer to a registration of an application that signs its requests.
    async fn of_another_method(world: &World) -> Value {
        let register = json!({
            "application": "signing", "system": "sys", "environment": "dev",
            "authentication_method": "OAuth 1.0",
        });
        let ask = Ask::new(&Method::POST, "/iso/dapp/application");
        let ask = ask.bearer(&world.token().await).json(&register);
        world.answer(ask).await.json()
    }

    async fn prepare_client(&self, world: &World) -> Ask {
        let token = world.token().await;
        let ask = request(&self.row.method, &self.row.pattern).bearer(&token);
        match self.fault {
            "none" => without_token(ask),
            "empty" => ask.header("authorization", "Bearer "),
            "twice" => twice(ask),
            "unknown" => ask.bearer(UNKNOWN_TOKEN),
            "operator" => {
                let operator = world.operator(Permissions::all()).await;
                ask.bearer(&operator)
            }
            "expired" => {
                world.clock.advance(TOKEN_LIFETIME);
                ask
            }
            "ended-token" => {
                let own = world.credentials(AUTHORIZATION).await;
                let own = Presented::Secret {
                    client_id: &own.client_id,
                    client_secret: own.client_secret.expose(),
                };
                let revoked = world.vault.revoke_token(own, &token, world.origin());
                revoked.await.expect("a revoked token");
                ask
            }
            _ => self.spoil(world, ask).await,
        }
    }

    /// The faults of an application, its authorization, its secret or its request.
    async fn spoil(&self, world: &World, mut ask: Ask) -> Ask {
        let (vault, me) = (&world.vault, &world.me);
        let soon = vault.now() + MOMENT;
        let of_application = |fields| vault.update_application(me, APPLICATION, fields, None);
        let of_authorization = |fields| vault.update_authorization(me, AUTHORIZATION, fields, None);
        match self.fault {
            "replaced" if self.method == AuthenticationMethod::OAuth2 => {
                let overlap = Some(std::time::Duration::ZERO);
                let rotated = vault.rotate_clients(me, AUTHORIZATION, overlap).await;
                rotated.expect("new credentials");
            }
            "gone" if self.method == AuthenticationMethod::OAuth2 => proof::revoke(world).await,
            // The credentials, the signature or the identity shows these.
            "good" | "unknown" | "wrong" | "other" | "method" | "nobody" | "token" | "secret"
            | "body-hash" | "old" | "early" | "plain" | "version" | "missing" | "repeated"
            | "garbled" | "no-host" | "sent-to" | "used" | "forged" | "unlisted" | "key"
            | "no-key" | "host" | "service" | "body" | "unsigned" | "down" | "replaced"
            | "gone" => {}
            "app-off" => {
                let fields = ApplicationFields {
                    enabled: Some(false),
                    ..ApplicationFields::default()
                };
                of_application(fields)
                    .await
                    .expect("a disabled application");
            }
            "revoked" => {
                let revoked = vault.revoke_authorization(me, AUTHORIZATION, None).await;
                revoked.expect("a revoked authorization");
            }
            "auth-off" | "ended" | "no-ips" | "cert" | "resource" | "read-only" | "create" => {
                let changed = of_authorization(self.authorization(soon)).await;
                changed.expect("a changed authorization");
                if self.fault == "ended" {
                    world.clock.advance(MOMENT);
                }
                if self.fault == "create" {
                    ask = self.registration(ask, &json!({"application": "newcomer"}));
                }
            }
            "ip" => ask.from = OTHER_ADDRESS,
            "no-ref" => drop(ask.headers.remove("referer")),
            "ref" => ask = ask.header("referer", "https://ci.example.org/jobs"),
            "detached" => {
                let detached = vault.detach_secret(me, AUTHORIZATION, self.secret()).await;
                detached.expect("a detached secret");
            }
            "absent" => ask = self.of_nothing(ask),
            "off" => {
                let disabled = vault.disable_secret(me, self.secret(), None).await;
                disabled.expect("a disabled secret");
            }
            "past" => {
                let fields = SecretFields {
                    expires_at: Some(Some(soon)),
                    ..SecretFields::default()
                };
                let changed = vault.update_secret(me, self.secret(), fields, None).await;
                changed.expect("a secret that expires");
                world.clock.advance(MOMENT);
            }
            "sealed" => world.seal(SealingFormat::Jwe).await,
            "keyless" => {
                world.seal(SealingFormat::Jwe).await;
                world.lose_key().await;
            }
            "long" => {
                world.seal(SealingFormat::OaepSha1).await;
                let long = "canary-long".repeat(40);
                let data = SecretData::key_values([("PASSWORD", long.as_str())]);
                let fields = SecretFields {
                    data: data.into(),
                    ..SecretFields::default()
                };
                let changed = vault.update_secret(me, SECRET, fields, None).await;
                changed.expect("a long value");
                if !self.gives_back() {
                    // One failure, and not one for each secret.
                    let detached = vault.detach_secret(me, AUTHORIZATION, CONTAINER).await;
                    detached.expect("a detached secret");
                }
                if self.writes_secret() {
                    let data = json!({"key_value": {"fields": {"PASSWORD": long}}});
                    ask = ask.json(&json!({"identity": "db/main", "data": data}));
                }
            }
            "foreign" => ask = self.registration(ask, &json!({"application": "neighbour"})),
            "wider" => {
                let wider = json!({"application": "newcomer", "allowed_ips": ["*"]});
                ask = self.registration(ask, &wider);
            }
            other => panic!("the fault {other} is not known"),
        }
        ask
    }

    fn authorization(&self, soon: Timestamp) -> AuthorizationFields {
        let mut fields = AuthorizationFields::default();
        match self.fault {
            "auth-off" => fields.enabled = Some(false),
            "ended" => fields.expires_at = Some(Some(soon)),
            "no-ips" => fields.allowed_ips = Some(Vec::new()),
            "cert" => fields.certificate_fingerprint = Some(Some("ab".repeat(32))),
            "resource" => {
                let own = match self.row.pattern.split('/').nth(2) {
                    Some("dapp" | "coe") => &["Application"][..],
                    Some("sctm") => &["Secret Management"],
                    Some("cicd") => &["CI/CD"],
                    Some("oauth2") => &["Application", "CI/CD", "Secret Management"],
                    _ => panic!("which resource is {} of?", self.row.pattern),
                };
                let all = ["Application", "CI/CD", "Secret Management"];
                let others = all.iter().filter(|one| !own.contains(one));
                fields.resources = Some(others.map(|one| (*one).to_owned()).collect());
            }
            "read-only" => fields.read_only = Some(true),
            _ => fields.allow_application_creation = Some(false),
        }
        fields
    }

    /// The request of a registration with other fields.
    fn registration(&self, ask: Ask, others: &Value) -> Ask {
        let mut fields = fields(&self.row.method, &self.row.pattern);
        for (name, value) in others.as_object().expect("an object") {
            fields[name] = value.clone();
        }
        ask.json(&fields)
    }

    /// The request for an identity that no secret has.
    fn of_nothing(&self, mut ask: Ask) -> Ask {
        if self.registers_variables() {
            let mut fields = fields(&self.row.method, &self.row.pattern);
            // The same of the secret db/none.
            fields["map"] =
                json!("eyJrZXlfdmFsdWUiOlt7Im5hbWUiOiJkYi9ub25lIiwiZmllbGRzIjpbIk5BTUUiXX1dfQ,,");
            return ask.json(&fields);
        }
        if self.writes_secret() {
            let mut fields = fields(&self.row.method, &self.row.pattern);
            fields["identity"] = json!("db/new");
            fields["name"] = json!("New");
            return ask.json(&fields);
        }
        if self.provisions() && self.row.method == "POST" {
            let mut fields = fields(&self.row.method, &self.row.pattern);
            if self.gives_back() {
                fields["secret_id"] = json!("999");
            } else {
                fields["identity"] = json!("db/none");
            }
            return ask.json(&fields);
        }
        ask.path = ask.path.replace("db/main", "db/none");
        ask
    }

    async fn prepare_operator(&self, world: &World, number: usize) -> Ask {
        let (own, others) = permissions(self.row);
        let ask = request(&self.row.method, &self.row.pattern);
        if self.row.pattern.ends_with("/private-key") && self.fault == "good" {
            // Made only where it is given: it takes a while.
            world.make_key().await;
        }
        if self.row.pattern.ends_with("/settle") && self.fault == "good" {
            world.stop_rotation().await;
        }
        let permissions = match self.fault {
            "lacking" | "blind" => others,
            "nobody" => Permissions::none(),
            _ => own,
        };
        let ask = ask.bearer(&world.operator(permissions).await);
        match self.fault {
            "good" | "lacking" | "nobody" => ask,
            "none" => without_token(ask),
            "empty" => ask.header("authorization", "Bearer "),
            "twice" => twice(ask),
            "unknown" => ask.bearer("dsm_op_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            "client" => ask.bearer(&world.token().await),
            "expired" => {
                world.clock.advance(OPERATOR_LIFETIME);
                ask
            }
            "revoked" => {
                // The first is always there, the second asks.
                let revoked = world.vault.revoke_operator(&world.me, OperatorId(2)).await;
                revoked.expect("a revoked operator");
                ask
            }
            "absent" | "blind" => self.of_another(ask, number),
            other => panic!("the fault {other} is not known"),
        }
    }

    /// The request with one number of its path that nothing has.
    fn of_another(&self, mut ask: Ask, number: usize) -> Ask {
        let (path, query) = match ask.path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (ask.path.as_str(), None),
        };
        let places = self.row.path().split('/').enumerate();
        let mut places = places.filter(|(_, part)| part.starts_with('{'));
        let (place, _) = places.nth(number).expect("a number of the path");
        let mut parts: Vec<&str> = path.split('/').collect();
        parts[place] = "999";
        let path = parts.join("/");
        ask.path = query.map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
        ask
    }
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().expect("a text")
}

fn form(ask: Ask, fields: &str) -> Ask {
    ask.raw("application/x-www-form-urlencoded", fields.to_owned())
}

fn without_token(mut ask: Ask) -> Ask {
    ask.headers.remove("authorization");
    ask
}

fn twice(mut ask: Ask) -> Ask {
    let same: HeaderValue = ask.headers["authorization"].clone();
    ask.headers.append("authorization", same);
    ask
}

/// The header of RFC 7617; neither half needs form-encoding here.
fn basic(id: &str, secret: &str) -> String {
    format!(
        "Basic {}",
        BASE64.encode(format!("{id}:{secret}").as_bytes())
    )
}
