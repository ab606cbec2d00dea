//! Callers that mean harm: silent, slow, flooding, oversized, nested, compressed, garbled. Each test attacks a server in
//! a process of its own while an honest caller goes on asking, and holds two things: every honest call is answered
//! right, and the server's memory stays within what the attack may cost.
//!
//! `RUNG_HOSTILE_FULL=1` opens 10,000 idle connections, one process each for the client's and the server's files.

use std::io::Write;
use std::time::Duration;

use crate::support::access::{Authority, shake_hands};
use crate::support::artifact;
use crate::support::process::{Honest, Process};
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{HeaderValue, Method, Request, Response};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

const MB: u64 = 1_024;

const ROUTE: &str = "http://localhost/rung.v1.RouterService/Route";
const BATCH: &str = "http://localhost/rung.v1.RouterService/RouteBatch";
const STREAM: &str = "http://localhost/rung.v1.RouterService/RouteStream";

/// A bare HTTP/2 connection.
async fn raw(address: &str) -> SendRequest<Bytes> {
    let socket = TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(async move {
        let _ = connection.await;
    });
    client
}

fn grpc(uri: &str) -> Request<()> {
    let request = Request::builder().method(Method::POST).uri(uri);
    request.header("content-type", "application/grpc").header("te", "trailers").body(()).unwrap()
}

/// A message as gRPC frames it.
fn framed(compressed: bool, message: &[u8]) -> Bytes {
    let mut frame = vec![u8::from(compressed)];
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(message);
    frame.into()
}

/// Sends all of it as the peer's windows allow.
async fn send(stream: &mut h2::SendStream<Bytes>, mut data: Bytes, end: bool) -> Result<(), h2::Error> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let room = match std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(room) => room?,
            None => return Err(Reason::CANCEL.into()),
        };
        let next = data.split_to(room.min(data.len()));
        stream.send_data(next, end && data.is_empty())?;
    }
    Ok(())
}

/// The status of an answer, wherever it stands.
async fn status(response: Response<RecvStream>) -> Code {
    let of = |headers: &http::HeaderMap| Some(Code::from_bytes(headers.get("grpc-status")?.as_bytes()));
    if let Some(code) = of(response.headers()) {
        return code;
    }
    let mut body = response.into_body();
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
    }
    body.trailers().await.ok().flatten().and_then(|trailers| of(&trailers)).expect("no status")
}

