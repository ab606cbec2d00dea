//! Accepted sockets. tonic ignores its own `tcp_nodelay` when it is handed a stream of connections,
//! so the flag is set here, on each socket: without it small answers wait for Nagle's algorithm.

use std::io;

use tokio::net::{TcpListener, TcpStream};
use tokio_stream::{Stream, StreamExt, wrappers::TcpListenerStream};

/// Connections with `TCP_NODELAY` on. A socket that refuses the flag is an accept error.
pub(crate) fn incoming(listener: TcpListener) -> impl Stream<Item = io::Result<TcpStream>> {
    TcpListenerStream::new(listener).map(|socket| {
        let socket = socket?;
        socket.set_nodelay(true)?;
        Ok(socket)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_sockets_do_not_wait() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut incoming = Box::pin(incoming(listener));
        let (client, accepted) = tokio::join!(TcpStream::connect(address), incoming.next());
        assert!(!client.unwrap().nodelay().unwrap(), "the flag is not on by default");
        assert!(accepted.unwrap().unwrap().nodelay().unwrap());
    }
}
