//! The client against a server that speaks the protocol and misbehaves.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod server;

use dialogue::Dialogue;
use language_model::{Choose, Error, Generate, Meter, Prompt, Sampling, StopReason};
use openai::{Api, Client, Config, Continuation, Scoring};
use server::{Fault, Server};
use std::time::{Duration, Instant};

/// Settings whose waits are short.
fn quick() -> Config {
    Config { backoff_seconds: 0.001, backoff_limit_seconds: 0.01, ..Config::default() }
}

fn client(server: &Server, config: Config) -> Client {
    Client::with_config(&server.url(), "parrot", config).unwrap()
}

fn completions(scoring: &[Scoring]) -> Config {
    Config { api: Api::Completions, scoring: scoring.to_vec(), ..quick() }
}

fn prompts(count: u64) -> Vec<Prompt> {
    let prompt = |seed| Prompt { dialogue: Dialogue::from_user(format!("question {seed}")), seed };
    (0..count).map(prompt).collect()
}

fn generate(client: &Client, count: u64) -> Result<Vec<String>, Error> {
    let replies = client.generate(&prompts(count), &Sampling::default())?;
    Ok(replies.into_iter().map(|reply| reply.text).collect())
}

fn expected(count: u64) -> Vec<String> {
    (0..count).map(|seed| format!("question {seed}, says {seed}")).collect()
}

fn choose(client: &Client, question: &str) -> Result<Vec<f64>, Error> {
    let prompt = Dialogue::from_user(question).with_assistant("The answer is: (");
    Ok(client.choose(&[prompt], &["A", "B"])?.remove(0))
}

#[track_caller]
fn fails<T: std::fmt::Debug>(result: Result<T, Error>, expected: &[&str]) -> String {
    let error = result.unwrap_err();
    let message = error.to_string();
    for word in expected {
        assert!(message.contains(word), "`{word}` is missing in: {message}");
    }
    message
}

#[track_caller]
fn close(found: &[f64], expected: [f64; 2]) {
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }
}

#[test]
fn replies_come_in_the_order_of_the_prompts() {
    let server = Server::start();
    server.take(Duration::from_millis(5));
    let client = client(&server, Config { concurrency: 4, ..quick() });
    assert_eq!(generate(&client, 40).unwrap(), expected(40));
    assert!((2..=4).contains(&server.most_at_a_time()), "{}", server.most_at_a_time());
    let request = &server.requests()[0];
    assert_eq!(request.path, "/v1/chat/completions");
    assert_eq!(request.body["model"], "parrot");
    assert_eq!(generate(&client, 0).unwrap(), Vec::<String>::new());
}

