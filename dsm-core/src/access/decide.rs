use super::rule::Verdict;
use super::{Action, Denial, Permit, Principal, Referrer, Request, Rule, SecretTarget};
use crate::time::Timestamp;

type Check = for<'a> fn(&'a Principal, Request, Timestamp) -> Verdict<'a>;

/// The rules for applications, in the order in which they are tried. [`decide`] and
/// [`explain`](super::explain()) have no others.
pub(super) const RULES: &[(Rule, Check)] = &[
    (Rule::ApplicationEnabled, application_enabled),
    // Before it is found disabled, which what is revoked is as well.
    (Rule::AuthorizationRevoked, authorization_revoked),
    (Rule::AuthorizationEnabled, authorization_enabled),
    (Rule::AuthorizationExpired, authorization_expired),
    (Rule::Ip, ip),
    (Rule::Referrer, referrer),
    (Rule::Fingerprint, fingerprint),
    (Rule::Resource, resource),
    (Rule::ReadOnly, read_only),
    (Rule::ApplicationCreation, application_creation),
    (Rule::ApplicationOwnership, application_ownership),
    (Rule::SecretExists, secret_exists),
    (Rule::SecretAttached, secret_attached),
    (Rule::SecretEnabled, secret_enabled),
    (Rule::SecretExpired, secret_expired),
];

/// Decides whether a client of an application may do what it asks for.
///
/// # Errors
///
/// The first rule that failed; the rules after it are not tried.
pub fn decide(principal: &Principal, request: Request, now: Timestamp) -> Result<Permit, Denial> {
    for &(rule, check) in RULES {
        if let Verdict::Failed(reason) = check(principal, request, now) {
            let class = rule.class(Some(request.action()));
            return Err(Denial::new(rule, reason, class));
        }
    }
    Ok(Permit::for_principal(principal, request))
}

fn application_enabled(principal: &Principal, _: Request, _: Timestamp) -> Verdict<'_> {
    if principal.application().enabled {
        Verdict::passed("the application is enabled")
    } else {
        Verdict::failed("the application is disabled")
    }
}

fn authorization_enabled(principal: &Principal, _: Request, _: Timestamp) -> Verdict<'_> {
    if principal.authorization().enabled {
        Verdict::passed("the authorization is enabled")
    } else {
        Verdict::failed("the authorization is disabled")
    }
}

fn authorization_revoked(principal: &Principal, _: Request, _: Timestamp) -> Verdict<'_> {
    match principal.authorization().revoked_at {
        Some(at) => Verdict::Failed(format!("the authorization was revoked at {}", instant(at))),
        None => Verdict::passed("the authorization has not been revoked"),
    }
}

fn authorization_expired(principal: &Principal, _: Request, now: Timestamp) -> Verdict<'_> {
    match principal.authorization().expires_at {
        Some(at) if now >= at => {
            Verdict::Failed(format!("the authorization expired at {}", instant(at)))
        }
        Some(_) => Verdict::passed("the authorization has not expired yet"),
        None => Verdict::passed("the authorization does not expire"),
    }
}

fn ip(principal: &Principal, _: Request, _: Timestamp) -> Verdict<'_> {
    let allowed = &principal.authorization().allowed_ips;
    if allowed.is_empty() {
        return Verdict::failed("no address is allowed: the list is empty");
    }
    let Some(ip) = principal.origin().ip else {
        return Verdict::failed("the client's address could not be determined");
    };
    match allowed.iter().find(|rule| rule.allows(ip)) {
        Some(rule) => Verdict::Passed("the address is allowed by", Some(rule)),
        None => Verdict::Failed(format!("the address {ip} is not among the allowed ones")),
    }
}

fn referrer(principal: &Principal, _: Request, _: Timestamp) -> Verdict<'_> {
    let allowed = &principal.authorization().allowed_referrers;
    if allowed.is_empty() {
        return Verdict::passed("any referrer is allowed: the list is empty");
    }
    let Some(text) = &principal.origin().referrer else {
        return Verdict::failed("there is no referrer, and only some are allowed");
    };
    let referrer: Referrer = match text.parse() {
        Ok(referrer) => referrer,
        Err(error) => return Verdict::Failed(format!("the referrer is malformed: {error}")),
    };
    match allowed.iter().find(|rule| rule.allows(&referrer)) {
        Some(rule) => Verdict::Passed("the referrer is allowed by", Some(rule)),
        None => Verdict::failed("the referrer is not among the allowed ones"),
    }
}

