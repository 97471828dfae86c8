//! Conversations with `rlaif chat` as a user has them.
#![cfg(feature = "flex")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use burn_flex::{Flex, FlexDevice};
use rlaif::model_organism::assistant;
use rlaif::transformer::{ChatTemplate, Codec, Decoder, ModelConfig, SpecialTokens, Transformer};
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Refuses system messages, as some published templates do.
const TEMPLATE: &str = "\
{%- for message in messages -%}
{%- if message.role == 'system' -%}{{ raise_exception('System role not supported') }}{%- endif -%}
{{ message.role }}: {{ message.content }};
{%- endfor -%}
{%- if add_generation_prompt -%}assistant: {%- endif -%}
";

/// Writes a model of random weights that never ends a reply by itself.
fn talker(folder: &Path, context: usize) {
    let codec = assistant::<Flex>(&FlexDevice).unwrap().codec;
    let special = SpecialTokens::default();
    let template = ChatTemplate::from_source(TEMPLATE, "template", special).unwrap();
    let codec = Codec::new(codec.tokenizer().clone(), template, [], context);
    assert!(codec.stop_tokens().is_empty());
    let config = format!(
        r#"{{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": {},
        "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
        "max_position_embeddings": {context}, "tie_word_embeddings": true}}"#,
        codec.tokenizer().vocabulary()
    );
    let config = ModelConfig::from_json(&config, "config.json").unwrap();
    let decoder = Decoder::<Flex>::init(&config, 1, &FlexDevice);
    Transformer::new(decoder, codec).save(folder).unwrap();
}

/// A chat whose input is a pipe.
struct Chat {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
    said: String,
}

impl Chat {
    fn begin(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rlaif"))
            .arg("chat")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        Self { child, input, output, said: String::new() }
    }

    fn write(&mut self, line: &[u8]) {
        let input = self.input.as_mut().unwrap();
        input.write_all(line).unwrap();
        input.flush().unwrap();
    }

    /// Reads what is said until `end` comes, and returns what came since the last time.
    #[track_caller]
    fn until(&mut self, end: &str) -> String {
        let mut buffer = [0; 256];
        loop {
            if let Some(at) = self.said.find(end) {
                let rest = self.said.split_off(at + end.len());
                return std::mem::replace(&mut self.said, rest);
            }
            let read = self.output.read(&mut buffer).unwrap();
            assert!(read > 0, "`{end}` is missing in {:?}", self.said);
            self.said.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    }

    #[track_caller]
    fn ends(mut self) -> Option<i32> {
        drop(self.input.take());
        self.child.wait().unwrap().code()
    }

    #[cfg(unix)]
    fn interrupt(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    }
}

#[test]
fn talks_and_obeys_commands() {
    let mut chat = Chat::begin(&["--max-tokens", "8", "--temperature", "0"]);
    assert!(chat.until("\n> ").contains("/help"));
    chat.write(b"How do I clean the bike?\n");
    let first = chat.until("\n> ");
    assert!(first.trim_end_matches("> ").trim().len() > 1, "{first:?}");
    chat.write(b"\n/help\n");
    assert!(chat.until("\n> ").contains("/system TEXT"));
    chat.write(b"/sing\n");
    assert!(chat.until("\n> ").contains("there is no /sing"));
    // After a reset the same question is the first again; bytes that are no text do no harm.
    chat.write(b"/reset\n");
    chat.until("> ");
    chat.write(b"How do I clean the bike?\n");
    assert_eq!(chat.until("\n> "), first);
    chat.write(b"/system Be brief.\n");
    chat.until("> ");
    chat.write(b"\xff\xfe?\n");
    chat.until("\n> ");
    chat.write(b"/quit\n");
    assert_eq!(chat.ends(), Some(0));
}

#[test]
fn the_end_of_the_input_ends_the_chat() {
    let mut chat = Chat::begin(&[]);
    chat.until("> ");
    assert_eq!(chat.ends(), Some(0));
}

#[test]
fn what_the_model_refuses_is_said_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    talker(&model, 160);
    let mut chat = Chat::begin(&["--model", model.to_str().unwrap(), "--max-tokens", "5"]);
    chat.until("> ");
    chat.write(b"/system Be kind.\n");
    chat.until("> ");
    chat.write(b"Hi\n");
    let refusal = chat.until("\n> ");
    assert!(refusal.contains("System role not supported"), "{refusal}");
    assert!(refusal.contains("/system without a text"), "{refusal}");
    chat.write(b"/system\n");
    chat.until("> ");
    chat.write(b"Hi\n");
    assert!(chat.until("\n> ").contains("(cut after 5 tokens"));
    // One that fits no context.
    chat.write(format!("{}\n", "word ".repeat(400)).as_bytes());
    let refusal = chat.until("\n> ");
    assert!(refusal.contains("the context holds 160"), "{refusal}");
    // Exchanges that no longer fit are forgotten, and said to be.
    let mut forgotten = false;
    for _ in 0..20 {
        chat.write(b"And then the weather was good again\n");
        let reply = chat.until("\n> ");
        assert!(reply.contains("(cut after 5 tokens"), "{reply}");
        forgotten |= reply.contains("no longer fit");
    }
    assert!(forgotten);
    assert_eq!(chat.ends(), Some(0));
}

#[cfg(unix)]
#[test]
fn an_interrupt_stops_the_reply_and_not_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    talker(&model, 60_000);
    let endless = ["--model", model.to_str().unwrap(), "--max-tokens", "50000"];
    let mut chat = Chat::begin(&endless);
    chat.until("> ");
    for _ in 0..2 {
        chat.write(b"Hi\n");
        // The first words of a reply are shown before it has ended.
        while chat.said.len() < 20 {
            let mut byte = [0];
            assert_eq!(chat.output.read(&mut byte).unwrap(), 1);
            chat.said.push_str(&String::from_utf8_lossy(&byte));
        }
        chat.interrupt();
        let reply = chat.until("\n> ");
        assert!(reply.ends_with("\n(stopped)\n> "), "{reply:?}");
    }
    // While nothing is drawn it ends the program, as in a shell.
    chat.interrupt();
    assert_eq!(chat.child.wait().unwrap().code(), Some(130));
    assert!(fs::exists(&model).unwrap());
}
