//! The table of requests: every route against every fault, compared cell by cell with what the
//! server answers.
//!
//! `routes/table.txt` is what the contract says. A route without a row fails, and so does a row
//! without a route.

#[path = "../../dsm-server/tests/common/conformance.rs"]
mod conformance;
#[path = "routes/exchange.rs"]
mod exchange;
#[path = "routes/fault.rs"]
mod fault;
#[path = "routes/proof.rs"]
mod proof;
#[path = "routes/request.rs"]
mod request;
#[path = "routes/requests.rs"]
mod requests;
#[path = "routes/table.rs"]
mod table;
#[path = "routes/throttle.rs"]
mod throttle;
#[path = "routes/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};

use dsm_core::access::{AuthenticationMethod, Permission, Permissions};
use dsm_core::audit::{Actor, AuditQuery, Outcome, Part};
use dsm_server::api::log;
use dsm_server::http::call::Surface;

use crate::exchange::Answer;
use crate::fault::Case;
use crate::table::{Row, Section, Table};
use crate::world::World;

const TOKENS: &str = "tokens";
const CLIENTS: &str = "clients of applications";
const SIGNED: &str = "clients that sign";
const IDENTITIES: &str = "identities of aws";
const OPERATORS: &str = "operators";
const PROBES: &str = "probes";
/// In place of a rule: permitted, and recorded as failed.
const FAILED: &str = "failed";
/// More than one request records.
const ENTRIES: usize = 50;

#[tokio::test]
async fn every_route_has_its_row_and_every_row_its_route() {
    let table = Table::read();
    let titles: Vec<&str> = table
        .sections
        .iter()
        .map(|section| &*section.title)
        .collect();
    assert_eq!(
        titles,
        [TOKENS, CLIENTS, SIGNED, IDENTITIES, OPERATORS, PROBES],
        "every section is compared"
    );
    let rows: BTreeSet<String> = table
        .sections
        .iter()
        .flat_map(|section| &section.rows)
        .map(|row| format!("{} {}", row.method, row.path()))
        .collect();
    let world = World::new().await;
    let routes: BTreeSet<String> = world
        .routes()
        .iter()
        .map(|route| format!("{} {}", route.method, route.pattern))
        .collect();
    let missing: Vec<_> = routes.difference(&rows).collect();
    let superfluous: Vec<_> = rows.difference(&routes).collect();
    assert!(
        missing.is_empty() && superfluous.is_empty(),
        "routes without a row: {missing:#?}\nrows without a route: {superfluous:#?}"
    );
}

#[tokio::test]
async fn tokens_are_given_as_the_table_says() {
    compare(TOKENS, Surface::Iso).await;
}

#[tokio::test]
async fn clients_are_answered_as_the_table_says() {
    compare(CLIENTS, Surface::Iso).await;
}

#[tokio::test]
async fn clients_that_sign_are_answered_as_the_table_says() {
    compare(SIGNED, Surface::Iso).await;
}

#[tokio::test]
async fn identities_of_aws_are_answered_as_the_table_says() {
    compare(IDENTITIES, Surface::Iso).await;
}

#[tokio::test]
async fn operators_are_answered_as_the_table_says() {
    compare(OPERATORS, Surface::V1).await;
}

#[tokio::test]
async fn probes_are_answered_as_the_table_says() {
    compare(PROBES, Surface::Health).await;
}

async fn compare(title: &str, surface: Surface) {
    let table = Table::read();
    let section = table.section(title);
    let mut observed = Vec::new();
    let mut told = Vec::new();
    for row in &section.rows {
        let mut cells = Vec::new();
        let mut bodies = BTreeMap::new();
        for fault in &section.faults {
            let method = match title {
                SIGNED => AuthenticationMethod::OAuth1,
                IDENTITIES => AuthenticationMethod::Aws,
                _ => AuthenticationMethod::OAuth2,
            };
            let case = Case {
                method,
                surface,
                row,
                fault: &fault.name,
            };
            let (cell, refusals) = observe(&case, &fault.rule).await;
            for refusal in refusals {
                let class = class(&refusal, &fault.rule);
                bodies
                    .entry(class)
                    .or_insert_with(BTreeSet::new)
                    .insert(refusal.body);
            }
            cells.push(cell);
        }
        for ((status, class), bodies) in bodies {
            if bodies.len() > 1 {
                told.push(format!(
                    "{} {} {status} {class}: {bodies:?}",
                    row.method, row.pattern
                ));
            }
        }
        observed.push(cells);
    }
    let difference = section.difference(&observed);
    assert!(
        difference.is_empty(),
        "-: the table, +: the server\n{difference}"
    );
    assert!(
        told.is_empty(),
        "refusals tell what exactly was wrong: {told:#?}"
    );
}

/// Refusals of one class must look the same, whatever the rule: a client that is not in force
/// learns so, and a field of its own request is named.
fn class(refusal: &Answer, rule: &str) -> (u16, &'static str) {
    let class = match rule {
        "application_enabled"
        | "authorization_enabled"
        | "authorization_revoked"
        | "authorization_expired" => "inactive",
        "not_wider" => "field",
        _ => "",
    };
    let token = refusal.json()["error"] == "invalid_client";
    (refusal.status.as_u16(), if token { "token" } else { class })
}

