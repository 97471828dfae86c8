//! Against a server that speaks the hub's protocol and misbehaves.
#![allow(clippy::unwrap_used, reason = "tests")]

use hub::{Error, ModelId, Progress, Settings, Silent};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use tempfile::TempDir;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const NAME: &str = "owner/tiny";
const SINGLE: [(&str, &str); 6] = [
    ("README.md", "not needed"),
    ("config.json", "{}"),
    ("generation_config.json", "{\"a\": 1}"),
    ("model.safetensors", "weights, large enough to be cut"),
    ("tokenizer.json", "{\"t\": 1}"),
    ("pytorch_model.bin", "not needed"),
];

/// What the server does.
#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    /// Answers to everything.
    status: Option<u16>,
    /// Sends a body of this file that breaks off, so many times.
    cut: (String, usize),
    /// Announces another content than it sends.
    other_content: Option<String>,
    commit: Option<String>,
    etag: Option<String>,
    /// Paths asked for, with the token.
    asked: Vec<(String, Option<String>)>,
}

#[derive(Clone)]
struct Server {
    endpoint: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    fn new(files: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()));
        let state = State { files: files.collect(), ..State::default() };
        let server = Self {
            endpoint: format!("http://{}", listener.local_addr().unwrap()),
            state: Arc::new(Mutex::new(state)),
        };
        let answering = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that hangs up early is part of the game.
                let _ = answering.answer(stream);
            }
        });
        server
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut start = 0;
        let mut only_first = false;
        let mut token = None;
        for line in lines {
            let line = line?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(range) = line.strip_prefix("range: bytes=") {
                start = range.split('-').next().unwrap().parse::<usize>().unwrap();
                only_first = range == "0-0";
            }
            token = token.or(line.strip_prefix("authorization: ").map(str::to_owned));
        }
        let mut state = self.state();
        state.asked.push((path.clone(), token));
        let commit = state.commit.clone().unwrap_or_else(|| COMMIT.to_owned());
        if let Some(status) = state.status {
            return write!(
                stream,
                "HTTP/1.1 {status} Trouble\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
        if path.starts_with("/api/models/owner/tiny/revision/") {
            let files: Vec<_> =
                state.files.keys().map(|name| serde_json::json!({"rfilename": name})).collect();
            let body = serde_json::json!({"sha": commit, "siblings": files}).to_string();
            return write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
        let name = path.strip_prefix(&format!("/{NAME}/resolve/{commit}/")).unwrap_or_default();
        let Some(content) = state.files.get(name).cloned() else {
            return write!(
                stream,
                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        };
        // Large files are named for their content.
        let mut etag = format!("{:x}", Sha256::digest(&content));
        if Path::new(name).extension().is_none_or(|end| end != "safetensors") {
            etag.truncate(40);
        }
        let etag = state.etag.clone().unwrap_or(etag);
        let total = content.len();
        let mut body = content[start.min(total)..].to_vec();
        if only_first {
            body.truncate(1);
        } else if state.other_content.as_deref() == Some(name) {
            body.reverse();
        }
        let length = body.len();
        if !only_first && state.cut.0 == name && state.cut.1 > 0 {
            state.cut.1 -= 1;
            body.truncate(length / 2);
        }
        write!(
            stream,
            "HTTP/1.1 206 Partial\r\nContent-Length: {length}\r\nContent-Range: bytes {start}-{}/{total}\r\n\
             ETag: \"{etag}\"\r\nX-Repo-Commit: {commit}\r\nConnection: close\r\n\r\n",
            start + length.max(1) - 1
        )?;
        stream.write_all(&body)
    }

    fn settings(&self, cache: &TempDir) -> Settings {
        Settings {
            cache: cache.path().join("hub"),
            endpoint: self.endpoint.clone(),
            token: None,
            offline: false,
        }
    }

    fn asked(&self) -> Vec<String> {
        self.state().asked.drain(..).map(|(path, _)| path).collect()
    }
}

fn model() -> ModelId {
    ModelId::parse(NAME).unwrap()
}

fn fetch(settings: &Settings) -> Result<std::path::PathBuf, String> {
    settings.fetch(&model(), &mut Silent).map_err(|error| error.to_string())
}

/// Adds up what it is told.
#[derive(Default)]
struct Sum {
    files: Vec<(String, u64, u64)>,
    finished: usize,
}

impl Progress for Sum {
    fn start(&mut self, file: &str, bytes: u64) {
        if self.files.last().is_none_or(|(last, ..)| last != file) {
            self.files.push((file.to_owned(), bytes, 0));
        } else if let Some(last) = self.files.last_mut() {
            last.2 = 0;
        }
    }

    fn advance(&mut self, bytes: u64) {
        self.files.last_mut().unwrap().2 += bytes;
    }

    fn finish(&mut self) {
        self.finished += 1;
    }
}

#[test]
fn what_is_needed_is_downloaded_once() {
    let (server, cache) = (Server::new(&SINGLE), tempfile::tempdir().unwrap());
    let mut settings = server.settings(&cache);
    settings.token = Some("hf_secret".to_owned());
    let mut sum = Sum::default();
    let folder = settings.fetch(&model(), &mut sum).unwrap();
    assert!(folder.ends_with(format!("models--owner--tiny/snapshots/{COMMIT}")));
    let mut names: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(
        names,
        ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"]
    );
    for (name, content) in SINGLE.iter().filter(|(name, _)| names.iter().any(|found| found == name))
    {
        assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), *content);
        assert!(sum.files.contains(&(
            (*name).to_owned(),
            content.len() as u64,
            content.len() as u64
        )));
    }
    assert_eq!((sum.files.len(), sum.finished), (4, 4));
    assert!(
        server.state().asked.iter().all(|(_, token)| token.as_deref() == Some("bearer hf_secret"))
    );

    // A second time, and without a network, nobody is asked.
    server.asked();
    assert_eq!(settings.fetch(&model(), &mut Silent).unwrap(), folder);
    let commit = ModelId::parse(&format!("{NAME}@{COMMIT}")).unwrap();
    assert_eq!(settings.fetch(&commit, &mut Silent).unwrap(), folder);
    settings.offline = true;
    assert_eq!(settings.resolve(Path::new(NAME), &mut Silent).unwrap(), folder);
    assert_eq!(server.asked(), [""; 0]);
}

