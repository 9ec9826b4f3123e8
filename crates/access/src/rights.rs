//! Who may do what: one table over roles, scopes and the generation in question.
//!
//! Nothing is looked up here: the caller passes the owner and tenant it read. Whoever may not [`Verb::Read`] a
//! generation gets the same 404 as for an unknown id; that, leases and pipelines are the caller's affair.

use protocol::{GenerationId, TenantId, UserId};

use crate::identity::{Identity, Role, Scope};

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Follow events and frames; without a subject, all of one's own.
    Watch,
    /// Get the state, events and artifacts; without a subject, the list of one's own.
    Read,
    /// Ask it to stop.
    Cancel,
    /// Change its place in the queue.
    Prioritize,
    /// Run it again as a new generation.
    Retry,
    /// Remove its events and artifacts.
    Delete,
    /// Store a file under its name. A managed generation also wants the lease, which the caller checks.
    WriteArtifact,
    /// Append events over HTTP. Only pipeline `external` takes them, which the caller checks.
    Report,
    /// Ask for a film of one's own.
    Submit,
    /// Ask for a film in somebody else's name (`owner`, `tenant`). The subject, if any, is what is about to be made.
    SubmitFor,
    /// Mint a live token that names this generation.
    MintToken,
    /// See and steer queues, workers, breakers and dead letters of the whole deployment.
    Operate,
    /// Take offers and run stages.
    Work,
}

impl Verb {
    /// All verbs, in the order of the table in the tests.
    pub const ALL: [Self; 13] = [
        Self::Watch,
        Self::Read,
        Self::Cancel,
        Self::Prioritize,
        Self::Retry,
        Self::Delete,
        Self::WriteArtifact,
        Self::Report,
        Self::Submit,
        Self::SubmitFor,
        Self::MintToken,
        Self::Operate,
        Self::Work,
    ];
}

/// The generation in question.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Which one.
    pub generation: &'a GenerationId,
    /// Whose it is.
    pub owner: &'a UserId,
    /// The tenant its owner belongs to.
    pub tenant: &'a TenantId,
}

/// May `identity` do this, with this generation?
///
/// - Owners, admins of the same tenant and services of the same tenant do everything with a generation. A user id
///   counts only within its tenant: the same id in another tenant is somebody else.
/// - A service token without `tenantId` belongs to tenant `default` and reaches no other.
/// - An operator operates, and has generations of their own like anybody else; other people's stay closed.
/// - A worker works and stores artifacts, for all tenants: its leases say for which generations.
/// - A live token watches and reads the generations it names, whatever role it carries.
/// - Without a subject, `Watch` and `Read` mean one's own; verbs that change a generation are refused.
///
/// The expiry of the identity is not looked at; whoever keeps one open watches it.
#[must_use]
pub fn may(identity: &Identity, verb: Verb, subject: Option<Subject<'_>>) -> bool {
    if let Scope::Watch(named) = &identity.scope {
        return matches!(verb, Verb::Watch | Verb::Read) && subject.is_some_and(|s| named.contains(s.generation));
    }
    let role = identity.role;
    match (verb, subject) {
        (Verb::Operate, _) => role == Role::Operator,
        (Verb::Work, _) => role == Role::Worker,
        (Verb::Submit, _) | (Verb::Watch | Verb::Read, None) => role != Role::Worker,
        (Verb::SubmitFor, subject) => role == Role::Service && subject.is_none_or(|s| s.tenant == &identity.tenant),
        (Verb::WriteArtifact, Some(_)) if role == Role::Worker => true,
        (_, Some(subject)) => owns(identity, subject) || may_see_tenant(identity, subject.tenant),
        (_, None) => false,
    }
}

/// May `identity` list what all owners of `tenant` have? Admins and services may, in their own tenant.
#[must_use]
pub fn may_see_tenant(identity: &Identity, tenant: &TenantId) -> bool {
    identity.scope == Scope::Everything
        && matches!(identity.role, Role::Admin | Role::Service)
        && &identity.tenant == tenant
}

