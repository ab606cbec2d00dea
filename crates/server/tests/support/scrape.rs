//! What a server tells over plain HTTP, read as Prometheus would.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An address that nobody listens on.
pub fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Status, head and body of a GET.
pub async fn get(address: SocketAddr, path: &str, accept: &str) -> (u16, String, String) {
    let mut stream = loop {
        match TcpStream::connect(address).await {
            Ok(stream) => break stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: test\r\naccept: {accept}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
    (status, head.to_lowercase(), if chunked { dechunked(body) } else { body.to_owned() })
}

fn dechunked(mut body: &str) -> String {
    let mut whole = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return whole;
        }
        whole.push_str(&rest[..size]);
        body = &rest[size + 2..];
    }
}

/// One series: its name and its labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    pub name: String,
    pub labels: BTreeMap<String, String>,
}

/// A scrape.
#[derive(Debug, Clone)]
pub struct Scrape {
    pub series: BTreeMap<Series, f64>,
    /// By name of the family.
    pub kinds: BTreeMap<String, String>,
}

impl Scrape {
    pub async fn of(address: SocketAddr) -> Self {
        let (status, _, text) = get(address, "/metrics", "*/*").await;
        assert_eq!(status, 200, "{text}");
        Self::parse(&text)
    }

    fn parse(text: &str) -> Self {
        let (mut series, mut kinds) = (BTreeMap::new(), BTreeMap::new());
        for line in text.lines() {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                kinds.insert(name.to_owned(), kind.to_owned());
            }
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (what, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) =
                what.split_once('{').map_or((what, ""), |(name, rest)| (name, &rest[..rest.len() - 1]));
            let labels = labels.split("\",").filter(|label| !label.is_empty()).map(|label| {
                let (key, value) = label.split_once("=\"").unwrap();
                (key.to_owned(), value.trim_end_matches('"').to_owned())
            });
            let labels = labels.collect();
            series.insert(Series { name: name.to_owned(), labels }, value.parse().unwrap());
        }
        Self { series, kinds }
    }

    /// The sum over all series of a name that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let with = |series: &Series| {
            series.name == name
                && labels
                    .iter()
                    .all(|(key, value)| series.labels.get(*key).is_some_and(|found| found == value))
        };
        self.series.iter().filter(|(series, _)| with(series)).map(|(_, value)| value).sum()
    }

    /// Names of the label on the series of a name.
    pub fn labels(&self, name: &str, label: &str) -> std::collections::BTreeSet<String> {
        let of = self.series.keys().filter(|series| series.name == name);
        of.filter_map(|series| series.labels.get(label).cloned()).collect()
    }
}
