//! A server that answers at once, over connections that stay open, and always the same to the same request.
#![allow(dead_code, unreachable_pub, reason = "every test uses a part of it")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Debug, Default)]
struct State {
    stopped: AtomicBool,
    answers: AtomicU64,
    /// How long every answer takes, in microseconds.
    pace: AtomicU64,
    /// Requests that hold one of these are refused for good.
    refused: Mutex<Vec<String>>,
    /// What is answered, without fail, to requests that hold one of these.
    broken: Mutex<Vec<Broken>>,
    /// How often each request was answered, by its hash; only if it is counted.
    counts: Option<Mutex<HashMap<u64, u64>>>,
}

/// An answer that is of no use.
#[derive(Debug, Clone)]
struct Broken {
    text: String,
    status: &'static str,
    answer: &'static str,
    times: u64,
}

/// A server on this machine; it ends with the value.
#[derive(Debug)]
pub struct Instant {
    address: SocketAddr,
    state: Arc<State>,
}

impl Instant {
    /// Starts a server that remembers nothing.
    pub fn start() -> Self {
        Self::with(State::default())
    }

    /// Starts a server that counts how often each request comes.
    pub fn counting() -> Self {
        Self::with(State { counts: Some(Mutex::default()), ..State::default() })
    }

    fn with(state: State) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(state);
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stopped.load(Ordering::SeqCst) {
                    break;
                }
                let (Ok(stream), shared) = (stream, Arc::clone(&shared)) else { continue };
                std::thread::spawn(move || drop(serve(&stream, &shared)));
            }
        });
        Self { address, state }
    }

    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub fn take(&self, pace: Duration) {
        let pace = u64::try_from(pace.as_micros()).unwrap();
        self.state.pace.store(pace, Ordering::SeqCst);
    }

    /// From now on requests that hold one of these texts, as JSON, are refused for good.
    pub fn refuse(&self, texts: &[&str]) {
        *self.state.refused.lock().unwrap() = texts.iter().map(|&text| text.to_owned()).collect();
    }

    /// From now on requests that hold this text, as JSON, get this answer.
    pub fn break_down(&self, text: &str, status: &'static str, answer: &'static str) {
        let broken = Broken { text: text.to_owned(), status, answer, times: 0 };
        self.state.broken.lock().unwrap().push(broken);
    }

    /// How often each text has broken it.
    pub fn breakdowns(&self) -> Vec<u64> {
        self.state.broken.lock().unwrap().iter().map(|broken| broken.times).collect()
    }

    /// Answers so far.
    pub fn answers(&self) -> u64 {
        self.state.answers.load(Ordering::SeqCst)
    }

    /// How many different requests there were, and how many came again; then none are remembered.
    pub fn different_and_again(&self) -> (u64, u64) {
        let mut counts = self.state.counts.as_ref().unwrap().lock().unwrap();
        let (different, all) = (counts.len() as u64, counts.values().sum::<u64>());
        counts.clear();
        (different, all - different)
    }
}

impl State {
    fn refuses(&self, body: &[u8]) -> bool {
        self.refused.lock().unwrap().iter().any(|text| holds(body, text))
    }

    /// The status and the answer that such a request always gets.
    fn breaks(&self, body: &[u8]) -> Option<(&'static str, String)> {
        let mut broken = self.broken.lock().unwrap();
        let broken = broken.iter_mut().find(|broken| holds(body, &broken.text))?;
        broken.times += 1;
        Some((broken.status, broken.answer.to_owned()))
    }
}

fn holds(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|part| part == text.as_bytes())
}

impl Drop for Instant {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections, which then closes the port.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(stream: &TcpStream, state: &State) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let mut out = stream;
    let (mut line, mut body) = (String::new(), Vec::new());
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let models = line.starts_with("GET ");
        let mut length = 0;
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let header = line.trim_end();
            if header.is_empty() {
                break;
            }
            if header.len() > 15 && header[..15].eq_ignore_ascii_case("content-length:") {
                length = header[15..].trim().parse().unwrap_or(0);
            }
        }
        body.resize(length, 0);
        reader.read_exact(&mut body)?;
        let refused = !models && state.refuses(&body);
        let (status, answer) = if models {
            ("200 OK", r#"{"object":"list","data":[{"id":"parrot"}]}"#.to_owned())
        } else if refused {
            let answer = r#"{"error":{"message":"the prompt is too long"}}"#;
            ("400 Bad Request", answer.to_owned())
        } else if let Some(broken) = state.breaks(&body) {
            broken
        } else {
            let pace = state.pace.load(Ordering::Relaxed);
            if pace > 0 {
                std::thread::sleep(Duration::from_micros(pace));
            }
            ("200 OK", speak(state, &body))
        };
        let length = answer.len();
        let whole = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{answer}"
        );
        out.write_all(whole.as_bytes())?;
    }
}

/// An answer that is decided by the request: two options with their probabilities, or a text.
fn speak(state: &State, body: &[u8]) -> String {
    let hash = body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    state.answers.fetch_add(1, Ordering::Relaxed);
    if let Some(counts) = &state.counts {
        *counts.lock().unwrap().entry(hash).or_default() += 1;
    }
    let wants_logprobs = body.windows(15).any(|window| window == b"\"logprobs\":true");
    if wants_logprobs {
        let share = (hash % 89 + 5) as f64 / 100.0;
        let (a, b) = (share.ln(), (1.0 - share).ln());
        return format!(
            r#"{{"choices":[{{"index":0,"finish_reason":"length","message":{{"role":"assistant","content":"A"}},"logprobs":{{"content":[{{"token":"A","logprob":{a},"top_logprobs":[{{"token":"A","logprob":{a}}},{{"token":"B","logprob":{b}}}]}}]}}}}],"usage":{{"prompt_tokens":{},"completion_tokens":1}}}}"#,
            // Roughly, as of any text.
            body.len() / 4
        );
    }
    let text = if holds(body, "Continue this list of requests:") {
        list(hash)
    } else {
        let words = (0..24).map(|word| format!("word{}", (hash >> word) & 0xff));
        format!("{hash:016x} {}", words.collect::<Vec<_>>().join(" "))
    };
    format!(
        r#"{{"choices":[{{"index":0,"finish_reason":"stop","message":{{"role":"assistant","content":"{text}"}}}}],"usage":{{"completion_tokens":25}}}}"#
    )
}

/// Entries of a numbered list, as JSON: new ones, one that comes again and again, one that is near that, and one without a
/// number.
fn list(hash: u64) -> String {
    let entry = |number: u64| {
        let word = |place: u64| (hash >> (7 * number + 5 * place)) & 0xffff;
        format!("{}. Do {:x} or {:x} by {:x}?", number + 11, word(0), word(1), word(2))
    };
    let often = format!("Where is house {} of the long old street?", hash % 5);
    let entries: Vec<String> = (0..3).map(entry).collect();
    format!("{}\\n14. {often}\\n15. {often} Now?\\nAnd so on", entries.join("\\n"))
}
