//! `/targets`: the systems whose credentials are managed.

use std::collections::BTreeMap;

use dsm_core::id::{SecretId, TargetId};
use dsm_core::provider::{Login, Options, PasswordPolicy, Proof};
use dsm_core::renewal::Failure as CallFailure;
use dsm_core::secret::SecretText;
use dsm_core::store::Page;
use dsm_core::vault::{AdminCredential, NewAdmin, Stored, TargetEntry, TargetFields};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::v1::endpoint::{delete, get, patch, post};
use crate::api::v1::input;
use crate::api::v1::query::{Query, page_of};
use crate::api::v1::request::{Answer, Request, decimal};
use crate::api::v1::view::Object;
use crate::app::App;
use crate::http::call::Reply;
use crate::http::fields::{FieldReader, string};
use crate::http::operation::Shape;
use crate::http::router::Route;

const COLLECTION: &str = "/api/v1/targets";
const ITEM: &str = "/api/v1/targets/{id}";

/// A target without the values of its admin credential.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Target")]
struct View<'a> {
    name: &'a str,
    provider: &'a str,
    address: &'a str,
    options: &'a BTreeMap<String, String>,
    enabled: bool,
    password_policy: &'a PasswordPolicy,
    admin_credential: Admin<'a>,
}

/// Whose credential it is, or in which secret it is.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "AdminCredential")]
enum Admin<'a> {
    Own { username: &'a str },
    Secret { secret: SecretId },
}

/// What works on a target.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TargetTest")]
struct Report {
    /// Whether everything works that was looked at.
    works: bool,
    checks: Vec<Check>,
    /// Why nothing could be looked at.
    error: Option<CallError>,
}

/// One thing that was looked at.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TargetCheck")]
struct Check {
    what: String,
    works: bool,
    /// What the target said, without values.
    message: String,
}

/// How a call failed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TargetError")]
struct CallError {
    kind: CallFailure,
    message: String,
}

pub(super) fn routes() -> Vec<Route<App>> {
    vec![
        get(COLLECTION, "v1.targets.list", "Lists targets")
            .query(Query::page)
            .lists::<Object<View<'_>>>()
            .by(list),
        post(COLLECTION, "v1.targets.create", "Makes a target")
            .says("It is not connected to; ask for its test")
            .body(fields)
            .requires(&["name", "provider", "address", "admin_credential"])
            .creates::<View<'_>>()
            .by(create),
        get(ITEM, "v1.targets.show", "Shows a target")
            .shows::<View<'_>>()
            .by(show),
        patch(ITEM, "v1.targets.change", "Changes a target")
            .says("Its name and provider stay")
            .body(fields)
            .conditional()
            .shows::<View<'_>>()
            .by(change),
        delete(
            ITEM,
            "v1.targets.delete",
            "Deletes a target that no secret refers to",
        )
        .conditional()
        .gives_nothing()
        .by(remove),
        post(
            "/api/v1/targets/{id}/test",
            "v1.targets.test",
            "Logs in to a target with its admin credential and tells what works",
        )
        .says("Nothing is changed there")
        .gives::<Report>()
        .by(test),
    ]
}

async fn list(request: Request, page: Page) -> Answer {
    let found = request.vault().list_targets(&request.caller, page).await?;
    let items = found.items.iter().map(view).collect();
    Ok(page_of(items, found.next))
}

async fn create(request: Request, fields: TargetFields) -> Answer {
    let made = request.vault().create_target(&request.caller, fields);
    Ok(view(&made.await?).created(COLLECTION))
}

async fn show(request: Request) -> Answer {
    let id = request.id("id")?;
    let found = request.vault().find_target(&request.caller, id).await?;
    Ok(view(&found).shown())
}

async fn change(request: Request, fields: TargetFields) -> Answer {
    let (id, expected): (TargetId, _) = (request.id("id")?, request.expected);
    let changed = request
        .vault()
        .update_target(&request.caller, id, fields, expected)
        .await?;
    Ok(view(&changed).shown())
}