#[test]
fn the_same_prompt_twice_is_one_request() {
    let server = Server::start();
    let client = client(&server, quick());
    let twice = [prompts(1), prompts(1)].concat();
    let replies = client.generate(&twice, &Sampling::default()).unwrap();
    assert_eq!((replies.len(), &replies[0]), (2, &replies[1]));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn text_completions_take_the_transcript() {
    let server = Server::start();
    let client = client(&server, completions(&[Scoring::TopLogprobs]));
    let replies = client.generate(&prompts(1), &Sampling::default()).unwrap();
    // The parrot repeats the transcript, in which the human speaks at once.
    assert_eq!((replies[0].text.as_str(), replies[0].stopped), ("", StopReason::Stop));
    let request = &server.requests()[0];
    assert_eq!(request.path, "/v1/completions");
    assert_eq!(request.body["prompt"], "\n\nHuman: question 0\n\nAssistant:");
    assert_eq!(request.body["stop"][0], "\n\nHuman:");
}

#[test]
fn options_are_weighed_by_each_interface() {
    let server = Server::start();
    close(&choose(&client(&server, quick()), "which?").unwrap(), [2.0 / 3.0, 1.0 / 3.0]);
    for scoring in [Scoring::TopLogprobs, Scoring::Echo] {
        let client = client(&server, completions(&[scoring]));
        close(&choose(&client, "which?").unwrap(), [2.0 / 3.0, 1.0 / 3.0]);
    }
    let echoed = server.requests().pop().unwrap().body;
    assert_eq!(echoed["prompt"], "\n\nHuman: which?\n\nAssistant: The answer is: (B");
    assert_eq!((&echoed["echo"], &echoed["max_tokens"]), (&true.into(), &1.into()));
}

#[test]
fn a_ten_of_two_tokens_is_told_from_a_one() {
    let options: Vec<String> = (1..=10).map(|score| format!("{score})")).collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let prompt = Dialogue::from_user("how good?").with_assistant("The score is: (");
    for (config, requests) in [(quick(), 4), (completions(&[Scoring::TopLogprobs]), 2)] {
        let server = Server::start();
        let client = client(&server, config);
        let row = client.choose(std::slice::from_ref(&prompt), &options).unwrap().remove(0);
        for (score, expected) in [(1, 0.1), (2, 0.1), (9, 0.4), (10, 0.4), (5, 0.0)] {
            let found = row[score - 1];
            assert!((found - expected).abs() < 1e-9, "{score}: {found} is not {expected}");
        }
        // A chat server is asked twice more, whether it continues.
        assert_eq!(server.requests().len(), requests);
    }
    let server = Server::start();
    let asked = Config { continuation: Continuation::Ask, ..quick() };
    let refused = client(&server, asked).choose(&[prompt], &options);
    fails(refused, &["\"1)\" seems to take several tokens", "\"1\"", "continuation"]);
}

#[test]
fn options_of_several_tokens_are_weighed_by_echo() {
    let server = Server::start();
    let client = client(&server, completions(&[Scoring::Echo]));
    let prompt = Dialogue::from_user("which?");
    let rows = client.choose(&[prompt], &["A", "Bo"]).unwrap();
    // 0.6 against 0.3 * 0.5.
    close(&rows[0], [0.8, 0.2]);
    // The first two requests see whether echoes are scored rightly.
    assert_eq!(server.requests()[2].body["prompt"], "\n\nHuman: which?\n\nAssistant: A");
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn an_echo_that_is_scored_wrongly_is_noticed() {
    let server = Server::start();
    server.score_echoes_wrongly();
    let client = client(&server, completions(&[Scoring::Echo]));
    fails(choose(&client, "which?"), &["scores an echo", "-0.511", "-4.605", "top_logprobs"]);
}

#[test]
fn an_option_outside_the_top_k_gets_an_upper_bound() {
    let server = Server::start();
    let client = client(&server, quick());
    // What is left of the mass, 0.06, is more than the least listed, 0.04.
    close(&choose(&client, "only the first").unwrap(), [0.8 / 0.84, 0.04 / 0.84]);
    fails(choose(&client, "neither"), &["none of the options", "The", "top_logprobs"]);
}

#[test]
fn what_the_top_k_cannot_tell_the_next_way_tells() {
    let server = Server::start();
    let client = client(&server, completions(&[Scoring::TopLogprobs, Scoring::Echo]));
    let prompt = Dialogue::from_user("x").with_assistant("neither (");
    let rows = client.choose(&[prompt], &["A", "B"]).unwrap();
    close(&rows[0], [2.0 / 3.0, 1.0 / 3.0]);
    assert_eq!(server.requests().len(), 1 + 2 + 2);
}

#[test]
fn missing_logprobs_are_named() {
    let server = Server::start();
    server.leave_out_logprobs();
    fails(
        choose(&client(&server, quick()), "which?"),
        &["parrot", "/v1/chat/completions", "log-probabilities"],
    );
    fails(
        choose(&client(&server, completions(&[Scoring::Echo])), "which?"),
        &["parrot", "/v1/completions", "log-probabilities"],
    );
}

#[test]
fn options_that_are_none_are_refused() {
    let server = Server::start();
    let client = client(&server, quick());
    for options in [&[][..], &["A", ""], &[" "]] {
        assert!(matches!(
            client.choose(&[Dialogue::from_user("x")], options),
            Err(Error::Option { .. })
        ));
    }
    let wrong = Sampling::default().with_max_tokens(0);
    assert!(matches!(client.generate(&prompts(1), &wrong), Err(Error::Sampling { .. })));
    assert!(server.requests().is_empty());
}

#[test]
fn what_passes_is_tried_again() {
    let status = |status, headers| Fault::Status(status, headers, String::new());
    let faults = [
        status(429, ""),
        status(429, "Retry-After: 0\r\n"),
        status(429, "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
        status(500, ""),
        status(503, ""),
        Fault::Dropped,
        Fault::Closed,
        Fault::Body("{\"choices\": [".to_owned()),
        Fault::Body("<html>".to_owned()),
        // Fewer choices than asked for.
        Fault::Body("{\"choices\": []}".to_owned()),
        Fault::Body("{}".to_owned()),
    ];
    for fault in faults {
        let server = Server::start();
        server.faults([fault.clone()]);
        let client = client(&server, quick());
        assert_eq!(generate(&client, 1).unwrap(), expected(1), "{fault:?}");
        assert_eq!(server.requests().len(), 2, "{fault:?}");
    }
}

#[test]
fn a_server_that_asks_to_wait_is_given_the_time() {
    let server = Server::start();
    server.faults([Fault::Status(429, "Retry-After: 1\r\n", String::new())]);
    let start = Instant::now();
    assert_eq!(generate(&client(&server, quick()), 1).unwrap(), expected(1));
    assert!(start.elapsed() >= Duration::from_secs(1));

    // But not more than the limit.
    server.faults([Fault::Status(503, "Retry-After: 3600\r\n", String::new())]);
    let config = Config { retry_after_limit_seconds: 0.01, ..quick() };
    assert_eq!(generate(&client(&server, config), 1).unwrap(), expected(1));
}

#[test]
fn a_slow_first_byte_is_not_waited_for() {
    let server = Server::start();
    server.faults([Fault::Slow(Duration::from_secs(20))]);
    let config = Config { request_seconds: 0.2, ..quick() };
    assert_eq!(generate(&client(&server, config.clone()), 1).unwrap(), expected(1));
    server.faults([Fault::Slow(Duration::from_secs(20))]);
    let config = Config { attempts: 1, ..config };
    fails(generate(&client(&server, config), 1), &["in time", "request_seconds"]);
}

#[test]
fn what_lasts_is_not_tried_again() {
    for status in [400, 401, 403, 404, 422] {
        let server = Server::start();
        let body = "{\"error\": {\"message\": \"the prompt is\\ntoo long\"}}".to_owned();
        server.faults([Fault::Status(status, "", body)]);
        let number = status.to_string();
        fails(
            generate(&client(&server, quick()), 1),
            &[&number, &prompts(1)[0].dialogue.id(), "the prompt is too long", "0 of 1"],
        );
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn attempts_have_an_end() {
    let server = Server::start();
    server.faults(vec![Fault::Body("{}".to_owned()); 3]);
    let config = Config { attempts: 3, ..quick() };
    fails(generate(&client(&server, config), 1), &["3 attempts", "choices"]);
}

#[test]
fn a_prompt_that_breaks_the_server_is_told_from_a_server_that_is_gone() {
    let config = || Config { attempts: 3, ..quick() };
    let broken = [
        Fault::Body("{\"choices\": []}".to_owned()),
        Fault::Status(500, "", "assertion failed".to_owned()),
        Fault::Closed,
    ];
    for fault in broken {
        let server = Server::start();
        server.faults(vec![fault.clone(); 3]);
        let result = generate(&client(&server, config()), 1);
        assert!(result.as_ref().unwrap_err().concerns_one_prompt(), "{fault:?}: {result:?}");
        fails(result, &["3 attempts", "answers other questions", &prompts(1)[0].dialogue.id()]);
        // One question of the client's own.
        assert_eq!(server.requests().len(), 4);

        let server = Server::start();
        server.faults(vec![fault; 4]);
        let error = generate(&client(&server, config()), 1).unwrap_err();
        assert!(!error.concerns_one_prompt() && !error.to_string().contains("other"), "{error}");
    }
    // A server that asks to slow down says nothing about the prompt.
    let server = Server::start();
    server.faults(vec![Fault::Status(429, "", String::new()); 3]);
    assert!(!generate(&client(&server, config()), 1).unwrap_err().concerns_one_prompt());
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn what_has_failed_for_good_is_not_sent_again_by_the_same_unit_of_work() {
    let server = Server::start();
    let config = Config { attempts: 2, concurrency: 1, ..quick() };
    let client = client(&server, config);
    let unit = client.unit_of_work();
    let ask = |range: std::ops::Range<usize>| {
        unit.generate(&prompts(4)[range], &Sampling::default()).map(|replies| replies.len())
    };
    server.faults(vec![Fault::Status(500, "", String::new()); 2]);
    let first = fails(ask(0..4), &["HTTP status 500", "2 attempts"]);
    let sent = server.requests().len();
    let again = fails(ask(0..1), &["HTTP status 500", "2 attempts"]);
    assert!(first.starts_with(again.split(';').next().unwrap()), "{first}, {again}");
    assert_eq!(server.requests().len(), sent);
    assert_eq!(ask(1..4).unwrap(), 3);
    // Another unit asks anew.
    assert_eq!(client.unit_of_work().generate(&prompts(1), &Sampling::default()).unwrap().len(), 1);
}

#[test]
fn a_unit_of_work_counts_what_the_server_answers_and_its_prompts() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let client = client(&server, quick());
    client.keep_answers_until_settled(folder.path().join("answers")).unwrap();
    let meter = Meter::default();
    let unit = client.unit_of_work().metered(&meter);
    unit.generate(&prompts(2), &Sampling::default()).unwrap();
    let prompt_tokens = meter.prompt_tokens();
    assert!(meter.calls() == 2 && meter.tokens() > 0 && prompt_tokens > 0, "{meter:?}");
    // Two of the three are kept, and count no second time.
    unit.generate(&prompts(3), &Sampling::default()).unwrap();
    assert_eq!(meter.calls(), 3);
    assert!(meter.prompt_tokens() > prompt_tokens, "{meter:?}");
    let (tokens, prompt_tokens) = (meter.tokens(), meter.prompt_tokens());
    unit.choose(&[Dialogue::from_user("(A) or (B)?")], &["A", "B"]).unwrap();
    assert_eq!((meter.calls(), meter.tokens()), (4, tokens));
    assert!(meter.prompt_tokens() > prompt_tokens, "{meter:?}");
}

#[test]
fn prompts_that_break_the_server_open_no_circuit() {
    let server = Server::start();
    server.faults(vec![Fault::Status(500, "", String::new()); 4]);
    let config = Config { circuit_failures: 4, attempts: 50, concurrency: 1, ..quick() };
    assert_eq!(generate(&client(&server, config), 1).unwrap(), expected(1));
    assert_eq!(server.requests().len(), 4 + 1 + 1);
}

#[test]
fn redirects_are_not_followed() {
    let (server, other) = (Server::start(), Server::start());
    let location = format!("Location: {}/chat/completions\r\n", other.url());
    server.faults([Fault::Status(307, location.leak(), String::new())]);
    fails(generate(&client(&server, quick()), 1), &["307", "another address"]);
    assert!(other.requests().is_empty());
}

#[test]
fn an_endless_answer_is_cut() {
    let server = Server::start();
    server.faults([Fault::Endless, Fault::Body(" ".repeat(2000))]);
    let client = client(&server, Config { response_limit: 1000, ..quick() });
    fails(generate(&client, 1), &["longer than 1000 bytes", "response_limit"]);
    fails(generate(&client, 1), &["longer than 1000 bytes"]);
}

#[test]
fn deep_and_odd_json_is_survived() {
    let odd = [
        "[".repeat(100_000),
        "{\"choices\":[{\"message\":{\"content\":5}}]}".to_owned(),
        "{\"choices\":[{\"logprobs\":{\"content\":[{\"token\":\"A\",\"logprob\":1e999}]}}]}"
            .to_owned(),
        "{\"choices\":[null]}".to_owned(),
        "null".to_owned(),
        "\u{0}".to_owned(),
    ];
    let server = Server::start();
    let client = client(&server, Config { attempts: 1, ..quick() });
    for body in odd {
        server.faults([Fault::Body(body)]);
        fails(generate(&client, 1), &["not what the protocol says"]);
    }
}

#[test]
fn the_key_goes_to_the_server_and_nowhere_else() {
    // The one variable that every test has and that holds nothing like other text.
    let key = env!("CARGO_MANIFEST_DIR");
    let server = Server::start();
    let config = Config { key_variable: "CARGO_MANIFEST_DIR".to_owned(), ..quick() };
    let client = client(&server, config);
    let said = format!("{{\"error\": {{\"message\": \"wrong key: {key}\"}}}}");
    server.faults([
        Fault::Status(401, "", said.clone()),
        Fault::Status(400, "", format!("{key} is wrong")),
        Fault::Body(format!("{{\"choices\":[{{\"message\":{{\"content\":\"{key}\"}}}}]}}")),
    ]);
    for _ in 0..2 {
        let error = generate(&client, 1).unwrap_err();
        assert!(error.to_string().contains("[key]"), "{error}");
        assert!(!format!("{error} {error:?}").contains(key), "{error:?}");
    }
    assert_eq!(generate(&client, 1).unwrap(), ["[key]"]);
    assert!(!format!("{client:?}").contains(key));
    let header = format!("authorization: Bearer {key}");
    assert!(server.requests().iter().all(|request| request.headers.contains(&header)));
}

#[test]
fn without_a_key_no_header_is_sent() {
    let server = Server::start();
    if std::env::var_os("OPENAI_API_KEY").is_none() {
        generate(&client(&server, quick()), 1).unwrap();
        let sent = server.requests()[0].headers.join("\n").to_lowercase();
        assert!(!sent.contains("authorization"), "{sent}");
    }
    let config = Config { key_variable: "NO_SUCH_VARIABLE_42".to_owned(), ..quick() };
    let error = Client::with_config(&server.url(), "parrot", config).unwrap_err();
    assert!(error.to_string().contains("NO_SUCH_VARIABLE_42"), "{error}");
}

#[test]
fn when_the_server_is_gone_what_is_done_is_kept() {
    let server = Server::start();
    server.go_away_after(5);
    let config = Config { circuit_failures: 6, concurrency: 2, attempts: 50, ..quick() };
    let client = client(&server, config);
    fails(
        generate(&client, 12),
        &["counts as gone", "circuit_failures", "5 of 12 answers are done"],
    );
    let before = server.requests().len();
    // The other lane, and a question of the client's own, during which both may go on.
    assert!(before <= 5 + 6 + 6, "{before} requests although the circuit is open");

    // The same call on the same client asks only for the rest.
    server.come_back();
    assert_eq!(generate(&client, 12).unwrap(), expected(12));
    assert_eq!(server.requests().len() - before, 7);
    // A call that has succeeded is not remembered.
    generate(&client, 1).unwrap();
    assert_eq!(server.requests().len() - before, 8);
}

#[test]
fn a_server_that_is_not_there_is_noticed() {
    let server = Server::start();
    let url = server.url();
    drop(server);
    let config = Config { circuit_failures: 3, ..quick() };
    let client = Client::with_config(&url, "parrot", config).unwrap();
    fails(generate(&client, 4), &["counts as gone", "connection failed", "0 of 4"]);
    assert!(client.check().is_err());
}

#[test]
fn a_file_keeps_answers_for_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("judge.journal");
    let server = Server::start();
    let config = Config { circuit_failures: 3, concurrency: 1, ..quick() };
    let open = || client(&server, config.clone()).keep_answers(&path).unwrap();
    let prompts: Vec<Dialogue> = (0..6)
        .map(|number| Dialogue::from_user(format!("{number}")).with_assistant("The answer is: ("))
        .collect();
    // Two requests see whether the server continues.
    server.go_away_after(2 + 4);
    let first = open();
    fails(first.choose(&prompts, &["A", "B"]), &["4 of 6", "judge.journal"]);
    drop(first);
    server.come_back();
    let before = server.requests().len();
    let rows = open().choose(&prompts, &["A", "B"]).unwrap();
    assert_eq!(server.requests().len() - before, 2 + 2);
    for row in &rows {
        close(row, [2.0 / 3.0, 1.0 / 3.0]);
    }

    // When all is there, nothing is asked; other options or seeds are other questions.
    let before = server.requests().len();
    let again = open();
    assert_eq!(again.choose(&prompts, &["A", "B"]).unwrap(), rows);
    assert_eq!(server.requests().len(), before);
    again.choose(&prompts, &["B", "A"]).unwrap();
    assert_eq!(server.requests().len(), before + 2 + 6);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("The answer is") && !text.contains("127.0.0.1"), "{text}");
}

#[test]
fn the_total_time_has_a_limit() {
    let server = Server::start();
    server.take(Duration::from_millis(100));
    let config = Config { total_seconds: Some(1.0), concurrency: 1, ..quick() };
    let message = fails(generate(&client(&server, config), 1000), &["total_seconds", "of 1000"]);
    assert!(!message.contains("; 0 of 1000"), "{message}");

    // A wait that would not end in time is not begun.
    let server = Server::start();
    server.faults([Fault::Status(429, "Retry-After: 60\r\n", String::new())]);
    let config = Config { total_seconds: Some(5.0), ..quick() };
    fails(generate(&client(&server, config), 1), &["total_seconds"]);
}

#[test]
fn a_server_that_does_not_continue_is_noticed() {
    let server = Server::start();
    server.answer_unfinished_turns();
    for continuation in [Continuation::ContinueFinalMessage, Continuation::Trailing] {
        let client = client(&server, Config { continuation, ..quick() });
        fails(choose(&client, "which?"), &["instead of continuing", "completions", "ask"]);
    }
    // What does not rely on it works.
    generate(&client(&server, quick()), 1).unwrap();
    let client = client(&server, Config { continuation: Continuation::Ask, ..quick() });
    choose(&client, "which?").unwrap();
    let asked = server.requests().pop().unwrap().body;
    assert_eq!(asked["messages"].as_array().unwrap().len(), 1);
}

#[test]
fn that_a_server_continues_is_asked_once() {
    let server = Server::start();
    let client = client(&server, quick());
    choose(&client, "one").unwrap();
    choose(&client, "two").unwrap();
    assert_eq!(server.requests().len(), 2 + 2);
}

#[test]
fn finds_the_only_model() {
    let server = Server::start();
    let found = Client::of_only_model(&server.url(), quick()).unwrap();
    assert_eq!(found.model(), "parrot");
    found.check().unwrap();
    let other = Client::with_config(&server.url(), "owl", quick()).unwrap();
    let message = other.check().unwrap_err().to_string();
    assert!(message.contains("owl") && message.contains("parrot"), "{message}");
    assert!(found.warnings().is_empty());
    let remote = Client::new("http://example.org/v1", "m").unwrap();
    assert!(remote.warnings()[0].contains("http://example.org/v1 is not encrypted"));
}

#[test]
fn works_inside_another_runtime_and_from_many_threads() {
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let client = client(&server, quick());
        assert_eq!(generate(&client, 3).unwrap(), expected(3));
    });
    let client = client(&server, Config { concurrency: 3, ..quick() });
    server.take(Duration::from_millis(5));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(generate(&client, 20).unwrap(), expected(20)));
        }
    });
    assert!(server.most_at_a_time() <= 3, "{}", server.most_at_a_time());
}

#[test]
fn seams_see_an_object() {
    let server = Server::start();
    let client: Box<dyn Generate> = Box::new(client(&server, quick()));
    assert_eq!(client.generate(&prompts(1), &Sampling::default()).unwrap().len(), 1);
}
