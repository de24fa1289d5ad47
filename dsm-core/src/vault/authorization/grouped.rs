//! All authorizations, grouped by application.

use std::fmt;
use std::str::FromStr;

use super::super::act::Caller;
use super::super::error::Error;
use super::super::record::Stored;
use super::super::{Vault, kind};
use super::{APPLICATION, AuthorizationFilter};
use crate::access::{Authorization, Permission};
use crate::audit::Operation;
use crate::store::{Page, Query};

/// How many applications are looked at for one page. Where few authorizations match, a page may end
/// with fewer than asked for.
const MAX_APPLICATIONS: usize = 500;
const AT_A_TIME: usize = 100;

/// Where a list goes on: after this authorization of this application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupCursor {
    application: u64,
    authorization: u64,
}

impl fmt::Display for GroupCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.application, self.authorization)
    }
}

/// A text that is no [`GroupCursor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a place in the list of authorizations; use one that an earlier answer gave")]
pub struct NotAGroupCursor;

impl FromStr for GroupCursor {
    type Err = NotAGroupCursor;

    fn from_str(text: &str) -> Result<Self, NotAGroupCursor> {
        let (application, authorization) = text.split_once('-').ok_or(NotAGroupCursor)?;
        let cursor = Self {
            application: application.parse().map_err(|_| NotAGroupCursor)?,
            authorization: authorization.parse().map_err(|_| NotAGroupCursor)?,
        };
        // One place has one text.
        (cursor.to_string() == text)
            .then_some(cursor)
            .ok_or(NotAGroupCursor)
    }
}

/// A page of authorizations grouped by application.
#[derive(Debug)]
pub struct GroupedPage {
    /// Those of one application stand together, the newest first, after those of newer applications.
    pub items: Vec<Stored<Authorization>>,
    /// Where the next page starts; `None` when this was the last one.
    pub next: Option<GroupCursor>,
}

impl Vault {
    /// A page of authorizations grouped by application. What is made meanwhile moves nothing to
    /// another page.
    pub async fn list_grouped_authorizations(
        &self,
        caller: &Caller,
        filter: AuthorizationFilter,
        after: Option<GroupCursor>,
        limit: usize,
    ) -> Result<GroupedPage, Error> {
        let operation = Operation::ViewAuthorization;
        self.view(caller, Permission::AuthorizationsView, operation, None)
            .await?;
        let only = filter.application;
        let query = self
            .authorization_query(AuthorizationFilter {
                application: None,
                ..filter
            })
            .await?;
        let mut group = Group {
            items: Vec::new(),
            limit,
        };
        // What is left of the application in which the last page ended.
        if let Some(after) = after
            && only.is_none_or(|only| only.0 == after.application)
        {
            self.fill(
                &mut group,
                &query,
                after.application,
                Some(after.authorization),
            )
            .await?;
        }
        if let Some(only) = only {
            if after.is_none() {
                self.fill(&mut group, &query, only.0, None).await?;
            }
            return Ok(group.page(None));
        }
        let mut page = Page {
            after: after.map(|after| after.application),
            limit: AT_A_TIME,
        };
        let applications = Query::new(kind::APPLICATION);
        let mut looked_at = 0;
        while !group.is_full() {
            let found = self.records.store.list(&applications, page).await?;
            for record in &found.records {
                self.fill(&mut group, &query, record.key.id, None).await?;
                looked_at += 1;
                if looked_at == MAX_APPLICATIONS && !group.is_full() {
                    return Ok(group.page(Some(GroupCursor {
                        application: record.key.id,
                        authorization: 0,
                    })));
                }
            }
            match found.next {
                Some(next) => page.after = Some(next),
                None => break,
            }
        }
        Ok(group.page(None))
    }

    /// Adds authorizations of an application until the page has one more than it shows.
    async fn fill(
        &self,
        group: &mut Group,
        query: &Query,
        application: u64,
        mut after: Option<u64>,
    ) -> Result<(), Error> {
        let value = application.to_be_bytes();
        let term = self.records.term(kind::AUTHORIZATION, APPLICATION, value);
        let query = query.clone().with(term);
        while !group.is_full() {
            let limit = group.limit + 1 - group.items.len();
            let found = self.records.list(&query, Page { after, limit }).await?;
            group.items.extend(found.items);
            match found.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        Ok(())
    }
}

/// A page on its way: with one more than it shows, it is known that another follows.
struct Group {
    items: Vec<Stored<Authorization>>,
    limit: usize,
}

impl Group {
    fn is_full(&self) -> bool {
        self.items.len() > self.limit
    }

    fn page(mut self, unfinished: Option<GroupCursor>) -> GroupedPage {
        let more = self.is_full();
        self.items.truncate(self.limit);
        let last = self.items.last().filter(|_| more);
        let next = last.map(|last| GroupCursor {
            application: last.application.0,
            authorization: last.id.0,
        });
        GroupedPage {
            next: next.or(unfinished),
            items: self.items,
        }
    }
}
