use serde::Serialize;

use super::decide::RULES;
use super::rule::Verdict;
use super::{Application, AuthenticationMethod, Principal, Request, Rule};
use crate::aws::{Arn, is_listed};
use crate::time::Timestamp;

/// What one rule says about a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// How it ended.
    pub outcome: Outcome,
    /// Why.
    pub why: String,
}

/// How a rule ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "RuleOutcome")
)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It refuses the request.
    Failed,
    /// It has nothing to say about the request.
    NotApplicable,
}

/// What every rule says about a request, in the order in which [`decide`](super::decide()) tries
/// them. The first one that failed is the one it refuses by; if none failed, it permits.
///
/// All of them are tried, so that everything that has to change is seen at once.
pub fn explain(principal: &Principal, request: Request, now: Timestamp) -> Vec<Finding> {
    RULES
        .iter()
        .map(|&(rule, check)| {
            let (outcome, why) = match check(principal, request, now) {
                Verdict::Passed(why, None) => (Outcome::Passed, why.to_owned()),
                Verdict::Passed(why, Some(entry)) => (Outcome::Passed, format!("{why} {entry}")),
                Verdict::Failed(why) => (Outcome::Failed, why),
                Verdict::NotApplicable => (
                    Outcome::NotApplicable,
                    "it does not concern this request".to_owned(),
                ),
            };
            Finding { rule, outcome, why }
        })
        .collect()
}

/// What the rules say that are checked before there is a principal, of a proof that is good in itself:
/// one by this method, one by which AWS names this principal. Nothing about what is not asked.
pub fn explain_proof(
    application: &Application,
    method: Option<AuthenticationMethod>,
    arn: Option<&Arn>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |rule, found: Result<String, String>| {
        let (outcome, why) = match found {
            Ok(why) => (Outcome::Passed, why),
            Err(why) => (Outcome::Failed, why),
        };
        findings.push(Finding { rule, outcome, why });
    };
    if let Some(method) = method {
        let found = if method == application.authentication_method {
            Ok("the application uses this method".to_owned())
        } else {
            Err("the application uses another method".to_owned())
        };
        find(Rule::AuthenticationMethod, found);
    }
    if let Some(arn) = arn {
        let found = is_listed(&application.aws_arns, arn)
            .map(|entry| format!("the principal is allowed by {entry}"))
            .ok_or_else(|| format!("{arn} is not among the ARNs of the application"));
        find(Rule::AwsArn, found);
    }
    findings
}