async fn remove(request: Request) -> Answer {
    let (id, expected) = (request.id("id")?, request.expected);
    request
        .vault()
        .delete_target(&request.caller, id, expected)
        .await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

async fn test(request: Request) -> Answer {
    let id = request.id("id")?;
    let tested = request.vault().test_target(&request.caller, id).await?;
    let report = match tested {
        Ok(report) => Report {
            works: report.works(),
            checks: report
                .checks
                .into_iter()
                .map(|check| Check {
                    what: check.what,
                    works: check.works,
                    message: check.message,
                })
                .collect(),
            error: None,
        },
        Err(error) => Report {
            works: false,
            checks: Vec::new(),
            error: Some(CallError {
                kind: CallFailure::from(&error),
                message: error.message().to_owned(),
            }),
        },
    };
    Ok(Reply::json(StatusCode::OK, &report))
}

fn fields(mut body: FieldReader) -> TargetFields {
    TargetFields {
        name: input::name(&mut body, "name"),
        provider: body.kept("provider", Shape::text, string),
        address: body.kept("address", Shape::text, string),
        options: options(&mut body),
        enabled: input::flag(&mut body, "enabled"),
        policy: policy(&mut body),
        admin: body.object("admin_credential", admin).flatten(),
        wrong: input::wrong(body),
    }
}

/// Names and texts; null removes them all.
fn options(body: &mut FieldReader) -> Option<Options> {
    let shape = || {
        Shape::fixed(json!({
            "type": ["object", "null"],
            "additionalProperties": {"type": "string"},
        }))
    };
    let mut options = Options::new();
    match body.value("options", shape)? {
        Value::Null => {}
        Value::Object(fields) => {
            for (name, value) in fields {
                if let Value::String(value) = value {
                    options.insert(name, value);
                } else {
                    let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
                    body.reject(&format!("options.{shown}"), "must be a text");
                }
            }
        }
        _ => body.reject("options", "must be an object"),
    }
    Some(options)
}

/// Null is the policy that targets have by default, and so is each part that is left out.
fn policy(body: &mut FieldReader) -> Option<PasswordPolicy> {
    let given = body.contains("password_policy");
    let policy = body.object("password_policy", |fields| {
        let default = PasswordPolicy::default();
        let shape = || Shape::fixed(json!({"type": "integer", "minimum": 8, "maximum": 256}));
        let length = fields.optional("length", shape, |value| {
            let length = value.as_u64().filter(|length| (8..=256).contains(length));
            length
                .and_then(|length| usize::try_from(length).ok())
                .ok_or("must be a whole number from 8 to 256")
        });
        PasswordPolicy {
            length: length.unwrap_or(default.length),
            alphabet: fields
                .optional_string("alphabet")
                .unwrap_or(default.alphabet),
            excluded: fields
                .optional_string("excluded")
                .unwrap_or(default.excluded),
        }
    });
    given.then(|| policy.unwrap_or_default())
}

/// An account with what proves it, or the secret that has both.
fn admin(fields: &mut FieldReader) -> Option<NewAdmin> {
    let secret = fields.optional("secret", Shape::of::<SecretId>, |value| {
        decimal(&string(value)?)
            .map(SecretId)
            .ok_or("must be an id")
    });
    let user = fields.optional_string("username");
    let password = fields.optional_string("password").map(SecretText::new);
    let key = fields.optional_string("private_key").map(SecretText::new);
    let passphrase = fields.optional_string("passphrase").map(SecretText::new);
    let (proof, both) = match (password, key) {
        (Some(_), Some(_)) => (None, true),
        (Some(password), None) => (Some(Proof::Password(password)), false),
        (None, Some(key)) => (Some(Proof::PrivateKey { key, passphrase }), false),
        (None, None) => (None, false),
    };
    match (secret, user, proof) {
        (Some(secret), None, None) if !both => Some(NewAdmin::Secret(secret)),
        (None, Some(user), Some(proof)) => Some(NewAdmin::Own(Login { user, proof })),
        (Some(_), ..) => {
            fields.reject("secret", "must not be given beside an account");
            None
        }
        (None, user, _) => {
            if user.is_none() {
                fields.reject("username", "is required, or else a secret");
            }
            let message = "either a password or a private_key is required";
            fields.reject("password", message);
            None
        }
    }
}

fn view(target: &Stored<TargetEntry>) -> Object<View<'_>> {
    let content = View {
        name: &target.name,
        provider: &target.provider,
        address: &target.address,
        options: &target.options,
        enabled: target.enabled,
        password_policy: &target.policy,
        admin_credential: match &target.admin {
            AdminCredential::Own { user } => Admin::Own { username: user },
            AdminCredential::Secret { secret } => Admin::Secret { secret: *secret },
        },
    };
    Object::of(target, content)
}