#[test]
fn weights_in_several_files_are_all_fetched() {
    let index = r#"{"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors", "c": "m-1.safetensors"}}"#;
    let files = [
        ("config.json", "{}"),
        ("tokenizer.json", "{}"),
        ("chat_template.jinja", "t"),
        ("model.safetensors.index.json", index),
        ("m-1.safetensors", "one"),
        ("m-2.safetensors", "two"),
    ];
    let (server, cache) = (Server::new(&files), tempfile::tempdir().unwrap());
    let settings = server.settings(&cache);
    let folder = fetch(&settings).unwrap();
    assert_eq!(fs::read_to_string(folder.join("m-2.safetensors")).unwrap(), "two");
    // One file gone, and only that one is fetched again.
    fs::remove_file(folder.join("m-1.safetensors")).unwrap();
    server.asked();
    fetch(&settings).unwrap();
    let asked = server.asked();
    assert!(asked[1..].iter().all(|path| path.ends_with("m-1.safetensors")), "{asked:?}");
    // Its content gone, but not the link to it.
    fs::remove_file(fs::canonicalize(folder.join("m-2.safetensors")).unwrap()).unwrap();
    fetch(&settings).unwrap();
    assert_eq!(fs::read_to_string(folder.join("m-2.safetensors")).unwrap(), "two");

    for shard in ["../x.safetensors", "/x.safetensors", "model.safetensors.index.json", "x.bin"] {
        let index = serde_json::json!({"weight_map": {"a": shard}}).to_string();
        let mut evil = files;
        evil[3].1 = &index;
        let (server, cache) = (Server::new(&evil), tempfile::tempdir().unwrap());
        let message = fetch(&server.settings(&cache)).unwrap_err();
        assert!(message.contains("an index: it names") && message.contains(shard), "{message}");
    }
}

#[test]
fn an_interrupted_download_goes_on_and_is_never_taken_for_whole() {
    let (server, cache) = (Server::new(&SINGLE), tempfile::tempdir().unwrap());
    let settings = server.settings(&cache);
    server.state().cut = ("model.safetensors".to_owned(), 1);
    let folder = fetch(&settings).unwrap();
    assert_eq!(fs::read_to_string(folder.join("model.safetensors")).unwrap(), SINGLE[3].1);

    let cache = tempfile::tempdir().unwrap();
    let settings = server.settings(&cache);
    server.state().cut = ("model.safetensors".to_owned(), 5);
    let message = fetch(&settings).unwrap_err();
    assert!(message.contains("cannot download owner/tiny"), "{message}");
    let mut offline = settings.clone();
    offline.offline = true;
    let message = fetch(&offline).unwrap_err();
    assert!(message.contains("HF_HUB_OFFLINE"), "{message}");
    server.state().cut.1 = 0;
    let folder = fetch(&settings).unwrap();
    assert_eq!(fs::read_to_string(folder.join("model.safetensors")).unwrap(), SINGLE[3].1);
    assert!(fetch(&offline).is_ok());
}

