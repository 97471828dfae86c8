//! Preferences as tokens.

use crate::fit::STAGE;
use crate::shorten::shortened;
use crate::{Error, Source};
use dialogue::{Dialogue, Preference};
use language_model::item_seed;
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use training::{Fingerprint, Overlong, groups};
use transformer::{Codec, ModelConfig, TokenizedDialogue};

/// Two dialogues with the same prompt, as places among the rows of [`Pairs`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Pair {
    pub(crate) chosen: usize,
    pub(crate) rejected: usize,
    /// Probability that `chosen` is better.
    pub(crate) probability: f64,
    /// The margin by which the better reply should win; none for that of the settings.
    pub(crate) margin: Option<f64>,
    /// The set it comes from, as a place in [`Pairs::names`].
    pub(crate) source: usize,
    /// [`Dialogue::id`] of its prompt, or of the least of those that must be on one side with it: prompts that are one as
    /// they came, or as the model sees them once they lack their oldest turns.
    prompt: String,
}

/// A dialogue as the model reads it.
#[derive(Debug)]
struct Row {
    tokens: Vec<u32>,
    /// Where the last reply stands.
    reply: Range<usize>,
}

/// Preferences whose dialogues are tokenised, every distinct one once.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    rows: Vec<Row>,
    pub(crate) kept: Vec<Pair>,
    /// The names of the sets.
    pub(crate) names: Vec<String>,
    /// Pairs left out since a dialogue is longer than the context.
    pub(crate) overlong: usize,
    /// Pairs whose prompt lacks its oldest turns, since a dialogue is longer than the context.
    pub(crate) shortened: usize,
    /// Pairs left out since both replies are the same: whatever the scores, their margin is 0.
    pub(crate) identical: usize,
}

/// Pairs to train on, and pairs held out.
pub(crate) type Split<'a> = (Vec<&'a Pair>, Vec<&'a Pair>);

/// How many of `all` are held out as a share of them: at least one and not all, unless the share is 0.
pub(crate) fn held_out_count(share: f64, all: usize, what: &'static str) -> Result<usize, Error> {
    if share <= 0.0 {
        return Ok(0);
    }
    if all < 2 {
        return Err(Error::NothingHeldOut { share, all, what });
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a length"
    )]
    let count = (share * all as f64).round() as usize;
    Ok(count.clamp(1, all - 1))
}

impl Pairs {
    /// Tokenises sets of preferences.
    pub(crate) fn new(
        codec: &Codec,
        model: &ModelConfig,
        sources: &[Source<'_>],
        overlong: Overlong,
    ) -> Result<Self, Error> {
        let mut reader = Reader { codec, model, overlong, seen: HashMap::new() };
        let mut found = Self::default();
        for (place, source) in sources.iter().enumerate() {
            source.validate()?;
            found.names.push(source.name.to_owned());
            for (index, preference) in source.preferences.iter().enumerate() {
                let &Preference { probability, .. } = preference;
                if !(0.0..=1.0).contains(&probability) {
                    let set = source.name.to_owned();
                    return Err(Error::Probability { set, index, found: probability });
                }
                let margin = source.margins.get(index).copied();
                found.admit(&mut reader, preference, Place { source: place, index, margin })?;
            }
        }
        found.group();
        Ok(found)
    }

    /// The tokens of a dialogue.
    pub(crate) fn row(&self, row: usize) -> &[u32] {
        &self.rows[row].tokens
    }

    /// The tokens of the last reply of a dialogue, the token that ends it included.
    pub(crate) fn reply_tokens(&self, row: usize) -> usize {
        self.rows[row].reply.len()
    }

    /// The tokens before the last reply of a dialogue.
    fn prompt(&self, row: usize) -> &[u32] {
        let Row { tokens, reply } = &self.rows[row];
        &tokens[..reply.start]
    }

    /// The tokens of the longer dialogue.
    fn longest(&self, pair: &Pair) -> usize {
        self.row(pair.chosen).len().max(self.row(pair.rejected).len())
    }

    /// The tokens of both dialogues of a pair.
    pub(crate) fn tokens(&self, pair: &Pair) -> usize {
        self.row(pair.chosen).len() + self.row(pair.rejected).len()
    }

    /// A hash of everything that is learnt from.
    pub(crate) fn fingerprint(&self) -> String {
        let rows = self.rows.iter().fold(Fingerprint::default(), |hash, row| {
            let tokens: Vec<u8> = row.tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
            hash.with_bytes("tokens", &tokens)
        });
        self.kept
            .iter()
            .fold(rows, |hash, pair| hash.with("pair", pair))
            .with("names", &self.names)
            .with("left_out", &(self.overlong, self.shortened, self.identical))
            .finish()
    }

    /// The error that says why no pair is left.
    pub(crate) fn none_left(&self) -> Error {
        Error::NoPreferences { overlong: self.overlong, identical: self.identical }
    }

    /// Gives prompts that must be on one side one name.
    fn group(&mut self) {
        let prompts = self.kept.iter().map(|pair| (pair.prompt.clone(), self.prompt(pair.chosen)));
        let groups = groups(prompts);
        for (pair, group) in self.kept.iter_mut().zip(groups) {
            pair.prompt = group;
        }
    }

    /// Pairs to train on and pairs held out. The share counts prompts, so that no prompt is on both sides, neither as it came
    /// nor as the model sees it; at least one is on each, unless nothing is held out. Which are held out depends on the seed
    /// and on what the prompts say, not on their order.
    pub(crate) fn split(&self, share: f64, seed: u64) -> Result<Split<'_>, Error> {
        let all: Vec<&Pair> = self.kept.iter().collect();
        let mut prompts = shuffled_prompts(&all, "held_out", seed);
        prompts.truncate(held_out_count(share, prompts.len(), "prompt")?);
        let held_out: HashSet<&str> = prompts.into_iter().collect();
        Ok(all.into_iter().partition(|pair| !held_out.contains(pair.prompt.as_str())))
    }

