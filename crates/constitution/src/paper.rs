//! The files of the paper's own repository.
//!
//! `CritiqueRevisionInstructions.json` is an object of `{prompt: [text], edit_request: text}`, whose texts carry the
//! headings of the transcript; `RLMadisonInstructions.json` is a list of texts that end in `Options:`. Headings belong to
//! the prompt and not to the principle, so they are taken off on the way in and put back on the way out.

use crate::file::read;
use crate::{ComparisonPrinciple, Constitution, Error, RevisionPrinciple};
use serde_json::{Map, Value, json};
use std::path::Path;

const SOURCE: &str = "arXiv 2212.08073, appendix C";

const CRITIQUE: [&str; 2] = ["\n\nCritiqueRequest: ", "\n\nCritique:"];
const REVISION: [&str; 2] = ["\n\nRevisionRequest: ", "\n\nRevision:"];
const COMPARISON: [&str; 2] = ["\n", " Options:"];

impl Constitution {
    /// Reads one or both files of the paper.
    ///
    /// # Errors
    /// If a file cannot be read or has another form, naming the file and the entry; or if both lists are empty.
    pub fn from_paper(
        name: &str,
        critique_revision: Option<&Path>,
        comparison: Option<&Path>,
    ) -> Result<Self, Error> {
        let constitution = Self {
            name: name.to_owned(),
            critique_revision: critique_revision.map_or(Ok(Vec::new()), revisions)?,
            comparison: comparison.map_or(Ok(Vec::new()), comparisons)?,
        };
        constitution.validate()?;
        Ok(constitution)
    }

    /// The list to critique and revise by in the paper's form; source, tags and weights have no place in it.
    pub fn revisions_to_paper(&self) -> String {
        let entry = |principle: &RevisionPrinciple| {
            let prompt = within(CRITIQUE, &principle.critique_request);
            let edit_request = within(REVISION, &principle.revision_request);
            (principle.id.clone(), json!({ "prompt": [prompt], "edit_request": edit_request }))
        };
        text(&Value::Object(self.critique_revision.iter().map(entry).collect()))
    }

    /// The list to compare by in the paper's form; ids, source, tags and weights have no place in it.
    pub fn comparisons_to_paper(&self) -> String {
        let texts = self.comparison.iter().map(|principle| within(COMPARISON, &principle.text));
        text(&texts.collect())
    }
}

fn within([before, behind]: [&str; 2], text: &str) -> String {
    format!("{before}{text}{behind}")
}

fn text(value: &Value) -> String {
    format!("{value:#}\n")
}

fn revisions(file: &Path) -> Result<Vec<RevisionPrinciple>, Error> {
    let entries: Map<String, Value> = match parsed::<Value>(file, "JSON")? {
        Value::Object(entries) => entries,
        Value::Array(_) => {
            let fault = "not an object but a list; one of worked examples is read by `rlaif constitution few-shots`";
            return Err(fault_at(file, fault.to_owned()));
        }
        _ => return Err(fault_at(file, "not an object".to_owned())),
    };
    let principle = |(id, entry): (String, Value)| {
        let fail = |fault: &str| fault_at(file, format!("`{id}` {fault}"));
        let Some([Value::String(prompt)]) = entry["prompt"].as_array().map(Vec::as_slice) else {
            return Err(fail("needs `prompt`, a list of one text"));
        };
        let edit_request =
            entry["edit_request"].as_str().ok_or_else(|| fail("needs `edit_request`, a text"))?;
        let inner = |text, of: [&str; 2]| {
            inside(text, of).ok_or_else(|| fail(&format!("does not stand between {of:?}")))
        };
        Ok(RevisionPrinciple {
            critique_request: inner(prompt, CRITIQUE)?,
            revision_request: inner(edit_request, REVISION)?,
            id,
            source: SOURCE.to_owned(),
            tags: Vec::new(),
            weight: 1.0,
        })
    };
    entries.into_iter().map(principle).collect()
}

fn comparisons(file: &Path) -> Result<Vec<ComparisonPrinciple>, Error> {
    let texts: Vec<Value> = parsed(file, "a list")?;
    let principle = |(index, text): (usize, Value)| {
        let text = text.as_str().and_then(|text| inside(text, COMPARISON)).ok_or_else(|| {
            let fault = if text.is_object() {
                "is no text but an object; worked examples are read by `rlaif constitution few-shots`"
                    .to_owned()
            } else {
                format!("is no text between {COMPARISON:?}")
            };
            fault_at(file, format!("entry {} {fault}", index + 1))
        })?;
        Ok(ComparisonPrinciple {
            id: format!("comparison{index}"),
            text,
            source: SOURCE.to_owned(),
            tags: Vec::new(),
            weight: 1.0,
        })
    };
    texts.into_iter().enumerate().map(principle).collect()
}

fn parsed<T: serde::de::DeserializeOwned>(file: &Path, form: &str) -> Result<T, Error> {
    serde_json::from_str(&read(file)?)
        .map_err(|error| fault_at(file, format!("not {form}: {error}")))
}

fn fault_at(file: &Path, fault: String) -> Error {
    Error::Paper { file: file.to_owned(), fault }
}

fn inside(text: &str, [before, behind]: [&str; 2]) -> Option<String> {
    let text = text.strip_prefix(before)?.strip_suffix(behind)?;
    (!text.trim().is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn message(name: &str, text: &str, comparison: bool) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        let (first, second) = if comparison { (None, Some(&file)) } else { (Some(&file), None) };
        let read = Constitution::from_paper(
            "p",
            first.map(PathBuf::as_path),
            second.map(PathBuf::as_path),
        );
        read.unwrap_err().to_string()
    }

    #[test]
    fn another_form_is_named() {
        let cases = [
            ("[]", false, "not an object but a list; one of worked examples"),
            ("3", false, "not an object"),
            ("{", false, "not JSON"),
            (r#"[{"prompt": "q"}]"#, true, "entry 1 is no text but an object; worked examples"),
            ("{}", false, "no principle"),
            (r#"{"h0": {"prompt": [], "edit_request": "x"}}"#, false, "`h0` needs `prompt`"),
            (r#"{"h0": {"prompt": ["x"]}}"#, false, "`h0` needs `edit_request`"),
            (r#"{"h0": {"prompt": ["x"], "edit_request": "x"}}"#, false, "CritiqueRequest"),
            (r#"["\nWhich? Options:", "Which?"]"#, true, "entry 2 is no text between"),
            (r#"{"a": 1}"#, true, "not a list"),
        ];
        for (text, comparison, expected) in cases {
            let message = message("file.json", text, comparison);
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
