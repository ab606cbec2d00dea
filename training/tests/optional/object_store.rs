//! An export into an object store that speaks S3.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Mutex};

use crate::support::{append, decision_at, url};
use decision_log::{Batch, DecisionRecord};

/// A store that takes what is put, if it is signed; bodies by path.
fn store() -> (String, Arc<Mutex<BTreeMap<String, Vec<u8>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let kept = Arc::new(Mutex::new(BTreeMap::new()));
    let keeping = Arc::clone(&kept);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let path =
                line.strip_prefix("PUT ").and_then(|l| l.split(' ').next()).unwrap_or_default().to_owned();
            let (mut length, mut signed) = (0, false);
            line.clear();
            while reader.read_line(&mut line).unwrap() > 2 {
                let lower = line.to_ascii_lowercase();
                if let Some(value) = lower.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                signed |= lower.starts_with("authorization: aws4-hmac-sha256");
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let taken = signed && path.starts_with("/bucket/");
            if taken {
                keeping.lock().unwrap().insert(path, body);
            }
            let status = if taken { "200 OK" } else { "403 Forbidden" };
            let answer =
                format!("HTTP/1.1 {status}\r\netag: \"1\"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (endpoint, kept)
}

#[test]
fn a_log_goes_into_an_object_store() {
    let folder = tempfile::tempdir().unwrap();
    let decisions: Vec<DecisionRecord> =
        (0..100).map(|i| decision_at(1_700_000_000_000_000 + i * 1_000_000_000, 0.3)).collect();
    append(folder.path(), &Batch { decisions, outcomes: vec![] });
    let (endpoint, kept) = store();
    let export = |to: &str| {
        let run = Command::new(env!("CARGO_BIN_EXE_training"))
            .args(["export", "--decision-log", &url(folder.path()), "-o", to])
            .envs([("AWS_ENDPOINT", endpoint.as_str()), ("AWS_ALLOW_HTTP", "true"), ("AWS_REGION", "here")])
            .envs([("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "hidden-key")])
            .output()
            .unwrap();
        (run.status.success(), String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned())
    };
    let (done, said) = export("s3://bucket/logs");
    assert!(done && said.contains("3 files of s3://bucket/logs"), "{said}");
    let kept = kept.lock().unwrap();
    let paths: Vec<&str> = kept.keys().map(String::as_str).collect();
    assert_eq!(paths.len(), 3);
    assert!(
        paths[0].starts_with("/bucket/logs/decisions/day") && paths[0].ends_with("/part-0.parquet"),
        "{paths:?}"
    );
    assert!(kept.values().all(|body| body.starts_with(b"PAR1") && body.ends_with(b"PAR1")));
    let (done, said) = export("s3://other/logs");
    assert!(!done && said.contains("s3://other/logs") && !said.contains("hidden-key"), "{said}");
    let (done, said) = export("nowhere://x");
    assert!(!done && said.contains("nowhere://x"), "{said}");
}