    /// Keeps a pair, or counts why not.
    fn admit(
        &mut self,
        reader: &mut Reader<'_>,
        preference: &Preference,
        place: Place,
    ) -> Result<(), Error> {
        let context = reader.model.max_position_embeddings;
        let mut pair = self.pair(reader, preference, place)?;
        let tokens = self.longest(&pair);
        if tokens > context {
            match reader.overlong {
                Overlong::Error => {
                    let (set, index) = (self.names[place.source].clone(), place.index);
                    return Err(Error::Overlong { set, index, tokens, context });
                }
                Overlong::OldestTurns => {
                    let Some(shorter) = shortened(reader.codec, preference, context)? else {
                        self.overlong += 1;
                        return Ok(());
                    };
                    self.shortened += 1;
                    pair = Pair { prompt: pair.prompt, ..self.pair(reader, &shorter, place)? };
                }
                Overlong::Drop => {
                    self.overlong += 1;
                    return Ok(());
                }
            }
        }
        if self.row(pair.chosen) == self.row(pair.rejected) {
            self.identical += 1;
        } else {
            self.kept.push(pair);
        }
        Ok(())
    }

    /// A preference with its dialogues as rows.
    fn pair(
        &mut self,
        reader: &mut Reader<'_>,
        preference: &Preference,
        place: Place,
    ) -> Result<Pair, Error> {
        let dialogues = [preference.chosen_dialogue(), preference.rejected_dialogue()];
        let [mut chosen, mut rejected] = [0; 2];
        for (row, dialogue) in [&mut chosen, &mut rejected].into_iter().zip(dialogues) {
            *row = self.tokenise(reader, dialogue)?;
            self.check_row(reader.model, *row, place)?;
        }
        let prompt = preference.prompt.id();
        let Place { source, margin, .. } = place;
        Ok(Pair { chosen, rejected, probability: preference.probability, margin, source, prompt })
    }

    /// Says why a decoder cannot read a dialogue of a preference, whatever its length.
    fn check_row(&self, model: &ModelConfig, row: usize, place: Place) -> Result<(), Error> {
        let Place { source, index, .. } = place;
        let (set, tokens) = (|| self.names[source].clone(), self.row(row));
        if tokens.is_empty() {
            return Err(Error::NoTokens { set: set(), index });
        }
        let vocabulary = model.vocab_size;
        match unknown_token(model, tokens) {
            Some(token) => Err(Error::UnknownToken { set: set(), index, token, vocabulary }),
            None => Ok(()),
        }
    }

