//! The load client: what it sends, when it sends it, what it counts, and the commands that put a server under load.
//! Nothing here computes a decision; the server is a process of its own.

mod bodies;
mod capacity;
mod chaos;
mod cli;
mod cost;
mod credentials;
mod drive;
mod lanes;
mod pace;
mod process;
mod reload;
mod saturate;
mod say;
mod scrape;
mod soak;
mod stalls;
mod tally;
mod wire;

pub use cli::Cli;
