//! A thin client of Rung: one channel, a deadline on every call, few and bounded retries, and a decision even
//! where Rung does not answer. The messages are those of `api`; streams and administration are called with its
//! stubs.
//!
//! [`Client::route`] gives a [`Decision`], which is [`Decision::Routed`] where Rung decided and
//! [`Decision::Fallback`] where it could not be reached or was too late: then the application calls the model it
//! named for that case. A request that Rung refuses (wrong, not allowed, over budget) is an error and never a
//! fallback.

mod attempts;
mod budget;
mod cascade;
mod client;
mod config;
mod decision;
mod failure;
mod question;

pub use api::v1;

pub use cascade::{Answer, CascadeError, Cascaded};
pub use client::Client;
pub use config::{Config, ConfigError, Retry, Tls};
pub use decision::{Decision, Fallback, FallbackDecision, Reason};
pub use failure::{CallError, Refused};
pub use question::{Priority, Question};
