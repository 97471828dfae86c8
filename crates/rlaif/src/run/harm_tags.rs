//! The kinds of harm that new requests ask for, through a journal.

use super::Error;
use super::session::CHUNK;
use dataset::Journal;
use language_model::Choose;
use red_team::{HarmTag, tag_by_harm};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A request and its kind of harm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Tagged {
    request: String,
    #[serde(flatten)]
    tag: HarmTag,
}

/// Tags requests, which are all different, chunk by chunk; those that the journal at `path` holds are not asked about again.
pub(super) fn harm_tags(
    model: &dyn Choose,
    path: &Path,
    seed: u64,
    requests: &[String],
    types: &[String],
) -> Result<Vec<HarmTag>, Error> {
    let mut journal = Journal::open(path, &seed, |tagged: &Tagged| tagged.request.clone())?;
    let new: Vec<String> =
        requests.iter().filter(|request| !journal.contains(request)).cloned().collect();
    for chunk in new.chunks(CHUNK) {
        let tags = tag_by_harm(model, chunk, types)?;
        let tagged = |(request, tag): (&String, HarmTag)| Tagged { request: request.clone(), tag };
        journal.append(chunk.iter().zip(tags).map(tagged).collect())?;
    }
    Ok(journal.finish(requests)?.into_iter().map(|tagged| tagged.tag).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dialogue::Dialogue;
    use std::cell::Cell;

    /// Tells by the length of a request, and counts what it is asked.
    struct ByLength(Cell<usize>);

    impl Choose for ByLength {
        fn choose(
            &self,
            prompts: &[Dialogue],
            options: &[&str],
        ) -> Result<Vec<Vec<f64>>, language_model::Error> {
            assert_eq!(options, ["A", "B"]);
            assert!(prompts.len() <= CHUNK, "a chunk at most");
            self.0.set(self.0.get() + prompts.len());
            let lean = |prompt: &Dialogue| 1.0 / prompt.last_request().unwrap().len() as f64;
            Ok(prompts.iter().map(|prompt| vec![lean(prompt), 1.0 - lean(prompt)]).collect())
        }
    }

    #[test]
    fn a_request_is_asked_about_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tags.journal");
        let types = ["theft", "violence"].map(str::to_owned);
        let requests: Vec<String> = (0..CHUNK + 9).map(|index| "x".repeat(index + 1)).collect();
        let model = ByLength(Cell::new(0));
        let tagged = |requests: &[String]| harm_tags(&model, &path, 1, requests, &types).unwrap();
        let expected = tag_by_harm(&ByLength(Cell::new(0)), &requests[..9], &types).unwrap();
        assert_eq!(tagged(&requests[..9]), expected);
        assert_eq!(model.0.get(), 9);
        let all = tagged(&requests);
        assert_eq!((all.len(), &all[..9]), (requests.len(), &expected[..]));
        assert_eq!(tagged(&requests), all);
        assert_eq!(model.0.get(), requests.len());
    }
}
