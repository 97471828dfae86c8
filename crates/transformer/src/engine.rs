//! Batched generation and scoring of tokens. Knows nothing of text or of how a token is drawn.

use crate::Error;
use crate::batch::pad_right;
use crate::decoder::{Decoder, Prefix};
use crate::kv_cache::KvCache;
use crate::prefix_tree::{Step, longest_open, plan};
use crate::token_log_probs::{Targets, token_log_probs};
use burn::tensor::{DType, Tensor, TensorData, backend::Backend};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Most tokens, padding included, that go through the decoder at once when prompts are read.
const TOKENS_AT_ONCE: usize = 8192;

/// How much runs at the same time.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `rows` | 64 | most replies that are drawn at the same time |
/// | `cache_bytes` | 2 GiB | most memory for the keys and values of tokens already seen |
/// | `share_prefixes` | true | what prompts begin with alike is read once |
///
/// The memory is set aside when a job begins, for as many rows as its longest request lets fit, and given back at its
/// end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Engine {
    /// Most replies that are drawn at the same time.
    pub rows: usize,
    /// Most bytes for the keys and values of tokens already seen.
    pub cache_bytes: usize,
    /// What prompts begin with alike is read once.
    pub share_prefixes: bool,
}

impl Default for Engine {
    fn default() -> Self {
        Self { rows: 64, cache_bytes: 2 << 30, share_prefixes: true }
    }
}

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
/// decides what follows. A sequence that ends makes room for the next at once. What follows one prompt depends on the
/// others by rounding errors at most. The calls for one prompt come in order, those for different prompts mix. A
/// sequence also ends where the context does.
///
/// # Errors
/// Before anything is drawn: [`Error::NoTokens`], [`Error::UnknownToken`], [`Error::TooLong`] if a prompt leaves no room
/// for a token, [`Error::CacheTooSmall`] if the longest request does not fit the memory.
pub fn generate<B: Backend>(
    decoder: &Decoder<B>,
    prompts: &[Vec<u32>],
    max_new: usize,
    engine: &Engine,
    next: &mut dyn FnMut(usize, &mut [f32]) -> Next,
) -> Result<Vec<Vec<u32>>, Error> {
    let vocabulary = decoder.config().vocab_size;
    let mut one_by_one = |step: &[usize], logits: &mut [f32]| -> Vec<Next> {
        let rows = step.iter().zip(logits.chunks_exact_mut(vocabulary));
        rows.map(|(&prompt, logits)| next(prompt, logits)).collect()
    };
    generate_in_steps(decoder, prompts, max_new, engine, &mut one_by_one)
}

/// What follows every sequence of a step, in their order: is given the places of their prompts, each once, and the logits
/// of their next tokens, `[sequences, vocabulary]`.
pub(crate) type NextOfEach<'a> = dyn FnMut(&[usize], &mut [f32]) -> Vec<Next> + 'a;

/// As [`generate`], deciding about all sequences of a step at once, so that they can share the cores.
pub(crate) fn generate_in_steps<B: Backend>(
    decoder: &Decoder<B>,
    prompts: &[Vec<u32>],
    max_new: usize,
    engine: &Engine,
    next: &mut NextOfEach<'_>,
) -> Result<Vec<Vec<u32>>, Error> {
    for (index, prompt) in prompts.iter().enumerate() {
        check(decoder, index, "prompt", prompt, prompt.len() + 1)?;
    }
    let written = vec![Vec::new(); prompts.len()];
    if max_new == 0 || prompts.is_empty() {
        return Ok(written);
    }
    let Room { rows, slots, steps } = Room::of(decoder, prompts, max_new, engine)?;
    let mut run = Run {
        decoder,
        prompts,
        max_new,
        reading: Reading { steps: steps.into_iter(), leaves: None, path: Vec::new() },
        running: Vec::new(),
        cache: decoder.cache(rows, slots),
        written,
    };
    run.all(next);
    Ok(run.written)
}