    fn tokenise(&mut self, reader: &mut Reader<'_>, dialogue: Dialogue) -> Result<usize, Error> {
        if let Some(&row) = reader.seen.get(&dialogue) {
            return Ok(row);
        }
        let found = reader.codec.encode_dialogue(&dialogue)?;
        let reply = last_reply(&found);
        self.rows.push(Row { tokens: found.tokens, reply });
        reader.seen.insert(dialogue, self.rows.len() - 1);
        Ok(self.rows.len() - 1)
    }
}

/// What reads dialogues.
struct Reader<'a> {
    codec: &'a Codec,
    model: &'a ModelConfig,
    overlong: Overlong,
    /// The rows of dialogues that were read before.
    seen: HashMap<Dialogue, usize>,
}

/// Where a preference comes from.
#[derive(Debug, Clone, Copy)]
struct Place {
    source: usize,
    /// In its set.
    index: usize,
    margin: Option<f64>,
}

/// Two halves of some pairs, of as equal numbers of prompts as can be and with no prompt in both. Which half a prompt is in
/// depends on the seed and on what the prompts say.
pub(crate) fn halves<'a>(pairs: &[&'a Pair], seed: u64) -> [Vec<&'a Pair>; 2] {
    let mut prompts = shuffled_prompts(pairs, "half", seed);
    prompts.truncate(prompts.len() / 2);
    let second: HashSet<&str> = prompts.into_iter().collect();
    let (first, second) =
        pairs.iter().copied().partition(|pair| !second.contains(pair.prompt.as_str()));
    [first, second]
}

/// The prompts of pairs, every one once, in an order that the seed and `purpose` decide.
fn shuffled_prompts<'a>(pairs: &[&'a Pair], purpose: &str, seed: u64) -> Vec<&'a str> {
    let distinct: HashSet<&str> = pairs.iter().map(|pair| pair.prompt.as_str()).collect();
    let mut prompts: Vec<&str> = distinct.into_iter().collect();
    prompts.sort_by_cached_key(|prompt| (item_seed(seed, &[STAGE, purpose, prompt]), *prompt));
    prompts
}

/// Where the last turn of the assistant stands; at the end and empty if there is none.
fn last_reply(dialogue: &TokenizedDialogue) -> Range<usize> {
    let assistant = &dialogue.assistant;
    let end = assistant.iter().rposition(|&said| said).map_or(assistant.len(), |last| last + 1);
    let start = assistant[..end].iter().rposition(|&said| !said).map_or(0, |last| last + 1);
    start..end
}

/// Says why a decoder cannot read the tokens of dialogue `index`, whatever their number.
pub(crate) fn check_tokens(
    config: &ModelConfig,
    index: usize,
    tokens: &[u32],
) -> Result<(), transformer::Error> {
    if tokens.is_empty() {
        return Err(transformer::Error::NoTokens { what: "dialogue", index });
    }
    let vocabulary = config.vocab_size;
    match unknown_token(config, tokens) {
        Some(token) => Err(transformer::Error::UnknownToken { index, token, vocabulary }),
        None => Ok(()),
    }
}

