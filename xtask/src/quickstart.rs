//! `cargo xtask quickstart`: from a clone to a routed query, through the binaries that a user runs.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cargo_metadata::MetadataCommand;

use crate::run::{command, root, step, tell};

const ARTIFACT: &str = "models/starter";
const EASY: &str = "What are your opening hours on Sunday?";
const HARD: &str =
    "Prove that there are infinitely many primes congruent to 3 modulo 4 and justify every step.";
/// Loading takes a fraction of a second; a machine that swaps may need more.
const LONGEST_START: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Stop after the two questions instead of serving on.
    #[arg(long)]
    once: bool,
    /// Address to serve on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:50051")]
    listen: SocketAddr,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    // Found out before the training rather than after it.
    let listen = free(args.listen)?;
    let interrupted = interruptions()?;
    step(&["cargo", "run", "--release", "-p", "training", "--", "fit", "--out", ARTIFACT])?;
    step(&["cargo", "build", "--release", "-p", "server"])?;
    if interrupted.try_recv().is_ok() {
        bail!("interrupted");
    }
    let binary = binary()?;
    let mut server = Server::start(&binary, listen)?;
    server.wait_until_accepting(&interrupted)?;
    for question in [EASY, HARD] {
        tell(&format!("\n> {question}"));
        let program = binary.to_string_lossy();
        let status = command(&[&program, "route", "--artifact", ARTIFACT, question])
            .status()
            .context("asking the router")?;
        if !status.success() {
            bail!("the router gave no decision: {status}");
        }
    }
    if args.once {
        return Ok(());
    }
    tell(&format!(
        "\nserving on {listen}; README.md shows callers in Python, Node, Go and grpcurl. Ctrl-C ends it."
    ));
    server.wait_until_interrupted(&interrupted)
}

/// The address itself, or for port 0 one that is free; taken is an error.
fn free(listen: SocketAddr) -> Result<SocketAddr> {
    let listener = TcpListener::bind(listen).with_context(|| format!("{listen}: choose another --listen"))?;
    Ok(listener.local_addr()?)
}

/// A message per Ctrl-C, SIGTERM or SIGHUP, which no longer end this process by themselves: so every way out of it
/// drops the [`Server`].
fn interruptions() -> Result<Receiver<()>> {
    let (sender, receiver) = sync_channel(1);
    ctrlc::set_handler(move || {
        // A full channel says it already.
        let _ = sender.try_send(());
    })?;
    Ok(receiver)
}

/// The binary itself rather than `cargo run`: ending the child must end the server.
fn binary() -> Result<PathBuf> {
    let metadata = MetadataCommand::new().current_dir(root()).no_deps().exec()?;
    let name = format!("server{}", std::env::consts::EXE_SUFFIX);
    Ok(metadata.target_directory.join("release").join(name).into())
}

/// A running server, ended however its owner is left.
struct Server {
    child: Child,
    listen: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(binary: &Path, listen: SocketAddr) -> Result<Self> {
        let (program, address) = (binary.to_string_lossy(), listen.to_string());
        let words = [program.as_ref(), "serve", "--artifact", ARTIFACT, "--listen", &address];
        let child = command(&words).stdin(Stdio::null()).spawn().context("starting the server")?;
        Ok(Self { child, listen })
    }

    fn wait_until_accepting(&mut self, interrupted: &Receiver<()>) -> Result<()> {
        let start = Instant::now();
        while TcpStream::connect_timeout(&self.listen, BETWEEN_LOOKS).is_err() {
            self.still_running()?;
            if start.elapsed() > LONGEST_START {
                bail!("the server does not accept on {} after {LONGEST_START:?}", self.listen);
            }
            if !matches!(interrupted.recv_timeout(BETWEEN_LOOKS), Err(RecvTimeoutError::Timeout)) {
                bail!("interrupted");
            }
        }
        self.still_running()
    }

    fn wait_until_interrupted(&mut self, interrupted: &Receiver<()>) -> Result<()> {
        while let Err(RecvTimeoutError::Timeout) = interrupted.recv_timeout(BETWEEN_LOOKS) {
            self.still_running()?;
        }
        Ok(())
    }

    fn still_running(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the server ended: {status}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::works;

    fn server(words: &[&str], listen: SocketAddr) -> Server {
        Server { child: command(words).spawn().unwrap(), listen }
    }

    #[test]
    fn a_dropped_server_is_gone() {
        let server = server(&["sleep", "600"], ([127, 0, 0, 1], 1).into());
        let id = server.child.id().to_string();
        assert!(works(&["kill", "-0", &id]), "process {id} never ran");
        drop(server);
        assert!(!works(&["kill", "-0", &id]), "process {id} is still there");
    }

    #[test]
    fn a_server_that_ends_is_an_error_not_a_wait() {
        // Port 1 is nobody's here: a free one could become that of another test.
        let listen = ([127, 0, 0, 1], 1).into();
        let (_sender, interrupted) = sync_channel(1);
        let error = server(&["false"], listen).wait_until_accepting(&interrupted).unwrap_err();
        assert!(error.to_string().contains("the server ended"), "{error}");
    }

    #[test]
    fn waiting_ends_when_the_port_accepts_and_when_interrupted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut server = server(&["sleep", "600"], listener.local_addr().unwrap());
        let (sender, interrupted) = sync_channel(1);
        server.wait_until_accepting(&interrupted).unwrap();
        sender.send(()).unwrap();
        server.wait_until_interrupted(&interrupted).unwrap();
    }

    #[test]
    fn a_taken_address_is_named_before_anything_is_trained() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = listener.local_addr().unwrap();
        let error = free(taken).unwrap_err();
        assert!(error.to_string().contains(&format!("{taken}: choose another")), "{error}");
    }
}
