//! Signals of the process: SIGTERM and SIGINT drain it, a second one ends it at once; SIGHUP has files read again.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

/// What a process ends with that was killed by a signal, beside the signal's number.
const KILLED: i32 = 128;

/// What signals ask for.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Resolves with the first SIGTERM or SIGINT.
    pub(crate) shutdown: oneshot::Receiver<()>,
    /// One message for each SIGHUP; those that come while one waits are one with it.
    pub(crate) reload: mpsc::Receiver<()>,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn listen() -> io::Result<Self> {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut hang_up = signal(SignalKind::hangup())?;
        let (shut_down, shutdown) = oneshot::channel();
        let (read_again, reload) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut shut_down = Some(shut_down);
            loop {
                let of = tokio::select! {
                    _ = terminate.recv() => SignalKind::terminate(),
                    _ = interrupt.recv() => SignalKind::interrupt(),
                    _ = hang_up.recv() => {
                        // One that waits already will see what this one is about.
                        let _ = read_again.try_send(());
                        continue;
                    }
                };
                match shut_down.take() {
                    // The receiver is gone when serving has ended by itself.
                    Some(shut_down) => drop(shut_down.send(())),
                    None => {
                        tracing::warn!("a second signal: ending at once, what was not written is lost");
                        std::process::exit(KILLED + of.as_raw_value());
                    }
                }
            }
        });
        Ok(Self { shutdown, reload })
    }
}