/// The first token that is not in the vocabulary.
fn unknown_token(config: &ModelConfig, tokens: &[u32]) -> Option<u32> {
    tokens.iter().copied().find(|&token| token as usize >= config.vocab_size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::model_config as config;
    use crate::testing::{codec, preference};

    fn pairs(preferences: &[Preference], overlong: Overlong) -> Result<Pairs, Error> {
        Pairs::new(&codec(), &config(), &[Source::new("set", preferences)], overlong)
    }

    #[test]
    fn tokenises_every_distinct_dialogue_once() {
        let preferences = [preference("q", "a", "b", 0.9), preference("q", "b", "c d", 0.6)];
        let found = pairs(&preferences, Overlong::Drop).unwrap();
        assert_eq!(found.rows.len(), 3);
        assert_eq!(found.kept[0].rejected, found.kept[1].chosen);
        // <user> q <end> <assistant> a <end>, twice.
        assert_eq!(found.tokens(&found.kept[0]), 12);
        // a <end>, and c d <end>.
        assert_eq!([0, 2].map(|row| found.reply_tokens(row)), [2, 3]);
    }

    #[test]
    fn the_last_reply_is_what_the_assistant_said_last() {
        let dialogue = |assistant: &[u8]| TokenizedDialogue {
            tokens: vec![0; assistant.len()],
            assistant: assistant.iter().map(|&said| said == 1).collect(),
        };
        for (assistant, expected) in [
            (&[0, 1, 1, 0, 1, 1, 1][..], 4..7),
            (&[0, 1, 1, 0, 0], 1..3),
            (&[1], 0..1),
            (&[0, 0], 2..2),
            (&[], 0..0),
        ] {
            assert_eq!(last_reply(&dialogue(assistant)), expected, "{assistant:?}");
        }
    }

    #[test]
    fn leaves_out_and_counts_what_teaches_nothing() {
        let long = vec!["a"; 20].join(" ");
        let preferences = [
            preference("q", "a", "a", 0.9),
            preference("q", &long, "b", 0.9),
            preference("q", "a", "b", 0.9),
        ];
        let found = pairs(&preferences, Overlong::Drop).unwrap();
        assert_eq!((found.kept.len(), found.overlong, found.identical), (1, 1, 1));
        let error = pairs(&preferences, Overlong::Error).unwrap_err();
        assert!(
            matches!(&error, Error::Overlong { set, index: 1, tokens: 25, context: 16 } if set == "set"),
            "{error}"
        );
    }

    #[test]
    fn long_prompts_lose_their_oldest_turns() {
        let short = preference("q", "a", "b", 0.9);
        let prompt = Dialogue::from_user("a b c").with_assistant("b c d a b").with_user("q");
        let long = Preference { prompt, ..short.clone() };
        let hopeless = preference("q", &["a"; 20].join(" "), "b", 0.9);
        let preferences = [long, hopeless, short];
        let found = pairs(&preferences, Overlong::OldestTurns).unwrap();
        assert_eq!((found.kept.len(), found.shortened, found.overlong), (2, 1, 1));
        // What is left is what the short one is.
        assert_eq!(found.kept[0], found.kept[1]);
        assert_eq!(pairs(&preferences, Overlong::Drop).unwrap().kept.len(), 1);
    }

    #[test]
    fn names_a_label_that_is_no_probability() {
        for found in [-0.1, 1.1, f64::NAN] {
            let preferences = [preference("q", "a", "b", 0.5), preference("q", "a", "b", found)];
            let message = pairs(&preferences, Overlong::Drop).unwrap_err().to_string();
            assert!(message.starts_with("preference 1 of `set`: `probability` is "), "{message}");
        }
    }

    #[test]
    fn names_a_preference_that_the_model_cannot_read() {
        // "good" is token 10.
        let mut model = config();
        model.vocab_size = 10;
        let people = [preference("q", "a", "b", 0.9)];
        let ai = [preference("q", "a", "b", 0.9), preference("q", "a", "b good", 0.9)];
        let sources = [Source::new("people", &people), Source::new("ai", &ai)];
        let error = Pairs::new(&codec(), &model, &sources, Overlong::Drop).unwrap_err();
        let message = error.to_string();
        let expected = "preference 1 of `ai` holds token 10, but the vocabulary has 10 tokens";
        assert!(message.starts_with(expected), "{message}");

        let mut found = pairs(&people, Overlong::Drop).unwrap();
        found.rows[0].tokens.clear();
        let place = Place { source: 0, index: 2, margin: None };
        let message = found.check_row(&config(), 0, place).unwrap_err().to_string();
        assert!(message.starts_with("preference 2 of `set` has a dialogue without"), "{message}");
    }

    #[test]
    fn pairs_know_their_set_and_its_margins() {
        let (first, second) = ([preference("q", "a", "b", 0.9)], [preference("q", "c", "b", 0.9)]);
        let sources =
            [Source::new("first", &first), Source::new("second", &second).with_margins(&[0.5])];
        let found = Pairs::new(&codec(), &config(), &sources, Overlong::Error).unwrap();
        let known: Vec<_> = found.kept.iter().map(|pair| (pair.source, pair.margin)).collect();
        assert_eq!(known, [(0, None), (1, Some(0.5))]);
        assert_eq!(found.names, ["first", "second"]);
        assert_eq!(found.kept[0].rejected, found.kept[1].rejected);
    }

    fn many() -> Vec<Preference> {
        let mut preferences = Vec::new();
        for prompt in ["a", "b", "c", "d", "good", "bad", "q", "a a", "a b", "a c"] {
            for (chosen, rejected) in [("a", "b"), ("b", "c"), ("c", "a")] {
                preferences.push(preference(prompt, chosen, rejected, 0.8));
            }
        }
        preferences
    }

    fn prompts(pairs: &[&Pair]) -> HashSet<String> {
        pairs.iter().map(|pair| pair.prompt.clone()).collect()
    }

    #[test]
    fn no_prompt_is_on_both_sides() {
        let mut preferences = many();
        let found = pairs(&preferences, Overlong::Drop).unwrap();
        let (training, held_out) = found.split(0.3, 1).unwrap();
        assert_eq!((training.len(), held_out.len()), (21, 9));
        assert!(prompts(&training).is_disjoint(&prompts(&held_out)));

        preferences.reverse();
        let reversed = pairs(&preferences, Overlong::Drop).unwrap();
        assert_eq!(prompts(&reversed.split(0.3, 1).unwrap().1), prompts(&held_out));
        assert_ne!(prompts(&found.split(0.3, 2).unwrap().1), prompts(&held_out));
    }

    /// Of each opening a pair that fits, one that loses its opening since a reply is long, and one that begins where the
    /// second is cut.
    fn cut() -> Vec<Preference> {
        let long = ["b"; 8].join(" ");
        let of = |opening: &str, question: &str| {
            let asked = Dialogue::from_user(opening).with_assistant("b").with_user(question);
            let whole = Preference { prompt: asked, ..preference("", "a", "b", 0.9) };
            let cut = Preference { chosen: long.clone(), ..whole.clone() };
            [whole, cut, preference(question, "a", "b", 0.9)]
        };
        let openings = ["a", "b", "c", "d", "q", "r"];
        let questions = ["a good", "b good", "c good", "d good", "q good", "r good"];
        openings.into_iter().zip(questions).flat_map(|(o, q)| of(o, q)).collect()
    }

    #[test]
    fn a_prompt_that_is_cut_stays_on_the_side_of_the_whole_and_of_what_it_looks_like() {
        let mut preferences = cut();
        let found = pairs(&preferences, Overlong::OldestTurns).unwrap();
        assert_eq!((found.kept.len(), found.shortened), (18, 6));
        assert_eq!(prompts(&found.kept.iter().collect::<Vec<_>>()).len(), 6);
        for alike in found.kept.chunks(3) {
            assert!(alike.iter().all(|pair| pair.prompt == alike[0].prompt), "{alike:?}");
            assert_eq!(found.prompt(alike[1].chosen), found.prompt(alike[2].chosen));
        }
        let (training, held_out) = found.split(0.34, 1).unwrap();
        assert_eq!((training.len(), held_out.len()), (12, 6));

        preferences.reverse();
        let reversed = pairs(&preferences, Overlong::OldestTurns).unwrap();
        assert_eq!(prompts(&reversed.split(0.34, 1).unwrap().1), prompts(&held_out));
        // Where nothing is cut, prompts go by their own names.
        let whole = pairs(&many(), Overlong::OldestTurns).unwrap();
        let own: HashSet<String> = many().iter().map(|one| one.prompt.id()).collect();
        assert_eq!(prompts(&whole.kept.iter().collect::<Vec<_>>()), own);
    }

    #[test]
    fn at_least_one_prompt_is_on_each_side_unless_nothing_is_held_out() {
        let preferences = many();
        let found = pairs(&preferences, Overlong::Drop).unwrap();
        for (share, held_out) in [(0.0, 0), (0.001, 3), (0.1, 3), (0.999, 27)] {
            let (training, found) = found.split(share, 1).unwrap();
            assert_eq!((training.len(), found.len()), (30 - held_out, held_out), "{share}");
        }
        let alone = pairs(&preferences[..3], Overlong::Drop).unwrap();
        assert_eq!(alone.split(0.0, 1).unwrap().0.len(), 3);
        let error = alone.split(0.1, 1).unwrap_err();
        assert!(matches!(error, Error::NothingHeldOut { all: 1, what: "prompt", .. }), "{error}");
        assert!(error.to_string().contains("`held_out` is 0.1"), "{error}");
    }

    #[test]
    fn halves_share_no_prompt() {
        let found = pairs(&many(), Overlong::Drop).unwrap();
        let (training, _) = found.split(0.3, 1).unwrap();
        let [first, second] = halves(&training, 1);
        assert_eq!((first.len(), second.len()), (12, 9));
        assert!(prompts(&first).is_disjoint(&prompts(&second)));
        assert_ne!(prompts(&halves(&training, 2)[0]), prompts(&first));
        assert_eq!(halves(&training[..1], 1).map(|half| half.len()), [1, 0]);
    }
}
