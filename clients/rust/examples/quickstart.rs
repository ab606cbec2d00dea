//! README's quick start: one query, one decision. `cargo run -p rung-client --example quickstart`

use std::error::Error;

/// Prints the model for a query.
#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    println!("{}", ask("127.0.0.1:50051").await?);
    Ok(())
}

/// The five lines.
///
/// # Errors
/// When the address is none or Rung refuses the query.
pub async fn ask(address: &str) -> Result<String, Box<dyn Error>> {
    let config = rung_client::Config::new(address, rung_client::Fallback::strong("big-model"));
    let client = rung_client::Client::new(config)?;
    Ok(match client.route("Where is my parcel?").await? {
        rung_client::Decision::Routed(answer) => format!("{} {}", answer.model, answer.win_probability),
        rung_client::Decision::Fallback(fallback) => format!("{}: {}", fallback.model, fallback.reason),
    })
}
