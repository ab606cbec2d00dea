//! `token new`: draws a bearer token, prints it once, and prints or appends the entry that the server keeps of it.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::access::Scope;
use crate::access::secret::Minted;
use crate::config::ConfigError;

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Draw a token: the token on the first line, shown this once, and the entry for the tokens' file.
    New(NewArgs),
}

#[derive(Debug, Args)]
struct NewArgs {
    /// Who is to have it; what logs and metrics call them.
    #[arg(long)]
    name: String,
    /// What it may do; several may be given.
    #[arg(long, required = true, value_enum)]
    scope: Vec<Scope>,
    /// The tenant it speaks for.
    #[arg(long)]
    tenant: Option<String>,
    /// It may name the tenant of each call (`x-rung-tenant`): for gateways.
    #[arg(long)]
    names_tenant: bool,
    /// Days until it ends; never by default.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    expires_in_days: Option<u32>,
    /// Queries per second.
    #[arg(long, value_name = "QUERIES")]
    requests_per_second: Option<f64>,
    /// Queries at once, before the rate counts.
    #[arg(long, value_name = "QUERIES")]
    burst: Option<u32>,
    /// Calls under way at once.
    #[arg(long, value_name = "CALLS")]
    concurrent: Option<u32>,
    /// Append the entry to this file instead of printing it.
    #[arg(long, value_name = "FILE")]
    append: Option<PathBuf>,
}

/// An entry as the tokens' file has it.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    name: &'a str,
    id: &'a str,
    sha256: &'a str,
    scopes: &'a [Scope],
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    names_tenant: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    burst: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrent: Option<u32>,
}

#[derive(Debug, Serialize)]
struct File<'a> {
    token: [Entry<'a>; 1],
}

impl TokenArgs {
    pub(super) fn run(self) -> Result<()> {
        let TokenCommand::New(args) = self.command;
        args.run()
    }
}

impl NewArgs {
    fn run(self) -> Result<()> {
        let minted = Minted::draw().context("the system has no randomness to draw a token from")?;
        let entry = self.entry(&minted)?;
        if let Some(file) = &self.append {
            let named = || file.display().to_string();
            let mut file =
                std::fs::File::options().create(true).append(true).open(file).with_context(named)?;
            file.write_all(entry.as_bytes()).with_context(named)?;
        }
        let mut out = std::io::stdout();
        writeln!(out, "{}", minted.token)?;
        if self.append.is_none() {
            write!(out, "{entry}")?;
        }
        Ok(())
    }

    fn entry(&self, minted: &Minted) -> Result<String> {
        let until =
            |days: u32| Timestamp::now().checked_add(SignedDuration::from_hours(24 * i64::from(days)));
        let entry = Entry {
            name: &self.name,
            id: &minted.id,
            sha256: &minted.sha256,
            scopes: &self.scope,
            tenant: self.tenant.as_deref(),
            names_tenant: self.names_tenant,
            expires: self.expires_in_days.map(until).transpose()?,
            requests_per_second: self.requests_per_second,
            burst: self.burst,
            concurrent: self.concurrent,
        };
        let entry = format!("\n{}", toml::to_string(&File { token: [entry] })?);
        // What the server would refuse is not handed out.
        crate::access::check_tokens(&entry).map_err(ConfigError::Refused)?;
        Ok(entry)
    }
}