fn owns(identity: &Identity, subject: Subject<'_>) -> bool {
    identity.role != Role::Worker && &identity.user == subject.owner && &identity.tenant == subject.tenant
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relation of the subject to the identity `ada` of tenant `acme`: owner and tenant.
    const RELATIONS: [(&str, Option<(&str, &str)>); 5] = [
        ("own", Some(("ada", "acme"))),
        ("tenant", Some(("bob", "acme"))),
        ("namesake", Some(("ada", "other"))),
        ("foreign", Some(("bob", "other"))),
        ("none", None),
    ];

    /// Columns: Watch Read Cancel Prioritize Retry Delete WriteArtifact Report Submit SubmitFor MintToken Operate Work.
    #[rustfmt::skip]
    const TABLE: [(Role, &str, &str); 25] = [
        //                                W R C P R D  A R S F M  O W
        (Role::User,     "own",      "x x x x x x  x x x . x  . ."),
        (Role::User,     "tenant",   ". . . . . .  . . x . .  . ."),
        (Role::User,     "namesake", ". . . . . .  . . x . .  . ."),
        (Role::User,     "foreign",  ". . . . . .  . . x . .  . ."),
        (Role::User,     "none",     "x x . . . .  . . x . .  . ."),
        (Role::Worker,   "own",      ". . . . . .  x . . . .  . x"),
        (Role::Worker,   "tenant",   ". . . . . .  x . . . .  . x"),
        (Role::Worker,   "namesake", ". . . . . .  x . . . .  . x"),
        (Role::Worker,   "foreign",  ". . . . . .  x . . . .  . x"),
        (Role::Worker,   "none",     ". . . . . .  . . . . .  . x"),
        (Role::Service,  "own",      "x x x x x x  x x x x x  . ."),
        (Role::Service,  "tenant",   "x x x x x x  x x x x x  . ."),
        (Role::Service,  "namesake", ". . . . . .  . . x . .  . ."),
        (Role::Service,  "foreign",  ". . . . . .  . . x . .  . ."),
        (Role::Service,  "none",     "x x . . . .  . . x x .  . ."),
        (Role::Operator, "own",      "x x x x x x  x x x . x  x ."),
        (Role::Operator, "tenant",   ". . . . . .  . . x . .  x ."),
        (Role::Operator, "namesake", ". . . . . .  . . x . .  x ."),
        (Role::Operator, "foreign",  ". . . . . .  . . x . .  x ."),
        (Role::Operator, "none",     "x x . . . .  . . x . .  x ."),
        (Role::Admin,    "own",      "x x x x x x  x x x . x  . ."),
        (Role::Admin,    "tenant",   "x x x x x x  x x x . x  . ."),
        (Role::Admin,    "namesake", ". . . . . .  . . x . .  . ."),
        (Role::Admin,    "foreign",  ". . . . . .  . . x . .  . ."),
        (Role::Admin,    "none",     "x x . . . .  . . x . .  . ."),
    ];

    fn ada(role: Role, scope: Scope) -> Identity {
        let (user, tenant) = ("ada".parse().unwrap(), "acme".parse().unwrap());
        Identity { user, tenant, role, scope, expires_at: None }
    }

    /// Asks about `generation` in the named relation to `ada`.
    fn ask(identity: &Identity, verb: Verb, relation: &str, generation: &str) -> bool {
        let (_, people) = RELATIONS.into_iter().find(|(name, _)| *name == relation).unwrap();
        let Some((owner, tenant)) = people else { return may(identity, verb, None) };
        let (generation, owner, tenant) =
            (generation.parse().unwrap(), owner.parse().unwrap(), tenant.parse().unwrap());
        may(identity, verb, Some(Subject { generation: &generation, owner: &owner, tenant: &tenant }))
    }

    #[test]
    fn the_table_holds_cell_by_cell() {
        for role in Role::ALL {
            for (relation, _) in RELATIONS {
                let row = TABLE.iter().find(|row| row.0 == role && row.1 == relation).unwrap();
                let cells: Vec<bool> = row.2.split_whitespace().map(|cell| cell == "x").collect();
                assert_eq!(cells.len(), Verb::ALL.len());
                for (verb, allowed) in Verb::ALL.into_iter().zip(cells) {
                    let identity = ada(role, Scope::Everything);
                    assert_eq!(ask(&identity, verb, relation, "gen_a"), allowed, "{role} {verb:?} {relation}");
                }
            }
        }
    }

    #[test]
    fn a_live_token_watches_and_reads_what_it_names_and_nothing_else() {
        for role in Role::ALL {
            let identity = ada(role, Scope::Watch(["gen_a".parse().unwrap(), "gen_b".parse().unwrap()].into()));
            for verb in Verb::ALL {
                let reads = matches!(verb, Verb::Watch | Verb::Read);
                for (relation, people) in RELATIONS {
                    let named = reads && people.is_some();
                    assert_eq!(ask(&identity, verb, relation, "gen_a"), named, "{role} {verb:?} {relation}");
                    assert_eq!(ask(&identity, verb, relation, "gen_b"), named, "{role} {verb:?} {relation}");
                    assert!(!ask(&identity, verb, relation, "gen_c"), "{role} {verb:?} {relation}");
                }
            }
        }
    }

    #[test]
    fn a_tenant_is_listed_by_its_admins_and_services_alone() {
        let (own, other) = ("acme".parse().unwrap(), "other".parse().unwrap());
        for role in Role::ALL {
            let identity = ada(role, Scope::Everything);
            assert_eq!(may_see_tenant(&identity, &own), matches!(role, Role::Admin | Role::Service), "{role}");
            assert!(!may_see_tenant(&identity, &other), "{role}");
            assert!(!may_see_tenant(&ada(role, Scope::Watch([].into())), &own), "{role}");
        }
    }
}