fn fingerprint(principal: &Principal, _: Request, _: Timestamp) -> Verdict<'_> {
    let Some(expected) = &principal.authorization().certificate_fingerprint else {
        return Verdict::passed("no client certificate is required");
    };
    match &principal.origin().certificate {
        None => Verdict::failed("a client certificate is required and none was shown"),
        Some(shown) if expected.matches(shown) => {
            Verdict::passed("the client certificate is the required one")
        }
        Some(_) => Verdict::failed("the client certificate is not the required one"),
    }
}

fn resource(principal: &Principal, request: Request, _: Timestamp) -> Verdict<'_> {
    let Some(resource) = request.resource() else {
        return Verdict::NotApplicable;
    };
    if principal.authorization().resources.contains(&resource) {
        Verdict::passed("the resource is authorized")
    } else {
        Verdict::Failed(format!("the resource {resource} is not authorized"))
    }
}

fn read_only(principal: &Principal, request: Request, _: Timestamp) -> Verdict<'_> {
    if !request.action().is_write() {
        return Verdict::NotApplicable;
    }
    if principal.authorization().read_only {
        Verdict::failed("the authorization is read-only")
    } else {
        Verdict::passed("the authorization may write")
    }
}

fn application_creation(principal: &Principal, request: Request, _: Timestamp) -> Verdict<'_> {
    let Action::WriteApplication(None) = request.action() else {
        return Verdict::NotApplicable;
    };
    if principal.authorization().allow_application_creation {
        Verdict::passed("the authorization may create applications")
    } else {
        Verdict::failed("the authorization may not create applications")
    }
}

fn application_ownership(principal: &Principal, request: Request, _: Timestamp) -> Verdict<'_> {
    let Action::WriteApplication(Some(application)) = request.action() else {
        return Verdict::NotApplicable;
    };
    let caller = principal.authorization_id();
    match application.authorization {
        Some(found) if found.id == caller => {
            Verdict::passed("the authorization is the calling one")
        }
        Some(found) if found.created_by == Some(caller) => {
            Verdict::passed("the authorization was made by the calling one")
        }
        Some(found) => Verdict::Failed(format!(
            "authorization {} was not made by the calling one",
            found.id
        )),
        None if application.id == principal.application_id() => {
            Verdict::passed("the application is the calling one")
        }
        None if application.made_by_caller => {
            Verdict::passed("the calling authorization made one of this application before")
        }
        None => Verdict::Failed(format!(
            "application {} is neither the calling one nor has it an authorization that the \
             calling one made",
            application.id
        )),
    }
}

fn secret_exists(_: &Principal, request: Request, _: Timestamp) -> Verdict<'_> {
    match request.action() {
        Action::ReadSecret(target)
        | Action::DeleteSecret(target)
        | Action::ProvisionSecret(target) => match target {
            Some(_) => Verdict::passed("the secret exists"),
            None => Verdict::failed("there is no such secret"),
        },
        // A secret that does not exist yet is created by writing it.
        _ => Verdict::NotApplicable,
    }
}

fn secret_attached(principal: &Principal, request: Request, _: Timestamp) -> Verdict<'_> {
    on_secret(request, |secret| {
        if secret.attached_to == Some(principal.authorization_id()) {
            Verdict::passed("the secret is attached to the authorization")
        } else {
            Verdict::failed("the secret is not attached to the authorization")
        }
    })
}

fn secret_enabled(_: &Principal, request: Request, _: Timestamp) -> Verdict<'_> {
    on_secret(request, |secret| {
        if secret.enabled {
            Verdict::passed("the secret is enabled")
        } else {
            Verdict::failed("the secret is disabled")
        }
    })
}

fn secret_expired(_: &Principal, request: Request, now: Timestamp) -> Verdict<'_> {
    on_secret(request, |secret| match secret.expires_at {
        Some(at) if now >= at => Verdict::Failed(format!("the secret expired at {}", instant(at))),
        Some(_) => Verdict::passed("the secret has not expired yet"),
        None => Verdict::passed("the secret does not expire"),
    })
}

fn on_secret<'a>(request: Request, check: impl FnOnce(SecretTarget) -> Verdict<'a>) -> Verdict<'a> {
    request
        .action()
        .secret()
        .map_or(Verdict::NotApplicable, check)
}

/// An instant as it stands in the audit trail.
pub(super) fn instant(at: Timestamp) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}