#[test]
fn another_content_than_announced_is_removed() {
    let (server, cache) = (Server::new(&SINGLE), tempfile::tempdir().unwrap());
    let settings = server.settings(&cache);
    server.state().other_content = Some("model.safetensors".to_owned());
    let message = fetch(&settings).unwrap_err();
    assert!(
        message.contains("model.safetensors of owner/tiny arrived damaged: its SHA-256"),
        "{message}"
    );
    server.state().other_content = None;
    let folder = fetch(&settings).unwrap();
    assert_eq!(fs::read_to_string(folder.join("model.safetensors")).unwrap(), SINGLE[3].1);
}

#[test]
fn refusals_say_what_to_do() {
    let (server, cache) = (Server::new(&SINGLE), tempfile::tempdir().unwrap());
    let mut settings = server.settings(&cache);
    settings.token = Some("hf_secret".to_owned());
    let cases = [
        (404, "knows no such model or revision"),
        (401, "set HF_TOKEN"),
        (403, "gated"),
        (500, "cannot download owner/tiny"),
        (429, "cannot download owner/tiny"),
    ];
    for (status, part) in cases {
        server.state().status = Some(status);
        let message = fetch(&settings).unwrap_err();
        assert!(message.contains(part) && message.contains(&server.endpoint), "{message}");
        assert!(message.contains(NAME) && !message.contains("hf_secret"), "{message}");
    }
}

#[test]
fn a_server_that_is_no_hub_is_told_apart() {
    let (server, cache) = (Server::new(&SINGLE), tempfile::tempdir().unwrap());
    let settings = server.settings(&cache);
    for commit in ["../../../evil", "main", ""] {
        server.state().commit = Some(commit.to_owned());
        let message = fetch(&settings).unwrap_err();
        assert!(message.contains("is HF_ENDPOINT a Hugging Face hub?"), "{message}");
    }
    server.state().commit = None;
    for etag in ["../../evil", "a/b", "W/a", ""] {
        server.state().etag = Some(etag.to_owned());
        let message = fetch(&settings).unwrap_err();
        assert!(message.contains("is HF_ENDPOINT a Hugging Face hub?"), "{message}");
    }
    assert!(!cache.path().join("evil").exists());
}

#[test]
fn models_that_cannot_be_read_are_not_downloaded() {
    let cases: [(&[(&str, &str)], &str); 4] = [
        (&[("model.safetensors", "w")], "holds no config.json"),
        (&[("config.json", "{}"), ("model.safetensors", "w")], "holds no tokenizer.json"),
        (&[("config.json", "{}"), ("tokenizer.json", "{}")], "it has no weights"),
        (
            &[("config.json", "{}"), ("tokenizer.json", "{}"), ("pytorch_model.bin", "w")],
            "another format (pytorch_model.bin)",
        ),
    ];
    for (files, part) in cases {
        let (server, cache) = (Server::new(files), tempfile::tempdir().unwrap());
        let message = fetch(&server.settings(&cache)).unwrap_err();
        assert!(message.contains(part) && message.contains(NAME), "{message}");
        assert_eq!(server.asked().len(), 1);
    }
}

#[test]
fn without_a_network_the_cache_is_used() {
    let (server, cache) = (Server::new(&SINGLE), tempfile::tempdir().unwrap());
    let mut settings = server.settings(&cache);
    let folder = fetch(&settings).unwrap();
    // As another program may leave it: nobody noted that there is no chat template.
    fs::remove_dir_all(settings.cache.join("models--owner--tiny/.no_exist")).unwrap();
    // Nobody listens there.
    settings.endpoint = "http://127.0.0.1:1".to_owned();
    assert_eq!(fetch(&settings).unwrap(), folder);
    settings.offline = true;
    assert_eq!(fetch(&settings).unwrap(), folder);

    let other = ModelId::parse("owner/other").unwrap();
    let message = settings.fetch(&other, &mut Silent).unwrap_err().to_string();
    let cache = settings.cache.display().to_string();
    assert!(message.contains("owner/other") && message.contains(&cache), "{message}");
    settings.offline = false;
    let error = settings.fetch(&other, &mut Silent).unwrap_err();
    assert!(matches!(error, Error::Request { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("127.0.0.1:1") && message.contains(&cache), "{message}");
}

#[test]
fn a_path_wins_over_a_name() {
    let (server, cache) = (Server::new(&SINGLE), tempfile::tempdir().unwrap());
    let settings = server.settings(&cache);
    let folder = cache.path().join("owner/tiny");
    fs::create_dir_all(&folder).unwrap();
    assert_eq!(settings.resolve(&folder, &mut Silent).unwrap(), folder);
    let error = settings.resolve(&cache.path().join("nowhere"), &mut Silent).unwrap_err();
    assert!(matches!(error, Error::Neither { .. }), "{error}");
    assert_eq!(server.asked(), [""; 0]);
}
