//! Generation and scoring of batches against one prompt at a time without a cache.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests on tiny models")]

use burn::tensor::activation::log_softmax;
use burn_flex::{Flex, FlexDevice};
use transformer::{
    Decoder, Engine, Error, ModelConfig, Next, continuation_log_probs, generate, pad_right,
};

type B = Flex;

const CONTEXT: usize = 64;

fn decoder() -> Decoder<B> {
    let text = format!(
        r#"{{"architectures": ["LlamaForCausalLM"], "vocab_size": 31, "hidden_size": 16, "intermediate_size": 24,
             "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
             "max_position_embeddings": {CONTEXT}, "tie_word_embeddings": false, "initializer_range": 0.5}}"#
    );
    let config = ModelConfig::from_json(&text, "config.json").unwrap();
    Decoder::init(&config, 3, &FlexDevice)
}

/// So many rows at once.
fn rows(rows: usize) -> Engine {
    Engine { rows, ..Engine::default() }
}

fn prompts() -> Vec<Vec<u32>> {
    let token = |row: usize, t: usize| ((row * 13 + t * t * 5 + 2) % 31) as u32;
    [4, 11, 1, 7, 4, 20, 9, 3, 15, 2]
        .into_iter()
        .enumerate()
        .map(|(row, length)| (0..length).map(|t| token(row, t)).collect())
        .collect()
}

fn best(logits: &[f32]) -> u32 {
    let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
    best as u32
}

/// Log-probabilities of every token of a row given those before it, from the whole row at once.
fn log_probs(decoder: &Decoder<B>, row: &[u32]) -> Vec<Vec<f32>> {
    let hidden = decoder.hidden(pad_right(&[row], &FlexDevice)).flatten(0, 1);
    let log_probs = log_softmax(decoder.logits(hidden), 1).into_data();
    log_probs.to_vec::<f32>().unwrap().chunks(31).map(<[f32]>::to_vec).collect()
}

#[test]
fn neighbours_and_the_cache_do_not_change_a_reply() {
    let decoder = decoder();
    let prompts = prompts();
    let max_new = 20;
    // Even tokens below 6 end a reply, some of them as its last token, so that rows end at different steps.
    let end = |token: u32| match token {
        0 | 4 => Next::Stop,
        2 => Next::Last(2),
        token => Next::Token(token),
    };
    let expected: Vec<Vec<u32>> = prompts
        .iter()
        .map(|prompt| {
            let mut row = prompt.clone();
            while row.len() < prompt.len() + max_new && row.len() < CONTEXT {
                match end(best(log_probs(&decoder, &row).last().unwrap())) {
                    Next::Token(token) => row.push(token),
                    Next::Last(token) => {
                        row.push(token);
                        break;
                    }
                    Next::Stop => break,
                }
            }
            row.split_off(prompt.len())
        })
        .collect();
    for at_once in [1, 3, 4, 64] {
        let mut next = |_: usize, logits: &mut [f32]| end(best(logits));
        let found = generate(&decoder, &prompts, max_new, &rows(at_once), &mut next).unwrap();
        assert_eq!(found, expected, "{at_once} rows at once");
    }
    let lengths: Vec<usize> = expected.iter().map(Vec::len).collect();
    assert!(lengths.contains(&max_new) && lengths.iter().any(|&length| length < 10), "{lengths:?}");
}

/// More tokens than go through the decoder at once: what does not fit is read in a later pass.
#[test]
fn many_long_prompts_are_read_in_several_passes() {
    let decoder = decoder();
    let prompts: Vec<Vec<u32>> = (0..400)
        .map(|row: usize| (0..10 + row % 50).map(|t| ((row * 7 + t * 3) % 31) as u32).collect())
        .collect();
    let mut next = |_: usize, logits: &mut [f32]| Next::Token(best(logits));
    let found = generate(&decoder, &prompts, 2, &rows(400), &mut next).unwrap();
    for (prompt, reply) in prompts.iter().zip(&found).step_by(37) {
        let mut next = |_: usize, logits: &mut [f32]| Next::Token(best(logits));
        let alone =
            generate(&decoder, std::slice::from_ref(prompt), 2, &rows(1), &mut next).unwrap();
        assert_eq!(reply, &alone[0]);
    }
}

#[test]
fn a_reply_ends_where_the_context_does() {
    let decoder = decoder();
    let prompts = vec![vec![1; CONTEXT - 2], vec![1; CONTEXT - 1], vec![5]];
    let found = generate(&decoder, &prompts, 3, &rows(8), &mut |_, _| Next::Token(1)).unwrap();
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 3]);
    assert!(
        generate(&decoder, &prompts, 0, &rows(8), &mut |_, _| Next::Token(1)).unwrap()[2]
            .is_empty()
    );
    assert!(generate(&decoder, &[], 3, &rows(8), &mut |_, _| Next::Stop).unwrap().is_empty());
}

