//! README's quick start: one query, one decision. `cargo run -p rung-client --example quickstart`
#![allow(clippy::print_stdout, reason = "an example")]

use std::error::Error;

use rung_client::{Client, Config, Decision, Fallback};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    println!("{}", ask("127.0.0.1:50051").await?);
    Ok(())
}

/// The model for a query.
///
/// # Errors
/// When the address is none or Rung refuses the query.
pub(crate) async fn ask(address: &str) -> Result<String, Box<dyn Error>> {
    let client = Client::new(Config::new(address, Fallback::strong("big-model")))?;
    let model = match client.route("Where is my parcel?").await? {
        Decision::Routed(answer) => answer.model,
        Decision::Fallback(without_rung) => without_rung.model,
    };
    Ok(model)
}
