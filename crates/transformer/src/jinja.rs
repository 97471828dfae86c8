//! Jinja as Hugging Face sets it up for chat templates, as far as it differs from this engine's.

mod json;
mod python;

use crate::{guard::guarded, strftime};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Value,
    value::{Kwargs, ValueKind},
};
use std::{io, time::SystemTime};

/// Steps of the engine that a rendering may take, those that every message adds, and the most. The templates of
/// published models take up to 500 and up to 550 a message.
const STEPS: u64 = 10_000;
const STEPS_A_MESSAGE: u64 = 2_000;
const MOST_STEPS: u64 = 500_000;

/// Steps that are tried where the caller stands. One step nests a value by at most one level, and writing, comparing or
/// dropping a nested value takes stack by the level: so few fit any stack.
const STEPS_IN_PLACE: u64 = 500;
/// Bytes of stack for every step beyond; a level takes up to 1400.
const STACK_A_STEP: u64 = 2048;

/// Bytes that a rendering may write, and those that every byte of the messages adds.
const BYTES: usize = 1 << 20;
const BYTES_A_BYTE: usize = 16;

/// The environment of a chat template.
pub(crate) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(STEPS_IN_PLACE));
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(python::write);
    environment.set_unknown_method_callback(python::method);
    environment.add_function("raise_exception", |message: String| Err::<Value, _>(failed(message)));
    let loaded = SystemTime::now();
    environment.add_function("strftime_now", move |format: &str| {
        strftime::format_time(loaded, format).map_err(failed)
    });
    environment.add_filter("tojson", json::to_json);
    environment.add_filter("length", length);
    environment.add_filter("count", length);
    environment.add_test("iterable", |value: &Value| {
        is_sequence(value) || matches!(value.kind(), ValueKind::Iterable | ValueKind::Undefined)
    });
    environment.add_test("sequence", |value: &Value| is_sequence(value) || value.is_undefined());
    environment.add_test("number", |value: &Value| {
        matches!(value.kind(), ValueKind::Number | ValueKind::Bool)
    });
    environment
}

/// Renders the template `name` for `messages` messages of `bytes` bytes, with limits far beyond what an honest template
/// needs, so that one that never ends is an error and not the end of the program.
pub(crate) fn render(
    environment: &Environment<'static>,
    name: &str,
    context: &Value,
    messages: usize,
    bytes: usize,
) -> Result<String, Error> {
    let most_bytes = BYTES.saturating_add(bytes.saturating_mul(BYTES_A_BYTE));
    match render_here(environment, name, context, most_bytes) {
        Err(error) if error.kind() == ErrorKind::OutOfFuel => {}
        result => return result,
    }
    let steps = STEPS_A_MESSAGE.saturating_mul(messages as u64).saturating_add(STEPS);
    let steps = steps.min(MOST_STEPS);
    let mut patient = environment.clone();
    patient.set_fuel(Some(steps));
    let stack = usize::try_from(steps * STACK_A_STEP).unwrap_or(usize::MAX);
    std::thread::scope(|scope| {
        let rendering = || render_here(&patient, name, context, most_bytes);
        let thread = std::thread::Builder::new().stack_size(stack).spawn_scoped(scope, rendering);
        let thread = thread.map_err(|error| failed(format!("no thread to render in: {error}")))?;
        thread.join().unwrap_or_else(|_| Err(failed("the template engine failed".to_owned())))
    })
    .map_err(|error| match error.kind() {
        ErrorKind::OutOfFuel => failed(format!(
            "it takes more than {steps} steps for {messages} messages, so it seems to have no end"
        )),
        _ => error,
    })
}

fn render_here(
    environment: &Environment<'static>,
    name: &str,
    context: &Value,
    most_bytes: usize,
) -> Result<String, Error> {
    let mut text = Limited { text: Vec::new(), most: most_bytes };
    whole(|| environment.get_template(name)?.render_captured_to(context, &mut text).map(drop))?;
    Ok(String::from_utf8_lossy(&text.text).into_owned())
}

/// Compiles the `source` of the template `name`.
pub(crate) fn compile(
    environment: &mut Environment<'static>,
    name: &'static str,
    source: &str,
) -> Result<(), Error> {
    let source = plain_source(source);
    whole(|| environment.add_template_owned(name, source))
}

/// A call into the template engine, whose panics are failures.
fn whole<T>(call: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    guarded(call).unwrap_or_else(|message| Err(failed(message)))
}

fn failed(message: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

/// Text up to a number of bytes.
struct Limited {
    text: Vec<u8>,
    most: usize,
}

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.text.len() + bytes.len() > self.most {
            let message = format!("it writes more than {} bytes", self.most);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What Python can count and index: also texts and dictionaries.
fn is_sequence(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::String)
}

/// The length of nothing is 0.
fn length(value: &Value, _: Kwargs) -> Result<usize, Error> {
    if value.is_undefined() {
        return Ok(0);
    }
    value.len().ok_or_else(|| failed(format!("{} has no length", value.kind())))
}

/// The source as this Jinja needs it to give what Hugging Face's gives: line ends are `\n`, and `{% generation %}`
/// blocks, which mark what is trained on and change no text, are plain blocks.
pub(crate) fn plain_source(source: &str) -> String {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut plain = String::with_capacity(source.len());
    let mut rest = source.as_str();
    while let Some(start) = rest.find("{%") {
        // Behind the two characters that open the tag, whose second could close it again.
        let Some(length) = rest[start + 2..].find("%}").map(|length| length + 2) else { break };
        let (before, tag) = (&rest[..start], &rest[start..start + length]);
        plain.push_str(before);
        plain.push_str(&match tag[2..].trim_matches(['-', '+', ' ', '\t', '\n']) {
            "generation" => tag.replace("generation", "if true"),
            "endgeneration" => tag.replace("endgeneration", "endif"),
            _ => tag.to_owned(),
        });
        rest = &rest[start + length..];
    }
    plain + rest
}
