//! What all objects have in common on their way out.

use dsm_core::time::Timestamp;
use dsm_core::vault::{Entity, Stored};
use http::StatusCode;
use http::header::{ETAG, HeaderValue, LOCATION};
use schemars::JsonSchema;
use serde::Serialize;

use crate::http::call::Reply;

/// Who made and changed an object, and how often.
#[derive(Serialize, JsonSchema)]
pub(super) struct Stamps {
    revision: u64,
    created_at: Timestamp,
    created_by: String,
    updated_at: Timestamp,
    updated_by: String,
}

impl<T: Entity> From<&Stored<T>> for Stamps {
    fn from(stored: &Stored<T>) -> Self {
        Self {
            revision: stored.revision,
            created_at: stored.created_at,
            created_by: stored.created_by.clone(),
            updated_at: stored.updated_at,
            updated_by: stored.updated_by.clone(),
        }
    }
}

/// Another object that one refers to.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Named{I}")]
pub(super) struct Named<I> {
    pub(super) id: I,
    pub(super) name: String,
}

/// An object with its id and stamps.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "{V}")]
pub(super) struct Object<V> {
    id: String,
    #[serde(flatten)]
    content: V,
    #[serde(flatten)]
    stamps: Stamps,
}

impl<V: Serialize> Object<V> {
    /// `content` as the view of `stored`.
    pub(super) fn of<T: Entity>(stored: &Stored<T>, content: V) -> Self {
        Self {
            id: stored.id.into().to_string(),
            content,
            stamps: stored.into(),
        }
    }

    /// The object as it is now.
    pub(super) fn shown(self) -> Reply {
        let revision = self.stamps.revision;
        tagged(Reply::json(StatusCode::OK, &self), revision)
    }

    /// The object as it is while something goes on with it.
    pub(super) fn accepted(self) -> Reply {
        let revision = self.stamps.revision;
        tagged(Reply::json(StatusCode::ACCEPTED, &self), revision)
    }

    /// The object that was just made in `collection`.
    pub(super) fn created(self, collection: &str) -> Reply {
        let place = format!("{collection}/{}", self.id);
        let place = HeaderValue::try_from(place).expect("a path of ours is visible ASCII");
        let revision = self.stamps.revision;
        tagged(Reply::json(StatusCode::CREATED, &self), revision).header(LOCATION, place)
    }
}

/// The reply with the entity tag that stands for `revision`.
pub(super) fn tagged(reply: Reply, revision: u64) -> Reply {
    let tag = format!("\"{revision}\"");
    let tag = HeaderValue::try_from(tag).expect("digits and quotes are visible ASCII");
    reply.header(ETAG, tag)
}