/// One `Route` of these bytes, with these headers beside the usual ones.
async fn call(address: &str, body: Bytes, headers: &[(&'static str, &str)]) -> Code {
    unary(address, ROUTE, body, headers).await
}

/// One unary call.
async fn unary(address: &str, uri: &str, body: Bytes, headers: &[(&'static str, &str)]) -> Code {
    let mut client = raw(address).await.ready().await.unwrap();
    let mut request = grpc(uri);
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
    }
    let (response, mut stream) = client.send_request(request, false).unwrap();
    // A server that has heard enough does not take the rest.
    let _ = send(&mut stream, body, true).await;
    status(response.await.unwrap()).await
}

/// Whether the other side has closed; what it sends before is thrown away.
async fn closed(socket: &mut TcpStream) -> bool {
    let mut thrown = [0; 4_096];
    let read = async { while matches!(socket.read(&mut thrown).await, Ok(1..)) {} };
    tokio::time::timeout(Duration::from_secs(60), read).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_connects_and_says_nothing_is_let_go() {
    let server = Process::start(&artifact(), &["--handshake-timeout-ms", "500"]).await;
    let honest = Honest::begin(&server.address, None).await;
    let (before, files) = (server.resident_kb(), server.files());
    let mut silent = Vec::new();
    for i in 0..1_000 {
        let mut socket = TcpStream::connect(&server.address).await.unwrap();
        // Half of them begin, and do not go on.
        if i % 2 == 0 {
            socket.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
        }
        silent.push(socket);
    }
    honest.hears(20).await;
    for socket in &mut silent {
        assert!(closed(socket).await, "still open");
    }
    while server.files() > files {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let grown = server.resident_kb().saturating_sub(before);
    assert!(grown < 100 * MB, "{grown} KiB more for 1,000 silent connections");
    honest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_handshakes_keep_nobody_out() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    authority.localhost().put(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    let args = ["--tls-cert", &cert, "--tls-key", &key, "--handshake-timeout-ms", "2000"];
    let server = Process::start(&artifact(), &args).await;
    let trusted = authority.trusted(None);
    let honest = Honest::begin(&server.address, Some(&trusted)).await;
    let mut silent = Vec::new();
    for _ in 0..500 {
        silent.push(TcpStream::connect(&server.address).await.unwrap());
    }
    // Newcomers shake hands in the meantime; garbage instead of a handshake is closed.
    for _ in 0..20 {
        shake_hands(&server.address, &trusted).await.unwrap();
        let mut garbage = TcpStream::connect(&server.address).await.unwrap();
        garbage.write_all(&[0xff; 512]).await.unwrap();
        assert!(closed(&mut garbage).await);
    }
    honest.hears(20).await;
    for socket in &mut silent {
        assert!(closed(socket).await, "still open");
    }
    honest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_cost_what_they_cost_and_no_more() {
    let many = if std::env::var_os("RUNG_HOSTILE_FULL").is_some() { 10_000 } else { 500 };
    let server = Process::start(&artifact(), &["--max-connections", &(many + 1).to_string()]).await;
    let honest = Honest::begin(&server.address, None).await;
    let before = server.resident_kb();
    let mut idle = Vec::new();
    for _ in 0..many {
        idle.push(raw(&server.address).await);
    }
    honest.hears(20).await;
    let grown = server.resident_kb().saturating_sub(before);
    eprintln!("{many} idle connections: {} KiB each, {} MB in all", grown / many, server.resident_kb() / MB);
    assert!(grown / many < 64, "{grown} KiB for {many}");
    // One more is closed at once; the honest one has its place.
    let mut beyond = TcpStream::connect(&server.address).await.unwrap();
    assert!(closed(&mut beyond).await);
    honest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_resets_ends_its_own_connection() {
    let server = Process::start(&artifact(), &[]).await;
    let honest = Honest::begin(&server.address, None).await;
    let before = server.resident_kb();
    let mut ended = 0;
    for _ in 0..10 {
        let mut client = raw(&server.address).await;
        for _ in 0..20_000 {
            match client.ready().await {
                Ok(ready) => client = ready,
                Err(_) => {
                    ended += 1;
                    break;
                }
            }
            let Ok((_, mut stream)) = client.send_request(grpc(ROUTE), false) else {
                ended += 1;
                break;
            };
            stream.send_reset(Reason::CANCEL);
        }
    }
    let grown = server.resident_kb().saturating_sub(before);
    assert!(grown < 50 * MB, "{grown} KiB");
    assert_eq!(ended, 10, "each of them was ended");
    honest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_bombs_are_refused() {
    let server = Process::start(&artifact(), &[]).await;
    let honest = Honest::begin(&server.address, None).await;
    let before = server.resident_kb();
    for _ in 0..50 {
        let client = raw(&server.address).await;
        let mut client = client.ready().await.unwrap();
        let mut request = grpc(ROUTE);
        for i in 0..100 {
            let name = http::HeaderName::from_bytes(format!("x-bomb-{i}").as_bytes()).unwrap();
            request.headers_mut().insert(name, HeaderValue::from_bytes(&[b'a'; 1_000]).unwrap());
        }
        let (response, _stream) = client.send_request(request, true).unwrap();
        // Too large a list is answered 431, or the stream is reset.
        if let Ok(response) = response.await {
            assert_eq!(response.status(), http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
    }
    // Headers that never end: HEADERS without END_HEADERS, then CONTINUATION after CONTINUATION.
    let mut socket = TcpStream::connect(&server.address).await.unwrap();
    socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").await.unwrap();
    socket.write_all(b"\x00\x00\x01\x01\x00\x00\x00\x00\x01\x82").await.unwrap();
    let mut frame = vec![0, 0x40, 0, 9, 0, 0, 0, 0, 1];
    // Literals without indexing, `a: aaa...`.
    let literal = [&[0x00, 0x01, b'a', 0x7f, 0x81, 0x7d][..], &[b'a'; 16_000]].concat();
    frame.extend_from_slice(&literal);
    frame.resize(9 + 0x4000, b'a');
    let flood = async { while socket.write_all(&frame).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(60), flood).await.expect("it is listened to without an end");
    let grown = server.resident_kb().saturating_sub(before);
    assert!(grown < 50 * MB, "{grown} KiB");
    honest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversized_nested_and_garbled_messages_are_refused() {
    let server = Process::start(&artifact(), &[]).await;
    let honest = Honest::begin(&server.address, None).await;
    let before = server.resident_kb();
    for _ in 0..20 {
        // A length that is a lie, and one that is true and too much.
        let lie = Bytes::from_static(b"\x00\x7f\xff\xff\xff-----");
        assert_eq!(call(&server.address, lie, &[]).await, Code::OutOfRange);
        let large = framed(false, &vec![0x41; 5 << 20]);
        assert_eq!(call(&server.address, large, &[]).await, Code::OutOfRange);
        // Groups within groups, which prost follows a hundred deep at most.
        let nested = framed(false, &vec![0x7b; 1 << 20]);
        assert!(matches!(call(&server.address, nested, &[]).await, Code::Internal | Code::InvalidArgument));
        for garbage in [&b"\xff\xff\xff\xff\xff"[..], b"\x0a\xff\xff\xff\x7f", &[0x08; 33]] {
            let code = call(&server.address, framed(false, garbage), &[]).await;
            assert!(matches!(code, Code::Internal | Code::InvalidArgument), "{code:?}");
        }
        let mut socket = TcpStream::connect(&server.address).await.unwrap();
        let _ = socket.write_all(&[0x5a; 64 << 10]).await;
        assert!(closed(&mut socket).await);
    }
    let grown = server.resident_kb().saturating_sub(before);
    assert!(grown < 100 * MB, "{grown} KiB");
    honest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compression_bombs_are_opened_as_far_as_a_message_may_go() {
    let server = Process::start(&artifact(), &[]).await;
    let honest = Honest::begin(&server.address, None).await;
    let before = server.resident_kb();
    let zeros = vec![0; 1 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let mut zstd = zstd::Encoder::new(Vec::new(), 19).unwrap();
    for _ in 0..512 {
        gzip.write_all(&zeros).unwrap();
        zstd.write_all(&zeros).unwrap();
    }
    let bombs = [("gzip", gzip.finish().unwrap()), ("zstd", zstd.finish().unwrap())];
    for (encoding, bomb) in bombs {
        assert!(bomb.len() < 1 << 20, "{encoding} {}", bomb.len());
        let calls = (0..64).map(|_| {
            let (address, body) = (server.address.clone(), framed(true, &bomb));
            tokio::spawn(async move { call(&address, body, &[("grpc-encoding", encoding)]).await })
        });
        let calls: Vec<_> = calls.collect();
        for call in calls {
            let code = call.await.unwrap();
            assert!(matches!(code, Code::ResourceExhausted | Code::OutOfRange), "{encoding}: {code:?}");
        }
    }
    let grown = server.resident_kb().saturating_sub(before);
    assert!(grown < 100 * MB, "{grown} KiB");
    honest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn millions_of_empty_elements_are_counted_before_they_are_made() {
    let server = Process::start(&artifact(), &[]).await;
    let honest = Honest::begin(&server.address, None).await;
    let before = server.resident_kb();
    // Two bytes each, hundreds in memory: empty queries of a batch, and empty turns of a chat, which is field 3.
    let queries = framed(false, &[0x0a, 0x00].repeat(2_000_000));
    let turns = [0x0a, 0x00].repeat(1_900_000);
    let mut chat = vec![0x1a];
    prost::encoding::encode_varint(turns.len() as u64, &mut chat);
    chat.extend(turns);
    let chat = framed(false, &chat);
    for _ in 0..10 {
        assert_eq!(unary(&server.address, BATCH, queries.clone(), &[]).await, Code::InvalidArgument);
        assert_eq!(call(&server.address, chat.clone(), &[]).await, Code::InvalidArgument);
    }
    let grown = server.resident_kb().saturating_sub(before);
    assert!(grown < 50 * MB, "{grown} KiB");
    honest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_sent_messages_share_one_bound() {
    let args = ["--max-unread-bytes", "16777216", "--request-timeout-s", "10"];
    let server = Process::start(&artifact(), &args).await;
    let honest = Honest::begin(&server.address, None).await;
    let before = server.resident_kb();
    let mut refused = 0;
    let mut held = Vec::new();
    // Each says 4 MB and sends all but the end of it: 256 MB, of which 16 are taken.
    for _ in 0..8 {
        let mut client = raw(&server.address).await;
        for _ in 0..8 {
            client = client.ready().await.unwrap();
            let (response, mut stream) = client.send_request(grpc(ROUTE), false).unwrap();
            let message = framed(false, &vec![0x41; 4_000_000]);
            let sent = send(&mut stream, message.slice(..3_900_000), false).await;
            refused += usize::from(sent.is_err());
            held.push((response, stream));
        }
    }
    assert!(refused > 40, "{refused} of 64 were refused");
    let grown = server.resident_kb().saturating_sub(before);
    assert!(grown < 80 * MB, "{grown} KiB");
    // Those that were let in and never end are given up, and what they held is free again.
    let mut exhausted = 0;
    for (response, _stream) in held {
        if let Ok(response) = response.await {
            exhausted += usize::from(status(response).await == Code::ResourceExhausted);
        }
    }
    assert!(exhausted > 0, "nobody was told");
    honest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_is_not_computed_for() {
    let server = Process::start(&artifact(), &[]).await;
    let honest = Honest::begin(&server.address, None).await;
    let before = server.resident_kb();
    let question = api::v1::RouteRequest {
        input: Some(api::v1::route_request::Input::Text("how long is a piece of string?".into())),
        ..Default::default()
    };
    let question = framed(false, &question.encode_to_vec());
    let mut held = Vec::new();
    for _ in 0..50 {
        let mut client = raw(&server.address).await.ready().await.unwrap();
        let (response, mut stream) = client.send_request(grpc(STREAM), false).unwrap();
        // Sends until the server takes no more; reads nothing.
        let mut taken = 0_u64;
        let much: Bytes = std::iter::repeat_n(&question[..], 200).collect::<Vec<_>>().concat().into();
        while tokio::time::timeout(Duration::from_millis(200), send(&mut stream, much.clone(), false))
            .await
            .is_ok()
        {
            taken += much.len() as u64;
            assert!(taken < 64 << 20, "it takes without an end");
        }
        held.push((client, response, stream));
    }
    let grown = server.resident_kb().saturating_sub(before);
    assert!(grown < 150 * MB, "{grown} KiB for 50 readers that do not read");
    honest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_goes_when_it_is_old_and_its_caller_does_not_notice() {
    let args = ["--max-connection-age-s", "1", "--max-connection-age-grace-s", "1"];
    let server = Process::start(&artifact(), &args).await;
    let honest = Honest::begin(&server.address, None).await;
    // A stream that stays open does not keep its connection for ever.
    let mut client = raw(&server.address).await.ready().await.unwrap();
    let (response, stream) = client.send_request(grpc(STREAM), false).unwrap();
    let mut body = response.await.unwrap().into_body();
    let ended = tokio::time::timeout(Duration::from_secs(60), body.data()).await.expect("it is kept");
    assert!(ended.is_none_or(|data| data.is_err()));
    drop(stream);
    honest.end().await;
}