/// What fits the memory.
#[derive(Debug)]
struct Room {
    rows: usize,
    slots: usize,
    steps: Vec<Step>,
}

impl Room {
    fn of<B: Backend>(
        decoder: &Decoder<B>,
        prompts: &[Vec<u32>],
        max_new: usize,
        engine: &Engine,
    ) -> Result<Self, Error> {
        let config = decoder.config();
        let context = config.max_position_embeddings;
        let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
        // The last token drawn is not read again.
        let slots = longest.saturating_add(max_new - 1).min(context - 1).max(longest);
        let token = KvCache::<B>::bytes_per_token(config, decoder.dtype()).max(1);
        let held = engine.cache_bytes / token;
        if held < slots {
            return Err(Error::CacheTooSmall {
                tokens: slots,
                needed: slots.saturating_mul(token),
                bytes: engine.cache_bytes,
            });
        }
        let mut steps = plan(prompts, engine.share_prefixes);
        if held - slots < longest_open(&steps) {
            steps = plan(prompts, false);
        }
        let rows = (held - longest_open(&steps)) / slots;
        Ok(Self { rows: rows.min(engine.rows.max(1)).min(prompts.len()), slots, steps })
    }
}

/// A prompt being continued; its row of the cache has the same index.
#[derive(Debug, Clone, Copy)]
struct Row {
    prompt: usize,
    /// The newest token, not yet in the cache; nothing if the sequence has ended.
    token: Option<u32>,
}

struct Run<'a, B: Backend> {
    decoder: &'a Decoder<B>,
    prompts: &'a [Vec<u32>],
    max_new: usize,
    reading: Reading<B>,
    running: Vec<Row>,
    cache: KvCache<B>,
    written: Vec<Vec<u32>>,
}

/// How far the plan has come.
struct Reading<B: Backend> {
    steps: std::vec::IntoIter<Step>,
    /// Sequences that are read next, and from where on; the next one last.
    leaves: Option<(Vec<usize>, usize)>,
    /// What is open.
    path: Vec<Prefix<B>>,
}

impl<B: Backend> Reading<B> {
    /// Up to `most` sequences that follow what is open, and where their rests begin; nothing at the end of the plan.
    fn next(
        &mut self,
        decoder: &Decoder<B>,
        prompts: &[Vec<u32>],
        most: usize,
    ) -> Option<(Vec<usize>, usize)> {
        loop {
            if let Some((waiting, from)) = &mut self.leaves {
                let taken = take(waiting, most, |&prompt| prompts[prompt].len() - *from);
                if !taken.is_empty() {
                    return Some((taken, *from));
                }
                self.leaves = None;
            }
            match self.steps.next()? {
                Step::Open { sequence, tokens } => {
                    let tokens = pad_right(&[&prompts[sequence][tokens]], &decoder.device());
                    self.path.push(decoder.remember(tokens, &self.path));
                }
                Step::Close => drop(self.path.pop()),
                Step::Read { mut sequences, from } => {
                    sequences.reverse();
                    self.leaves = Some((sequences, from));
                }
            }
        }
    }
}

/// Takes items off the end while they fit one pass and are of similar length; at least one if there is any.
fn take<T>(waiting: &mut Vec<T>, most: usize, length: impl Fn(&T) -> usize) -> Vec<T> {
    let mut taken: Vec<T> = Vec::new();
    while taken.len() < most
        && let Some(item) = waiting.pop()
    {
        let longest = length(&item);
        let similar = taken.first().is_none_or(|first| longest <= length(first) * 5 / 4 + 16);
        let fits = longest * (taken.len() + 1) <= TOKENS_AT_ONCE;
        if taken.is_empty() || similar && fits {
            taken.push(item);
        } else {
            waiting.push(item);
            break;
        }
    }
    taken
}

