//! What a call costs and what a way of routing is worth: effective prices, router against cascade
//! against one model, volumes at which the effort pays. Pure arithmetic over numbers the user gives;
//! prices arrive as the text of the user's file (`prices`), no file is opened, and how often a router errs is measured elsewhere.
//! Money is in US dollars, per request where nothing else is said.

mod call;
mod error;
mod prices;
mod stages;
mod strategy;
mod volume;

pub use call::{CacheUse, Call, Price};
pub use error::EconomicsError;
pub use prices::{Prices, PricesError};
pub use stages::{LatencyAtom, Stage, Stages, latency_quantile_s};
pub use strategy::{
    break_even_escalation, cascade_beats_router_below, cascade_cost, gain_worth_paying, router_cost,
};
pub use volume::{PerRequest, Upkeep};