#[test]
fn prompts_that_cannot_be_read_are_refused() {
    let decoder = decoder();
    let refused = |prompt: Vec<u32>| {
        generate(&decoder, &[vec![1], prompt], 3, &rows(8), &mut |_, _| Next::Stop).unwrap_err()
    };
    assert!(matches!(refused(vec![]), Error::NoTokens { index: 1, .. }));
    assert!(matches!(
        refused(vec![31]),
        Error::UnknownToken { index: 1, token: 31, vocabulary: 31 }
    ));
    let too_long = Error::TooLong { index: 1, tokens: CONTEXT + 1, context: CONTEXT };
    assert_eq!(refused(vec![1; CONTEXT]).to_string(), too_long.to_string());
}

#[test]
fn continuations_are_weighed_as_by_the_whole_row() {
    let decoder = decoder();
    let prompts = prompts();
    let continuations: Vec<Vec<Vec<u32>>> = (0..prompts.len())
        .map(|prompt| match prompt % 3 {
            0 => vec![vec![3], vec![17]],
            1 => vec![vec![3, 4, 5], vec![3], vec![9, 0]],
            _ => vec![],
        })
        .collect();
    let found = continuation_log_probs(&decoder, &prompts, &continuations, &rows(8)).unwrap();
    for (prompt, (continuations, found)) in prompts.iter().zip(continuations.iter().zip(found)) {
        assert_eq!(continuations.len(), found.len());
        for (continuation, found) in continuations.iter().zip(found) {
            let row = [prompt.as_slice(), continuation].concat();
            let table = log_probs(&decoder, &row);
            let expected: f64 =
                (prompt.len()..row.len()).map(|t| f64::from(table[t - 1][row[t] as usize])).sum();
            assert!((found - expected).abs() < 1e-4, "{found} is not {expected}");
        }
    }
    let empty =
        continuation_log_probs(&decoder, &prompts[..1], &[vec![vec![]]], &rows(8)).unwrap_err();
    assert!(matches!(empty, Error::NoTokens { index: 0, .. }));
}

/// Few-shots that all prompts share, dialogues that some share, and their own ends; some prompts are equal, one is the
/// beginning of others.
fn related_prompts() -> Vec<Vec<u32>> {
    let stretch = |salt: usize, length: usize| -> Vec<u32> {
        (0..length).map(|t| ((salt * 11 + t * t * 3 + t + 1) % 31) as u32).collect()
    };
    let prompt = |dialogue: usize, end: usize, length: usize| {
        [stretch(1, 20), stretch(dialogue, 17), stretch(end, length)].concat()
    };
    let mut prompts = vec![prompt(2, 5, 3), prompt(2, 6, 4), prompt(3, 5, 2), prompt(3, 7, 6)];
    prompts.extend([prompt(2, 5, 3), prompt(3, 9, 0), prompt(2, 8, 5), stretch(4, 9)]);
    prompts
}

#[test]
fn shared_beginnings_change_nothing() {
    let decoder = decoder();
    let prompts = related_prompts();
    let alone = Engine { rows: 1, share_prefixes: false, ..Engine::default() };
    let draw = |engine: &Engine| {
        let mut next = |_: usize, logits: &mut [f32]| Next::Token(best(logits));
        generate(&decoder, &prompts, 12, engine, &mut next).unwrap()
    };
    let expected = draw(&alone);
    for at_once in [1, 2, 3, 8] {
        assert_eq!(draw(&rows(at_once)), expected, "{at_once} rows at once");
    }
    let continuations: Vec<Vec<Vec<u32>>> = (0..prompts.len())
        .map(|prompt| match prompt % 2 {
            0 => vec![vec![3], vec![17]],
            _ => vec![vec![3, 4, 5], vec![3, 4, 6, 1], vec![9]],
        })
        .collect();
    let weigh =
        |engine| continuation_log_probs(&decoder, &prompts, &continuations, engine).unwrap();
    let pairs = weigh(&alone).concat().into_iter().zip(weigh(&rows(8)).concat());
    for (expected, found) in pairs {
        assert!((found - expected).abs() < 1e-4, "{found} is not {expected}");
    }
}

#[test]
fn memory_is_bounded_and_too_little_is_said_before_anything_is_drawn() {
    let decoder = decoder();
    let prompts = related_prompts();
    // Two layers, keys and values of two heads of four numbers of four bytes.
    let token = 2 * 2 * 2 * 4 * 4;
    let drawn = |bytes: usize| {
        let engine = Engine { cache_bytes: bytes, ..Engine::default() };
        let mut calls = 0;
        let mut next = |_: usize, logits: &mut [f32]| {
            calls += 1;
            Next::Token(best(logits))
        };
        let drawn = generate(&decoder, &prompts, 10, &engine, &mut next);
        (drawn, calls)
    };
    // The longest has 43 tokens, and the last of ten is not read.
    let (error, calls) = drawn(52 * token - 1);
    assert_eq!(calls, 0);
    assert!(matches!(error, Err(Error::CacheTooSmall { tokens: 52, needed, bytes })
            if needed == 52 * token && bytes == needed - 1),);
    let expected = drawn(1 << 30).0.unwrap();
    // Room for one row alone, for one and what is shared, for two and what is shared.
    for tokens in [52, 52 + 37, 2 * 52 + 37] {
        assert_eq!(drawn(tokens * token).0.unwrap(), expected);
    }
}
