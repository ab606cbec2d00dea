//! What systemd gives and is told, where it is what started the process: sockets that are open already, and word of
//! being ready, reloading, stopping and alive. Without it every function here does nothing.

use std::io;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::net::TcpListener;

/// Where the names of the sockets are.
const NAMES: &str = "LISTEN_FDNAMES";

/// Sockets that were handed over, by the names of their units (`FileDescriptorName=`).
#[derive(Debug, Default)]
pub(crate) struct Sockets(Vec<(String, std::net::TcpListener)>);

impl Sockets {
    /// Takes what the environment speaks of. To be called before there is a second thread: the variables are removed,
    /// so that no child takes the sockets for its own.
    ///
    /// # Errors
    /// When something else than a TCP socket was handed over.
    pub(crate) fn from_environment() -> io::Result<Self> {
        let names = std::env::var(NAMES).unwrap_or_default();
        let mut handed_over = ListenFd::from_env();
        let mut names = names.split(':').map(str::to_owned);
        let mut sockets = Vec::new();
        for at in 0..handed_over.len() {
            // A single socket without a name is the one that every server has.
            let name = names.next().filter(|name| !name.is_empty() && name != "unknown");
            let name = name.unwrap_or_else(|| "grpc".to_owned());
            let socket = handed_over.take_tcp_listener(at).map_err(|error| {
                io::Error::new(error.kind(), format!("socket {name} that was handed over: {error}"))
            })?;
            sockets.extend(socket.map(|socket| (name, socket)));
        }
        Ok(Self(sockets))
    }

    /// The socket of a name, where it was handed over.
    ///
    /// # Errors
    /// When the runtime cannot have it.
    pub(crate) fn take(&mut self, name: &str) -> io::Result<Option<TcpListener>> {
        let Some(at) = self.0.iter().position(|(of, _)| of == name) else { return Ok(None) };
        let (_, socket) = self.0.swap_remove(at);
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket).map(Some)
    }

    /// Says which sockets nobody took: whoever connects to one would wait for ever.
    pub(crate) fn tell_left(&self) {
        for (name, _) in &self.0 {
            tracing::warn!(
                name,
                "a socket was handed over that nothing here serves: expected grpc, admin or http"
            );
        }
    }
}

/// Serving, or serving again after a reload.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Reading files again.
pub(crate) fn reloading() {
    let since = NotifyState::monotonic_usec_now();
    match since {
        Ok(since) => tell(&[NotifyState::Reloading, since]),
        Err(error) => tracing::warn!(%error, "systemd is not told of a reload"),
    }
}

/// Draining.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Says that the process is alive for as long as the runtime turns, where somebody watches.
pub(crate) async fn watchdog() {
    let Some(within) = sd_notify::watchdog_enabled() else { return };
    // Twice in the time, as sd_watchdog_enabled(3) advises.
    let mut every = tokio::time::interval(within / 2);
    loop {
        every.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}
