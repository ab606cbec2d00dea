//! What a token may do, and what each method needs. A method that is not known here is not served to anybody who has
//! to show a token: a service that is added later is closed until it is named.

use std::fmt;

use api::v1::{
    admin_service_server, cascade_service_server, monitor_service_server, outcome_service_server,
    router_service_server, semantic_service_server,
};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// One thing a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    /// Ask for decisions: RouterService, CascadeService, SemanticService.
    Route,
    /// Report what came of decisions: OutcomeService.
    Outcome,
    /// Read what is served: MonitorService, reflection, every `Get` of the services of decisions.
    Read,
    /// Change what is served: AdminService.
    Admin,
}

impl Scope {
    const ALL: [Self; 4] = [Self::Route, Self::Outcome, Self::Read, Self::Admin];

    fn as_str(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Outcome => "outcome",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}

/// A set of scopes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Scopes(u8);

impl Scopes {
    /// What nobody in particular may do where callers need no token: everything but administration.
    pub(crate) const ANONYMOUS: Self = Self::of(Scope::Route).and(Scope::Outcome).and(Scope::Read);

    pub(crate) const fn of(scope: Scope) -> Self {
        Self(1 << scope as u8)
    }

    pub(crate) const fn and(self, scope: Scope) -> Self {
        Self(self.0 | 1 << scope as u8)
    }

    pub(crate) fn has(self, scope: Scope) -> bool {
        self.any_of(Self::of(scope))
    }

    pub(crate) fn any_of(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        scopes.into_iter().fold(Self::default(), Self::and)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = Scope::ALL.into_iter().filter(|scope| self.has(*scope));
        f.write_str(&held.map(Scope::as_str).collect::<Vec<_>>().join(" or "))
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scopes({self})")
    }
}

/// What a method needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Anybody may call it: probes have no token.
    Nothing,
    /// One of these scopes.
    AnyOf(Scopes),
    /// It is not known here.
    Unknown,
}

/// What the method of a request's path needs.
pub(crate) fn needs(path: &str) -> Needs {
    let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.split_once('/')) else {
        return Needs::Unknown;
    };
    let one = |scope| Needs::AnyOf(Scopes::of(scope));
    match service {
        router_service_server::SERVICE_NAME
        | cascade_service_server::SERVICE_NAME
        | semantic_service_server::SERVICE_NAME => {
            // Who is answered by something may ask what it is.
            if method.starts_with("Get") {
                Needs::AnyOf(Scopes::of(Scope::Route).and(Scope::Read))
            } else {
                one(Scope::Route)
            }
        }
        outcome_service_server::SERVICE_NAME => one(Scope::Outcome),
        monitor_service_server::SERVICE_NAME => one(Scope::Read),
        admin_service_server::SERVICE_NAME => one(Scope::Admin),
        "grpc.reflection.v1.ServerReflection" | "grpc.reflection.v1alpha.ServerReflection" => {
            one(Scope::Read)
        }
        // Envoy, on a listener of its own, asks what callers of RouterService ask.
        "envoy.service.ext_proc.v3.ExternalProcessor" => one(Scope::Route),
        "grpc.health.v1.Health" => Needs::Nothing,
        _ => Needs::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn every_method_of_the_contract_needs_a_scope_that_is_named() {
        let set = prost_types::FileDescriptorSet::decode(api::v1::FILE_DESCRIPTOR_SET).unwrap();
        let mut methods = 0;
        for file in set.file.iter().filter(|file| file.package() == "rung.v1") {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/rung.v1.{}/{}", service.name(), method.name());
                    assert!(matches!(needs(&path), Needs::AnyOf(_)), "{path} is open, or not known");
                    methods += 1;
                }
            }
        }
        assert!(methods > 15, "{methods}");
    }

    #[test]
    fn scopes_open_their_own_methods_alone() {
        let any_of = |path| match needs(path) {
            Needs::AnyOf(scopes) => scopes,
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!(any_of("/rung.v1.RouterService/Route"), Scopes::of(Scope::Route));
        assert_eq!(any_of("/rung.v1.RouterService/GetInfo").to_string(), "route or read");
        assert_eq!(any_of("/rung.v1.OutcomeService/ReportOutcome"), Scopes::of(Scope::Outcome));
        assert_eq!(any_of("/rung.v1.AdminService/Anything"), Scopes::of(Scope::Admin));
        assert!(!Scopes::ANONYMOUS.has(Scope::Admin) && Scopes::ANONYMOUS.has(Scope::Route));
        assert_eq!(needs("/grpc.health.v1.Health/Check"), Needs::Nothing);
        for unknown in ["", "/", "rung.v1.RouterService/Route", "/rung.v1.Router/Route", "//Route", "/x"] {
            assert_eq!(needs(unknown), Needs::Unknown, "{unknown:?}");
        }
    }
}
