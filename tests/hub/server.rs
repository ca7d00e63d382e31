//! A hub on this machine: its routes, and the faults that a test asks for.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use sha1::Sha1;
use sha2::{Digest, Sha256};

pub const ID: &str = "openai-community/gpt2";
pub const COMMIT: &str = "607a30d783dfa663caf39e06633721c8d4cfcd7e";

/// Which of the two hosts was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// Describes repositories and redirects to the other for large files.
    Hub,
    /// Keeps large files.
    Store,
}

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub host: Host,
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    /// The bytes of content that were sent.
    pub sent: usize,
}

impl Request {
    pub fn is(&self, host: Host, method: &str) -> bool {
        self.host == host && self.method == method
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// How much of the body is sent before the connection ends.
    pub sent: usize,
}

impl Answer {
    pub fn new(status: u16, body: Vec<u8>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            sent: body.len(),
            body,
        }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn cut(mut self, at: usize) -> Self {
        self.sent = at.min(self.body.len());
        self
    }
}

/// Changes an honest answer: the request, how many of its kind (host and method) were before it, and the
/// answer.
pub type Fault = Box<dyn Fn(&Request, usize, Answer) -> Answer + Send + Sync>;

/// A running hub with one repository.
pub struct Server {
    pub endpoint: String,
    log: Arc<Mutex<Vec<Request>>>,
}

struct Repository {
    files: BTreeMap<String, Vec<u8>>,
    /// Where large files are, as another host name.
    store: String,
    fault: Fault,
    log: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub fn start(files: BTreeMap<String, Vec<u8>>, fault: Fault) -> Self {
        let [hub, store] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
        let [port, store_port] =
            [&hub, &store].map(|listener| listener.local_addr().expect("an address").port());
        let log = Arc::new(Mutex::new(Vec::new()));
        let repository = Arc::new(Repository {
            files,
            store: format!("http://localhost:{store_port}"),
            fault,
            log: log.clone(),
        });
        for (listener, host) in [(hub, Host::Hub), (store, Host::Store)] {
            let repository = repository.clone();
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let repository = repository.clone();
                    thread::spawn(move || repository.serve(stream, host));
                }
            });
        }
        Self {
            endpoint: format!("http://127.0.0.1:{port}"),
            log,
        }
    }

    /// What was asked since the last time.
    pub fn asked(&self) -> Vec<Request> {
        std::mem::take(&mut *self.log.lock().expect("no panic"))
    }
}

impl Repository {
    /// One request; a client that ends early is no concern of the server's.
    fn serve(&self, mut stream: TcpStream, host: Host) -> Option<()> {
        let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
        let first = lines.next()?.ok()?;
        let mut words = first.split(' ').map(String::from);
        let headers = lines.map_while(Result::ok).take_while(|l| !l.is_empty());
        let headers = headers.filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_lowercase(), value.trim().to_string()))
        });
        let mut request = Request {
            host,
            method: words.next()?,
            path: words.next()?,
            headers: headers.collect(),
            sent: 0,
        };
        let honest = match host {
            Host::Hub => self.hub(&request.path),
            Host::Store => self.content(request.path.strip_prefix('/')?),
        };
        let honest = ranged(honest, request.headers.get("range"));
        let before = {
            let log = self.log.lock().expect("no panic");
            let same = log.iter().filter(|r| r.is(host, &request.method));
            same.count()
        };
        let answer = (self.fault)(&request, before, honest);
        let is_head = request.method == "HEAD";
        request.sent = if is_head { 0 } else { answer.sent };
        let sent = request.sent;
        self.log.lock().expect("no panic").push(request);

        let mut head = format!("HTTP/1.1 {} x\r\nConnection: close\r\n", answer.status);
        let has_length = answer.headers.iter().any(|(n, _)| n == "Content-Length");
        if !has_length {
            let _ = write!(head, "Content-Length: {}\r\n", answer.body.len());
        }
        // An empty value stands for a header that is left out.
        for (name, value) in answer.headers.iter().filter(|(_, v)| !v.is_empty()) {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head += "\r\n";
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(&answer.body[..sent]).ok()?;
        stream.flush().ok()?;
        stream.shutdown(std::net::Shutdown::Write).ok()?;
        // Until the client has closed: what it did not read would be lost with a reset.
        let _ = stream.read_to_end(&mut Vec::new());
        Some(())
    }

    /// The routes of the hub itself.
    fn hub(&self, path: &str) -> Answer {
        if let Some(rest) = path.strip_prefix("/api/models/") {
            return match rest.split_once("/revision/") {
                Some((ID, "main" | "v1" | COMMIT)) => self.listing(),
                Some((ID, _)) => missing("RevisionNotFound"),
                _ => missing("RepoNotFound"),
            };
        }
        let file = path.strip_prefix(&format!("/{ID}/resolve/{COMMIT}/"));
        match file {
            None => missing("RepoNotFound"),
            Some(file) if file.ends_with(".json") || file.ends_with(".jinja") => self.content(file),
            Some(file) => match self.files.get(file) {
                None => missing("EntryNotFound"),
                Some(content) => Answer::new(302, b"moved".to_vec())
                    .with("Location", &format!("{}/{file}?signature=x", self.store))
                    .with("X-Linked-Etag", &format!("\"{}\"", sha256(content)))
                    .with("X-Linked-Size", &content.len().to_string()),
            },
        }
    }

    fn listing(&self) -> Answer {
        let files = self.files.keys();
        let siblings: Vec<_> = files
            .map(|name| serde_json::json!({ "rfilename": name }))
            .collect();
        let json = serde_json::json!({ "id": ID, "sha": COMMIT, "siblings": siblings });
        Answer::new(200, json.to_string().into_bytes())
    }

    fn content(&self, path: &str) -> Answer {
        let file = path.split('?').next().unwrap_or_default();
        match self.files.get(file) {
            None => missing("EntryNotFound"),
            Some(content) => Answer::new(200, content.clone())
                .with("ETag", &format!("\"{}\"", git_sha1(content))),
        }
    }
}

fn missing(code: &str) -> Answer {
    Answer::new(404, b"no".to_vec()).with("X-Error-Code", code)
}

/// The part of a content that was asked for.
fn ranged(answer: Answer, range: Option<&String>) -> Answer {
    let start = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
    match start {
        Some(start) if answer.status == 200 => {
            let start: usize = start.parse().expect("a number");
            let whole = answer.body.len();
            let headers = answer.headers;
            let mut part = Answer::new(206, answer.body[start..].to_vec());
            part.headers = headers;
            part.with(
                "Content-Range",
                &format!("bytes {start}-{}/{whole}", whole - 1),
            )
        }
        _ => answer,
    }
}

/// What git calls a file's content.
pub fn git_sha1(content: &[u8]) -> String {
    let head = format!("blob {}\0", content.len());
    hex(&Sha1::new_with_prefix(head).chain_update(content).finalize())
}

pub fn sha256(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

pub fn hex(digest: &[u8]) -> String {
    digest.iter().map(|b| format!("{b:02x}")).collect()
}
