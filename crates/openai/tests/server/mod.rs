//! A small server that speaks the protocol and, on request, misbehaves.
#![allow(dead_code, unreachable_pub, reason = "every test uses a part of it")]

use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What goes wrong with a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Another status, with headers and a body.
    Status(u16, &'static str, String),
    /// Nothing is sent for so long, then the right answer.
    Slow(Duration),
    /// The body ends in the middle.
    Dropped,
    /// The connection closes without an answer.
    Closed,
    /// Status 200 and this body.
    Body(String),
    /// A body that goes on as long as anybody reads.
    Endless,
}

/// A request as it came in.
#[derive(Debug, Clone)]
pub struct Request {
    pub path: String,
    pub headers: Vec<String>,
    pub body: Value,
}

#[derive(Debug, Default)]
struct State {
    faults: Mutex<VecDeque<Fault>>,
    requests: Mutex<Vec<Request>>,
    /// Answers that are still given before the server goes away.
    left: Mutex<Option<usize>>,
    /// Ignores the fields that ask for log-probabilities.
    without_logprobs: AtomicBool,
    /// Finishes an unfinished turn and answers it.
    answers_unfinished: AtomicBool,
    /// Scores echoes wrongly.
    scores_wrongly: AtomicBool,
    stopped: AtomicBool,
    /// Requests at this moment, and the most there ever were.
    now: AtomicUsize,
    most: AtomicUsize,
    /// How long every answer takes.
    pace: Mutex<Duration>,
}

/// A server on this machine; it ends with the value.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    state: Arc<State>,
}

impl Server {
    pub fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap())
    }

    /// Starts at an address where one was before.
    pub fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stopped.load(Ordering::SeqCst) {
                    break;
                }
                let (Ok(stream), shared) = (stream, Arc::clone(&shared)) else { continue };
                std::thread::spawn(move || drop(serve(stream, &shared)));
            }
        });
        Self { address, state }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// What goes wrong with the next requests for an answer, one after another.
    pub fn faults(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.faults.lock().unwrap().extend(faults);
    }

    /// After so many answers every connection is closed without one.
    pub fn go_away_after(&self, answers: usize) {
        *self.state.left.lock().unwrap() = Some(answers);
    }

    pub fn come_back(&self) {
        *self.state.left.lock().unwrap() = None;
    }

    pub fn leave_out_logprobs(&self) {
        self.state.without_logprobs.store(true, Ordering::SeqCst);
    }

    pub fn answer_unfinished_turns(&self) {
        self.state.answers_unfinished.store(true, Ordering::SeqCst);
    }

    pub fn score_echoes_wrongly(&self) {
        self.state.scores_wrongly.store(true, Ordering::SeqCst);
    }

    pub fn take(&self, pace: Duration) {
        *self.state.pace.lock().unwrap() = pace;
    }

    /// The requests for an answer so far.
    pub fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }

    /// The most requests that there ever were at a time.
    pub fn most_at_a_time(&self) -> usize {
        self.state.most.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections, which then closes the port.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(mut stream: TcpStream, state: &State) -> std::io::Result<()> {
    let request = read_request(&stream)?;
    if request.path.ends_with("/models") {
        let models = json!({"object": "list", "data": [{"id": "parrot"}]});
        return respond(&mut stream, 200, "", &models.to_string());
    }
    let now = state.now.fetch_add(1, Ordering::SeqCst) + 1;
    state.most.fetch_max(now, Ordering::SeqCst);
    let pace = *state.pace.lock().unwrap();
    std::thread::sleep(pace);
    // Before the answer: whoever reads it may ask again before this thread goes on.
    state.now.fetch_sub(1, Ordering::SeqCst);
    answer(&mut stream, state, request)
}

fn answer(stream: &mut TcpStream, state: &State, request: Request) -> std::io::Result<()> {
    let fault = state.faults.lock().unwrap().pop_front();
    let whole = speak(state, &request).to_string();
    state.requests.lock().unwrap().push(request);
    if let Some(left) = state.left.lock().unwrap().as_mut() {
        match left.checked_sub(1) {
            Some(fewer) => *left = fewer,
            None => return Ok(()),
        }
    }
    match fault {
        None => respond(stream, 200, "", &whole),
        Some(Fault::Status(status, headers, body)) => respond(stream, status, headers, &body),
        Some(Fault::Body(body)) => respond(stream, 200, "", &body),
        Some(Fault::Closed) => Ok(()),
        Some(Fault::Slow(wait)) => {
            std::thread::sleep(wait);
            respond(stream, 200, "", &whole)
        }
        Some(Fault::Dropped) => {
            let length = whole.len();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")?;
            stream.write_all(&whole.as_bytes()[..length / 2])
        }
        Some(Fault::Endless) => {
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                stream.write_all(&[b' '; 4096])?;
            }
        }
    }
}

