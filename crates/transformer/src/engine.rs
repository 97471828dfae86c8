//! Batched generation and scoring of tokens. Knows nothing of text or of how a token is drawn.

use crate::Error;
use crate::batch::{by_length, pad_right, select_positions};
use crate::decoder::Decoder;
use crate::kv_cache::KvCache;
use crate::token_log_probs::{Targets, token_log_probs};
use burn::tensor::{Tensor, backend::Backend};
use std::collections::VecDeque;

/// Most tokens, padding included, that go through the decoder at once when prompts are read.
const TOKENS_AT_ONCE: usize = 8192;

/// What follows a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// This token, and then more.
    Token(u32),
    /// This token, the last.
    Last(u32),
    /// Nothing; the sequence has ended.
    Stop,
}

/// Continues every prompt by up to `max_new` tokens, in the order of the prompts.
///
/// `next` is given the place of a prompt and the logits of its next token, `[vocabulary]`, which it may overwrite, and
/// decides what follows. Up to `rows` prompts run together; what follows one prompt depends on the others by rounding
/// errors at most. The calls for one prompt come in order, those for different prompts mix. A sequence also ends
/// where the context does.
///
/// # Errors
/// [`Error::NoTokens`], [`Error::UnknownToken`], [`Error::TooLong`] if a prompt leaves no room for a token.
pub fn generate<B: Backend>(
    decoder: &Decoder<B>,
    prompts: &[Vec<u32>],
    max_new: usize,
    rows: usize,
    next: &mut dyn FnMut(usize, &mut [f32]) -> Next,
) -> Result<Vec<Vec<u32>>, Error> {
    for (index, prompt) in prompts.iter().enumerate() {
        check(decoder, index, "prompt", prompt, prompt.len() + 1)?;
    }
    let mut waiting: Vec<usize> = (0..prompts.len()).collect();
    // Neighbours of similar length pad each other least.
    waiting.sort_by_key(|&prompt| prompts[prompt].len());
    let mut run = Run {
        decoder,
        prompts,
        max_new,
        rows: rows.max(1),
        waiting: waiting.into(),
        running: Vec::new(),
        cache: decoder.cache(0),
        written: vec![Vec::new(); prompts.len()],
    };
    if max_new > 0 {
        run.all(next);
    }
    Ok(run.written)
}

/// A prompt being continued.
#[derive(Clone, Copy)]
struct Row {
    prompt: usize,
    /// The newest token, not yet in the cache; nothing if the sequence has ended.
    token: Option<u32>,
}

struct Run<'a, B: Backend> {
    decoder: &'a Decoder<B>,
    prompts: &'a [Vec<u32>],
    max_new: usize,
    rows: usize,
    waiting: VecDeque<usize>,
    running: Vec<Row>,
    cache: KvCache<B>,
    written: Vec<Vec<u32>>,
}

impl<B: Backend> Run<'_, B> {
    fn all(&mut self, next: &mut dyn FnMut(usize, &mut [f32]) -> Next) {
        loop {
            self.drop_ended();
            // Reading prompts in groups costs fewer passes than one at a time; waiting until half of the rows are
            // free keeps the batch three quarters full on average.
            if !self.waiting.is_empty() && self.running.len() <= self.rows / 2 {
                self.admit(next);
            } else if self.running.is_empty() {
                return;
            } else {
                self.step(next);
            }
        }
    }

    /// Frees ended rows, if enough of them wait to be worth copying the cache.
    fn drop_ended(&mut self) {
        let live: Vec<usize> =
            (0..self.running.len()).filter(|&row| self.running[row].token.is_some()).collect();
        let ended = self.running.len() - live.len();
        if ended > 0 && (ended * 8 >= self.running.len()) {
            self.cache.keep(&live);
            self.running.retain(|row| row.token.is_some());
        }
    }

    /// Reads waiting prompts into free rows and draws their first tokens.
    fn admit(&mut self, next: &mut dyn FnMut(usize, &mut [f32]) -> Next) {
        let free = self.rows - self.running.len();
        let mut longest = 0;
        let mut admitted = Vec::new();
        while admitted.len() < free
            && let Some(&prompt) = self.waiting.front()
        {
            let length = longest.max(self.prompts[prompt].len());
            if !admitted.is_empty() && length * (admitted.len() + 1) > TOKENS_AT_ONCE {
                break;
            }
            longest = length;
            admitted.push(prompt);
            self.waiting.pop_front();
        }
        let tokens: Vec<&[u32]> =
            admitted.iter().map(|&prompt| self.prompts[prompt].as_slice()).collect();
        let lengths: Vec<usize> = tokens.iter().map(|row| row.len()).collect();
        let last: Vec<usize> =
            lengths.iter().enumerate().map(|(row, length)| row * longest + length - 1).collect();
        let mut cache = self.decoder.cache(tokens.len());
        let tokens = pad_right(&tokens, &self.decoder.device());
        let hidden = self.decoder.hidden_cached(tokens, &lengths, &mut cache);
        let mut rows: Vec<Row> =
            admitted.into_iter().map(|prompt| Row { prompt, token: Some(0) }).collect();
        self.draw(&mut rows, select_positions(hidden, &last), next);
        self.cache.join(cache);
        self.running.extend(rows);
    }

    /// Extends every running row by one token.
    fn step(&mut self, next: &mut dyn FnMut(usize, &mut [f32]) -> Next) {
        let tokens: Vec<[u32; 1]> =
            self.running.iter().map(|row| [row.token.unwrap_or(0)]).collect();
        let lengths = vec![1; tokens.len()];
        let tokens = pad_right(&tokens, &self.decoder.device());
        let hidden = self.decoder.hidden_cached(tokens, &lengths, &mut self.cache);
        let mut rows = std::mem::take(&mut self.running);
        self.draw(&mut rows, hidden.flatten(0, 1), next);
        self.running = rows;
    }

    /// Draws the next token of every row that has not ended, from `states` `[rows, model]`.
    fn draw(
        &mut self,
        rows: &mut [Row],
        states: Tensor<B, 2>,
        next: &mut dyn FnMut(usize, &mut [f32]) -> Next,
    ) {
        let vocabulary = self.decoder.config().vocab_size;
        let mut logits: Vec<f32> = self.decoder.logits(states).into_data().iter().collect();
        for (row, logits) in rows.iter_mut().zip(logits.chunks_exact_mut(vocabulary)) {
            if row.token.is_none() {
                continue;
            }
            let written = &mut self.written[row.prompt];
            row.token = match next(row.prompt, logits) {
                Next::Token(token) => {
                    written.push(token);
                    let length = self.prompts[row.prompt].len() + written.len();
                    let context = self.decoder.config().max_position_embeddings;
                    let full = written.len() == self.max_new || length == context;
                    (!full).then_some(token)
                }
                Next::Last(token) => {
                    written.push(token);
                    None
                }
                Next::Stop => None,
            };
        }
    }
}