impl<B: Backend> Run<'_, B> {
    fn all(&mut self, next: &mut NextOfEach<'_>) {
        loop {
            let free = self.cache.free_rows();
            if free > 0
                && let Some((prompts, from)) = self.reading.next(self.decoder, self.prompts, free)
            {
                self.admit(&prompts, from, next);
            } else if self.running.is_empty() {
                return;
            } else {
                self.step(next);
            }
        }
    }

    /// Reads the rests of prompts into free rows and draws their first tokens.
    fn admit(&mut self, prompts: &[usize], from: usize, next: &mut NextOfEach<'_>) {
        let tokens: Vec<&[u32]> =
            prompts.iter().map(|&prompt| &self.prompts[prompt][from..]).collect();
        let lengths: Vec<usize> = tokens.iter().map(|row| row.len()).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let last: Vec<usize> =
            lengths.iter().enumerate().map(|(row, length)| row * longest + length - 1).collect();
        let tokens = pad_right(&tokens, &self.decoder.device());
        let (path, cache) = (&self.reading.path, &mut self.cache);
        let states = self.decoder.admit(tokens, &lengths, path, Some(&last), cache);
        let first = self.running.len();
        let rows = prompts.iter().map(|&prompt| Row { prompt, token: None });
        self.running.extend(rows);
        self.draw(first, states, next);
    }

    /// Extends every running row by one token.
    fn step(&mut self, next: &mut NextOfEach<'_>) {
        let tokens: Vec<i64> =
            self.running.iter().map(|row| i64::from(row.token.unwrap_or(0))).collect();
        let count = tokens.len();
        let tokens = Tensor::from_data(TensorData::new(tokens, [count]), &self.decoder.device());
        let hidden = self.decoder.step(tokens, &mut self.cache);
        self.draw(0, hidden, next);
    }

    /// Draws the next token of the rows from `first` on, from `states` `[rows, model]`, and gives up those that end.
    fn draw(&mut self, first: usize, states: Tensor<B, 2>, next: &mut NextOfEach<'_>) {
        let mut logits = numbers(self.decoder.logits(states));
        let rows = &mut self.running[first..];
        let prompts: Vec<usize> = rows.iter().map(|row| row.prompt).collect();
        for (row, next) in rows.iter_mut().zip(next(&prompts, &mut logits)) {
            let written = &mut self.written[row.prompt];
            row.token = match next {
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
        for row in (0..self.running.len()).rev() {
            if self.running[row].token.is_none() {
                self.running.swap_remove(row);
                self.cache.swap_remove(row);
            }
        }
    }
}

/// The numbers of a tensor, as 32 bits.
fn numbers<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    let data = tensor.into_data();
    if data.dtype != DType::F32 {
        return data.iter().collect();
    }
    data.into_vec().unwrap_or_default()
}

/// `log p(continuation | prompt)` of every continuation of every prompt, summed over its tokens.
///
/// What prompts begin with alike is read once, and so is what continuations of a prompt share, unless what is to be
/// remembered for that does not fit the memory.
///
/// # Shapes
/// `continuations[i]` holds those of `prompts[i]`; so does the result.
///
/// # Errors
/// [`Error::NoTokens`], [`Error::UnknownToken`], [`Error::TooLong`].
pub fn continuation_log_probs<B: Backend>(
    decoder: &Decoder<B>,
    prompts: &[Vec<u32>],
    continuations: &[Vec<Vec<u32>>],
    engine: &Engine,
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
    let (sequences, asked): (Vec<Vec<u32>>, Vec<Vec<Asked>>) = rows.into_iter().unzip();
    let token = KvCache::<B>::bytes_per_token(decoder.config(), decoder.dtype()).max(1);
    let mut steps = plan(&sequences, engine.share_prefixes);
    if longest_open(&steps) > engine.cache_bytes / token {
        steps = plan(&sequences, false);
    }
    let sums = continuations.iter().map(|each| vec![0.0; each.len()]).collect();
    let wanted = wanted_in_open(&steps, &asked).into_iter();
    let (path, open) = (Vec::new(), Vec::new());
    let mut scoring = Scoring { decoder, sequences, asked, sums, wanted, path, open };
    scoring.all(steps);
    Ok(scoring.sums)
}