fn read_request(stream: &TcpStream) -> std::io::Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim_end().to_owned();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        headers.push(header);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Request { path, headers, body: serde_json::from_slice(&body).unwrap_or_default() })
}

fn respond(stream: &mut TcpStream, status: u16, headers: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status} Some\r\nContent-Type: application/json\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
}

/// The right answer.
fn speak(state: &State, request: &Request) -> Value {
    let body = &request.body;
    let chat = request.path.ends_with("/chat/completions");
    let prompt = if chat {
        body["messages"].as_array().and_then(|turns| turns.last()).map(|turn| &turn["content"])
    } else {
        Some(&body["prompt"])
    };
    let prompt = prompt.and_then(Value::as_str).unwrap_or_default();
    let wants_logprobs = !matches!(body["logprobs"], Value::Null | Value::Bool(false));
    let logprobs = if wants_logprobs && !state.without_logprobs.load(Ordering::SeqCst) {
        let turns = body["messages"].to_string();
        if chat {
            chat_logprobs(&turns)
        } else {
            text_logprobs(state, prompt, body["echo"] == true)
        }
    } else {
        Value::Null
    };
    let text = if !chat && body["max_tokens"] == 1 {
        likely(prompt)[0].0.to_owned()
    } else {
        format!("{prompt}, says {}", body["seed"])
    };
    let mut choice = json!({"index": 0, "finish_reason": "stop", "logprobs": logprobs});
    if chat {
        choice["message"] = json!({"role": "assistant", "content": text});
    } else {
        choice["text"] = text.clone().into();
    }
    let usage =
        json!({"prompt_tokens": prompt_tokens(state, body), "completion_tokens": text.len()});
    json!({"id": "1", "model": body["model"], "choices": [choice], "usage": usage})
}

/// One token a letter, and four around each turn that is finished or begun.
fn prompt_tokens(state: &State, body: &Value) -> usize {
    let Some(turns) = body["messages"].as_array() else {
        return body["prompt"].as_str().unwrap_or_default().len();
    };
    let letters: usize =
        turns.iter().map(|turn| turn["content"].as_str().unwrap_or_default().len()).sum();
    let unfinished = turns.last().is_some_and(|turn| turn["role"] == "assistant");
    let continued = unfinished && !state.answers_unfinished.load(Ordering::SeqCst);
    letters + 4 * (turns.len() + usize::from(!continued))
}

/// The most likely tokens behind a prompt: A 0.6, B 0.3, unless it says otherwise.
fn likely(prompt: &str) -> Vec<(&'static str, f64)> {
    if prompt.contains("neither") {
        return vec![("The", 0.9), ("I", 0.05)];
    }
    if prompt.contains("only the first") {
        return vec![("A", 0.8), ("x", 0.1), ("y", 0.04)];
    }
    // One token a digit.
    if prompt.contains("The score is: (1") {
        return vec![("0", 0.8), (")", 0.15), (".", 0.05)];
    }
    if prompt.contains("The score is: (") {
        return vec![("1", 0.5), ("9", 0.3), (" 9", 0.1), ("2", 0.1)];
    }
    vec![("A", 0.6), ("B", 0.2), (" B", 0.1), ("x", 0.05)]
}

fn chat_logprobs(prompt: &str) -> Value {
    let entry = |&(token, probability): &(&str, f64)| json!({"token": token, "logprob": probability.ln(), "bytes": token.as_bytes()});
    let top = likely(prompt);
    let mut first = entry(&top[0]);
    first["top_logprobs"] = top.iter().map(entry).collect();
    json!({"content": [first]})
}

/// One token a letter; in an echo A has probability 0.6, B 0.3 and every other letter 0.5.
fn text_logprobs(state: &State, prompt: &str, echo: bool) -> Value {
    if !echo {
        let top = likely(prompt);
        let list: serde_json::Map<String, Value> =
            top.iter().map(|(token, p)| ((*token).to_owned(), p.ln().into())).collect();
        let (token, probability) = top[0];
        return json!({"tokens": [token], "token_logprobs": [probability.ln()], "top_logprobs": [list]});
    }
    let text = format!("{prompt}!");
    let tokens: Vec<String> = text.chars().map(String::from).collect();
    let wrong = state.scores_wrongly.load(Ordering::SeqCst);
    let log_prob = |token: &String| match token.as_str() {
        _ if wrong => 0.01_f64.ln(),
        "A" => 0.6_f64.ln(),
        "B" => 0.3_f64.ln(),
        _ => 0.5_f64.ln(),
    };
    let mut log_probs: Vec<Value> = tokens.iter().map(|token| log_prob(token).into()).collect();
    log_probs[0] = Value::Null;
    json!({"tokens": tokens, "token_logprobs": log_probs, "text_offset": []})
}