/// What the server answers to one fault, as a cell of the table, with the refusals themselves.
///
/// What else is wrong stands behind the status, where no table has it.
async fn observe(case: &Case<'_>, rule: &str) -> (String, Vec<Answer>) {
    let mut cells = BTreeSet::new();
    let mut refusals = Vec::new();
    let count = case.requests();
    if count == 0 {
        return (".".to_owned(), refusals);
    }
    for number in 0..count {
        let world = World::of(case.method).await;
        let ask = case.prepare(&world, number).await;
        let before = world.state().await;
        let mark = last_sequence(&world).await;
        let answer = world.answer(ask).await;
        let stored = world.state().await != before;

        let refused = answer.status.as_u16() >= 400;
        let mut cell = answer.status.as_u16().to_string();
        let mut more = Vec::new();
        if stored {
            cell.push('+');
        }
        if answer.is_sensitive() {
            cell.push('!');
        }
        if let Some(wrong) = answer.misshapen(case.surface) {
            more.push(format!("shape:{wrong}"));
        }
        let (denied, allowed) = recorded(&world, mark).await;
        let expected: &[&str] = if refused && rule != "-" { &[rule] } else { &[] };
        if denied != expected {
            more.push(format!("denied-by:{denied:?}"));
        }
        if !expected.is_empty() && rule != FAILED && allowed > 0 {
            more.push(format!("allowed:{allowed}"));
        }
        if !refused && allowed == 0 && case.is_recorded() {
            more.push("unrecorded".to_owned());
        }
        if surface_is_logged(case.surface) {
            let logged = logged(&world, mark).await;
            if logged != [answer.status.as_u16()] {
                more.push(format!("logged:{logged:?}"));
            }
        }
        more.insert(0, cell);
        cells.insert(more.join(" "));
        // What fails for a client that may have it is told to it.
        if refused && rule != FAILED {
            refusals.push(answer);
        }
    }
    let cells: Vec<String> = cells.into_iter().collect();
    (cells.join("/"), refusals)
}

/// The rules that denied something, and how much was allowed, since an entry of the audit trail;
/// what the test itself does is left out.
async fn recorded(world: &World, since: u64) -> (Vec<String>, usize) {
    let page = world
        .vault
        .search_audit(&world.me, &AuditQuery::newest(ENTRIES))
        .await
        .expect("the trail");
    let mut denied = Vec::new();
    let mut allowed = 0;
    for found in page
        .found
        .into_iter()
        .filter(|found| found.sequence > since)
    {
        // What the log of requests adds is looked at apart.
        if matches!(found.event.part, Some(Part::Answer { .. })) {
            continue;
        }
        match (found.event.actor, found.event.outcome) {
            (Actor::Operator { id: None, .. }, _) => {}
            (_, Outcome::Denied { rule, .. }) => denied.push(rule),
            (_, Outcome::Allowed) => allowed += 1,
            (_, Outcome::Failed { .. }) => denied.push(FAILED.to_owned()),
        }
    }
    (denied, allowed)
}

fn surface_is_logged(surface: Surface) -> bool {
    match surface {
        Surface::Iso | Surface::V1 => true,
        Surface::Health => false,
    }
}

/// The statuses in the log of requests since an entry of the audit trail: one for each request.
async fn logged(world: &World, since: u64) -> Vec<u16> {
    let query = AuditQuery::newest(ENTRIES);
    let page = world.vault.list_requests(&world.me, &query).await;
    let items = page.expect("the log").items.into_iter();
    items
        .filter(|logged| logged.found.sequence > since)
        .map(|logged| log::status_of(&logged.found.event).map_or(0, |status| status.as_u16()))
        .collect()
}

async fn last_sequence(world: &World) -> u64 {
    let newest = AuditQuery::newest(1);
    let page = world.vault.search_audit(&world.me, &newest).await;
    page.expect("the trail").found[0].sequence
}

/// The permissions that a section's row needs, and all others.
pub(crate) fn permissions(row: &Row) -> (Permissions, Permissions) {
    let needed: Option<Permission> = match row.permission.as_str() {
        "-" => None,
        name => Some(name.parse().expect("a permission")),
    };
    let all = Permission::ALL.iter().copied();
    let (own, others): (Vec<_>, Vec<_>) = all.partition(|one| Some(*one) == needed);
    (own.into_iter().collect(), others.into_iter().collect())
}

impl Section {
    /// The rows that are otherwise than observed, both ways, below the names of the faults.
    fn difference(&self, observed: &[Vec<String>]) -> String {
        let mut lines = Vec::new();
        for (row, observed) in self.rows.iter().zip(observed) {
            if row.cells != *observed {
                let name = format!("{} {}", row.method, row.pattern);
                lines.push(line(&format!("- {name}"), &row.cells));
                lines.push(line(&format!("+ {name}"), observed));
            }
        }
        if lines.is_empty() {
            return String::new();
        }
        let names: Vec<String> = self.faults.iter().map(|fault| fault.name.clone()).collect();
        lines.insert(0, line("", &names));
        aligned(&lines)
    }
}

fn line(first: &str, cells: &[String]) -> Vec<String> {
    let mut line = vec![first.to_owned()];
    line.extend_from_slice(cells);
    line
}

fn aligned(lines: &[Vec<String>]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..lines[0].len()).filter_map(width).collect();
    let padded = lines.iter().map(|line| {
        let cells = line.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        cells.join("  ")
    });
    padded.collect::<Vec<_>>().join("\n")
}