/// A token to score: the position that predicts it, the token, its prompt and its place among the continuations.
#[derive(Debug, Clone, Copy)]
struct Asked {
    position: usize,
    token: u32,
    prompt: usize,
    place: usize,
}

/// Rows of tokens and what to score in them. If all of a prompt's continuations are single tokens, one row serves.
fn scored_rows(
    index: usize,
    prompt: &[u32],
    continuations: &[Vec<u32>],
) -> Vec<(Vec<u32>, Vec<Asked>)> {
    let last = prompt.len() - 1;
    let asked = |step: usize, token: u32, place: usize| Asked {
        position: last + step,
        token,
        prompt: index,
        place,
    };
    if continuations.is_empty() {
        return Vec::new();
    }
    if continuations.iter().all(|continuation| continuation.len() == 1) {
        let tokens = continuations.iter().flatten().enumerate();
        let tokens = tokens.map(|(place, &token)| asked(0, token, place)).collect();
        return vec![(prompt.to_vec(), tokens)];
    }
    let row = |(place, continuation): (usize, &Vec<u32>)| {
        let (_, read) = continuation.split_last()?;
        let tokens = continuation.iter().enumerate();
        let tokens = tokens.map(|(step, &token)| asked(step, token, place)).collect();
        Some(([prompt, read].concat(), tokens))
    };
    continuations.iter().enumerate().filter_map(row).collect()
}

/// For every stretch that is opened, in their order, the positions in it that predict what is asked, in order.
fn wanted_in_open(steps: &[Step], asked: &[Vec<Asked>]) -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = Vec::new();
    let mut open: Vec<(usize, &Range<usize>)> = Vec::new();
    for step in steps {
        match step {
            Step::Open { tokens, .. } => {
                open.push((all.len(), tokens));
                all.push(Vec::new());
            }
            Step::Close => drop(open.pop()),
            Step::Read { sequences, .. } => {
                for one in sequences.iter().flat_map(|&sequence| &asked[sequence]) {
                    let holder = open.iter().find(|(_, tokens)| tokens.contains(&one.position));
                    if let Some(&(index, _)) = holder {
                        all[index].push(one.position);
                    }
                }
            }
        }
    }
    for positions in &mut all {
        positions.sort_unstable();
        positions.dedup();
    }
    all
}

/// States of a stretch that is open, of the positions that are wanted in it.
#[derive(Clone)]
struct Open<B: Backend> {
    positions: Vec<usize>,
    states: Tensor<B, 2>,
}

struct Scoring<'a, B: Backend> {
    decoder: &'a Decoder<B>,
    sequences: Vec<Vec<u32>>,
    asked: Vec<Vec<Asked>>,
    sums: Vec<Vec<f64>>,
    /// The positions that are wanted in the stretches still to be opened.
    wanted: std::vec::IntoIter<Vec<usize>>,
    /// What is open.
    path: Vec<Prefix<B>>,
    /// The same, of each stretch the states that are wanted, if any.
    open: Vec<Option<Open<B>>>,
}

