//! The policy language of Rung: `policy.toml` read, validated as a whole, and walked for each query, with the reason
//! of every turn; and the ledger of its budget. Pure: nothing is scored, embedded, called or read here, and facts,
//! intents and the time arrive as values. docs/policy.md is the language on one page.
//!
//! `read` and `whole` make a [`Program`] of a text, `inventory` compares it with what there is, `plan` walks it to
//! a `path`, `ledger` keeps what was spent.

mod inventory;
mod ledger;
mod path;
mod plan;
mod problem;
mod program;
mod read;
mod report;
mod section;
mod step;
mod when;
mod whole;

pub use inventory::Inventory;
pub use ledger::{Admitted, Call, Ledger, Spent, Standing};
pub use path::{Leaf, Path};
pub use plan::{Facts, Intent, Plan};
pub use problem::{Fault, Place, Problem, Severity};
pub use program::{At, Budget, Kind, Program};
pub use step::{Step, StepKind, Why};
pub use when::Grounds;