/// `log p(continuation | prompt)` of every continuation of every prompt, summed over its tokens.
///
/// # Shapes
/// `continuations[i]` holds those of `prompts[i]`; so does the result. If all of a prompt's continuations are single
/// tokens, one pass over the prompt serves them all.
///
/// # Errors
/// [`Error::NoTokens`], [`Error::UnknownToken`], [`Error::TooLong`].
pub fn continuation_log_probs<B: Backend>(
    decoder: &Decoder<B>,
    prompts: &[Vec<u32>],
    continuations: &[Vec<Vec<u32>>],
) -> Result<Vec<Vec<f64>>, Error> {
    let mut rows = Vec::new();
    for (index, (prompt, continuations)) in prompts.iter().zip(continuations).enumerate() {
        check(decoder, index, "prompt", prompt, prompt.len())?;
        for continuation in continuations {
            let length = prompt.len() + continuation.len();
            check(decoder, index, "continuation of prompt", continuation, length)?;
        }
        rows.extend(scored_rows(index, prompt, continuations));
    }
    let mut sums: Vec<Vec<f64>> = continuations.iter().map(|each| vec![0.0; each.len()]).collect();
    let lengths: Vec<usize> = rows.iter().map(|row| row.tokens.len()).collect();
    for batch in by_length(&lengths, TOKENS_AT_ONCE) {
        let batch: Vec<&ScoredRow> = batch.into_iter().map(|row| &rows[row]).collect();
        score(decoder, &batch, &mut sums);
    }
    Ok(sums)
}

/// A row of tokens and the tokens to score in it.
struct ScoredRow {
    prompt: usize,
    tokens: Vec<u32>,
    /// Position that predicts, token, place of the continuation it belongs to.
    targets: Vec<(usize, u32, usize)>,
}

fn scored_rows(index: usize, prompt: &[u32], continuations: &[Vec<u32>]) -> Vec<ScoredRow> {
    let last = prompt.len() - 1;
    if continuations.iter().all(|continuation| continuation.len() == 1) {
        let targets = continuations.iter().flatten().enumerate();
        let targets = targets.map(|(place, &token)| (last, token, place)).collect();
        return vec![ScoredRow { prompt: index, tokens: prompt.to_vec(), targets }];
    }
    let row = |(place, continuation): (usize, &Vec<u32>)| {
        let (_, read) = continuation.split_last()?;
        let targets = continuation.iter().enumerate();
        Some(ScoredRow {
            prompt: index,
            tokens: [prompt, read].concat(),
            targets: targets.map(|(step, &token)| (last + step, token, place)).collect(),
        })
    };
    continuations.iter().enumerate().filter_map(row).collect()
}

fn score<B: Backend>(decoder: &Decoder<B>, batch: &[&ScoredRow], sums: &mut [Vec<f64>]) {
    let tokens: Vec<&[u32]> = batch.iter().map(|row| row.tokens.as_slice()).collect();
    let longest = tokens.iter().map(|row| row.len()).max().unwrap_or(0);
    let mut targets = Targets::default();
    let mut owners = Vec::new();
    for (index, row) in batch.iter().enumerate() {
        for &(position, token, place) in &row.targets {
            targets.positions.push(index * longest + position);
            targets.tokens.push(token);
            owners.push((row.prompt, place));
        }
    }
    if owners.is_empty() {
        return;
    }
    let hidden = decoder.hidden(pad_right(&tokens, &decoder.device()));
    let log_probs = token_log_probs(decoder, hidden, &targets).into_data();
    for ((prompt, place), log_prob) in owners.into_iter().zip(log_probs.iter::<f64>()) {
        sums[prompt][place] += log_prob;
    }
}

/// `length` is that of the whole row, which must fit the context.
fn check<B: Backend>(
    decoder: &Decoder<B>,
    index: usize,
    what: &'static str,
    tokens: &[u32],
    length: usize,
) -> Result<(), Error> {
    let vocabulary = decoder.config().vocab_size;
    let context = decoder.config().max_position_embeddings;
    if tokens.is_empty() {
        return Err(Error::NoTokens { what, index });
    }
    if let Some(&token) = tokens.iter().find(|&&token| token as usize >= vocabulary) {
        return Err(Error::UnknownToken { index, token, vocabulary });
    }
    if length > context {
        return Err(Error::TooLong { index, tokens: length, context });
    }
    Ok(())
}