impl<B: Backend> Scoring<'_, B> {
    fn all(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Open { sequence, tokens } => self.open(sequence, tokens),
                Step::Close => {
                    self.path.pop();
                    self.open.pop();
                }
                Step::Read { mut sequences, from } => {
                    sequences.reverse();
                    while !sequences.is_empty() {
                        let length = |&sequence: &usize| self.sequences[sequence].len() - from;
                        let batch = take(&mut sequences, usize::MAX, length);
                        self.read(&batch, from);
                    }
                }
            }
        }
    }

    fn open(&mut self, sequence: usize, tokens: Range<usize>) {
        let positions = self.wanted.next().unwrap_or_default();
        let start = tokens.start;
        let tokens = pad_right(&[&self.sequences[sequence][tokens]], &self.decoder.device());
        if positions.is_empty() {
            self.path.push(self.decoder.remember(tokens, &self.path));
            self.open.push(None);
            return;
        }
        let places: Vec<usize> = positions.iter().map(|position| position - start).collect();
        let (states, prefix) = self.decoder.read(tokens, &self.path, &places);
        self.path.push(prefix);
        self.open.push(Some(Open { positions, states }));
    }

    /// Reads the rests of sequences and scores what is asked in them, and of them in what is open.
    fn read(&mut self, batch: &[usize], from: usize) {
        let tokens: Vec<&[u32]> =
            batch.iter().map(|&sequence| &self.sequences[sequence][from..]).collect();
        let lengths: Vec<usize> = tokens.iter().map(|row| row.len()).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let tokens = pad_right(&tokens, &self.decoder.device());
        let asked: Vec<(usize, Asked)> = batch
            .iter()
            .enumerate()
            .flat_map(|(row, &sequence)| self.asked[sequence].iter().map(move |&one| (row, one)))
            .collect();
        let own = asked.iter().filter(|(_, one)| one.position >= from);
        let own: Vec<(usize, Asked)> =
            own.map(|&(row, one)| (row * longest + one.position - from, one)).collect();
        let mut wanted: Vec<usize> = own.iter().map(|&(place, _)| place).collect();
        wanted.sort_unstable();
        wanted.dedup();
        // Whose continuations are all asked for in what is open needs no reading.
        if !wanted.is_empty() {
            let (path, places) = (&self.path, Some(wanted.as_slice()));
            let states = self.decoder.extend(tokens, &lengths, path, places, &mut |_, _| {});
            self.score(states, &wanted, own);
        }
        for Open { positions, states } in self.open.clone().into_iter().flatten() {
            let within =
                asked.iter().filter(|(_, one)| positions.binary_search(&one.position).is_ok());
            let within = within.map(|&(_, one)| (one.position, one)).collect();
            self.score(states, &positions, within);
        }
    }

    /// Adds the log-probabilities of tokens; each comes with the place that predicts it, `states` are those of the `wanted` places,
    /// which are in order.
    fn score(&mut self, states: Tensor<B, 2>, wanted: &[usize], asked: Vec<(usize, Asked)>) {
        if asked.is_empty() {
            return;
        }
        let (places, asked): (Vec<usize>, Vec<Asked>) = asked.into_iter().unzip();
        let positions = places.iter().map(|place| wanted.partition_point(|other| other < place));
        let tokens = asked.iter().map(|one| one.token).collect();
        let targets = Targets { positions: positions.collect(), tokens };
        let log_probs = token_log_probs(self.decoder, states.unsqueeze_dim(0), &targets);
        for (one, log_prob) in asked.into_iter().zip(log_probs.into_data().iter::<f64>()) {
            self.sums[one.prompt][one.place] += log_prob;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_wanted_where_they_predict_what_is_asked() {
        let rows: Vec<Vec<u32>> = [[7, 8], [7, 9], [5, 5]]
            .map(|own| [vec![1; 40], vec![2; 40], own.to_vec()].concat())
            .to_vec();
        let steps = plan(&rows, true);
        let opened = |step: &&Step| matches!(step, Step::Open { .. });
        assert_eq!(steps.iter().filter(opened).count(), 1, "{steps:?}");
        let asked = |position| Asked { position, token: 0, prompt: 0, place: 0 };
        let asked = [vec![asked(79), asked(80)], vec![asked(79)], vec![asked(30), asked(81)]];
        assert_eq!(wanted_in_open(&steps, &asked), [vec![30, 79]]);
        assert_eq!(wanted_in_open(&steps, &[vec![], vec![], vec![]]), [Vec::<usize>::new()]);
    }
}
