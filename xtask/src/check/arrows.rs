//! The arrows of ARCHITECTURE.md against what cargo says.

use anyhow::Result;
use cargo_metadata::{DependencyKind, MetadataCommand};

use crate::run::root;

/// Who may depend on whom inside the workspace; `None`: on everybody.
const ARROWS: &[(&str, Option<&[&str]>)] = &[
    ("types", Some(&[])),
    ("features", Some(&["types"])),
    ("classifier", Some(&["types", "features"])),
    ("encoder", Some(&["types"])),
    ("calibration", Some(&["types"])),
    ("economics", Some(&[])),
    ("policy", Some(&["types", "evaluation"])),
    ("evaluation", Some(&["types"])),
    ("monitoring", Some(&["types", "calibration", "evaluation"])),
    ("corpus", Some(&["types", "features"])),
    ("semantic", Some(&["types", "features", "calibration", "evaluation"])),
    ("artifact", Some(&["types", "features", "classifier", "encoder", "calibration"])),
    ("decision-log", Some(&["types", "monitoring"])),
    ("outbound", Some(&[])),
    (
        "router",
        Some(&[
            "types",
            "features",
            "classifier",
            "encoder",
            "calibration",
            "artifact",
            "policy",
            "economics",
        ]),
    ),
    ("strategy", Some(&["types"])),
    ("api", Some(&[])),
    ("ext-proc", Some(&["api"])),
    ("rung-client", Some(&["api"])),
    (
        "server",
        Some(&[
            "router",
            "api",
            "artifact",
            "types",
            "policy",
            "decision-log",
            "economics",
            "ext-proc",
            "monitoring",
            "outbound",
            "semantic",
            "strategy",
        ]),
    ),
    (
        "training",
        Some(&[
            "types",
            "features",
            "classifier",
            "calibration",
            "economics",
            "encoder",
            "policy",
            "evaluation",
            "monitoring",
            "corpus",
            "artifact",
            "router",
            "semantic",
            "strategy",
            "decision-log",
            "outbound",
        ]),
    ),
    ("benches", None),
    ("xtask", None),
];

/// Libraries that only some rooms may name, with their families: `tonic` stands for `tonic-health` too.
const RESERVED: &[(&str, &[&str])] = &[
    ("burn", &["classifier", "encoder", "training", "router", "benches"]),
    ("tonic", &["api", "ext-proc", "server", "rung-client", "benches"]),
    ("ureq", &["outbound", "training"]),
    ("sqlx", &["decision-log"]),
];

/// A dependency of a workspace member that is compiled into it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Arrow {
    from: String,
    to: String,
}

pub(crate) fn findings() -> Result<Vec<String>> {
    let metadata = MetadataCommand::new().current_dir(root()).no_deps().exec()?;
    let members: Vec<String> = metadata.packages.iter().map(|p| p.name.to_string()).collect();
    let arrows = metadata.packages.iter().flat_map(|package| {
        let built = package.dependencies.iter().filter(|d| d.kind != DependencyKind::Development);
        built.map(|d| Arrow { from: package.name.to_string(), to: d.name.clone() })
    });
    Ok(judge(&members, &arrows.collect::<Vec<_>>()))
}

fn judge(members: &[String], arrows: &[Arrow]) -> Vec<String> {
    let mut findings = Vec::new();
    for member in members {
        if !ARROWS.iter().any(|(name, _)| name == member) {
            findings.push(format!("architecture: {member} has no row in the table of arrows"));
        }
    }
    for Arrow { from, to } in arrows {
        let allowed = ARROWS.iter().find(|(name, _)| name == from).and_then(|(_, allowed)| *allowed);
        if members.contains(to) && allowed.is_some_and(|allowed| !allowed.contains(&to.as_str())) {
            findings.push(format!("architecture: {from} must not depend on {to}"));
        }
        let reserved = RESERVED.iter().find(|(library, _)| of_family(to, library));
        if reserved.is_some_and(|(_, rooms)| !rooms.contains(&from.as_str())) {
            findings.push(format!("architecture: {from} must not name {to}"));
        }
    }
    findings
}

fn of_family(name: &str, library: &str) -> bool {
    name.strip_prefix(library).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrow(from: &str, to: &str) -> Arrow {
        Arrow { from: from.into(), to: to.into() }
    }

    #[test]
    fn the_workspace_keeps_its_arrows() {
        assert_eq!(findings().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_broken_arrow_is_found() {
        let members: Vec<String> = ["types", "policy", "server", "newcomer"].map(str::to_owned).into();
        let arrows = [
            arrow("policy", "types"),
            arrow("types", "server"),
            arrow("policy", "burn"),
            arrow("server", "tonic"),
            arrow("types", "tonic-types"),
            arrow("types", "burnish"),
        ];
        assert_eq!(
            judge(&members, &arrows),
            [
                "architecture: newcomer has no row in the table of arrows",
                "architecture: types must not depend on server",
                "architecture: policy must not name burn",
                "architecture: types must not name tonic-types",
            ]
        );
    }
}
