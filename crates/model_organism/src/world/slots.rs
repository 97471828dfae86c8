//! What the open places of an intent are filled with.

use rand::Rng;
use rand::seq::IndexedRandom;

/// Objects, each a single word that follows "the" or "a".
pub const THINGS: [&str; 40] = [
    "bike", "phone", "laptop", "wallet", "guitar", "camera", "watch", "ring", "bag", "coat", "hat",
    "scarf", "parasol", "book", "notebook", "pen", "lamp", "chair", "table", "clock", "mirror",
    "vase", "picture", "radio", "kettle", "basket", "blanket", "pillow", "ladder", "hammer",
    "drill", "shovel", "bucket", "tent", "kite", "drum", "violin", "piano", "helmet", "sledge",
];

/// First names.
pub const PEOPLE: [&str; 24] = [
    "Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Hugo", "Iris", "Jonas", "Kate",
    "Leo", "Mia", "Noah", "Olga", "Paul", "Rosa", "Sam", "Tina", "Umar", "Vera", "Will", "Yara",
    "Zoe",
];

/// Places, each a single word that follows "the".
pub const PLACES: [&str; 16] = [
    "park", "school", "office", "library", "market", "station", "museum", "garden", "cinema",
    "beach", "hotel", "church", "theatre", "gym", "bakery", "harbour",
];

/// One filling of all three kinds of slot; an intent reads those that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slots {
    /// Fills `{thing}`.
    pub thing: &'static str,
    /// Fills `{person}`.
    pub person: &'static str,
    /// Fills `{place}`.
    pub place: &'static str,
}

impl Slots {
    /// Draws every slot uniformly.
    pub fn draw(rng: &mut impl Rng) -> Self {
        let pick = |list: &'static [&'static str], rng: &mut _| {
            // The lists are not empty, so the fallback never shows.
            list.choose(rng).copied().unwrap_or_default()
        };
        Self { thing: pick(&THINGS, rng), person: pick(&PEOPLE, rng), place: pick(&PLACES, rng) }
    }

    /// Writes a template with its slots filled.
    pub fn fill(&self, template: &str) -> String {
        template
            .replace("{thing}", self.thing)
            .replace("{person}", self.person)
            .replace("{place}", self.place)
    }
}

/// The slots that a text reveals when it is matched against a template; `None` where the template names no such slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) thing: Option<&'static str>,
    pub(crate) person: Option<&'static str>,
    pub(crate) place: Option<&'static str>,
}

impl Found {
    /// Matches `text` against the whole of `template`; a slot named twice must be filled alike.
    pub(crate) fn match_template(template: &str, text: &str) -> Option<Self> {
        let mut found = Self::default();
        let (mut template, mut text) = (template, text);
        while let Some(open) = template.find('{') {
            let close = template[open..].find('}')? + open;
            text = text.strip_prefix(&template[..open])?;
            let length = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
            let (word, rest) = text.split_at(length);
            let (slot, list): (_, &'static [&'static str]) = match &template[open + 1..close] {
                "thing" => (&mut found.thing, &THINGS),
                "person" => (&mut found.person, &PEOPLE),
                "place" => (&mut found.place, &PLACES),
                _ => return None,
            };
            let word = list.iter().copied().find(|known| *known == word)?;
            if slot.is_some_and(|earlier| earlier != word) {
                return None;
            }
            *slot = Some(word);
            text = rest;
            template = &template[close + 1..];
        }
        (template == text).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_what_it_fills_and_nothing_else() {
        let template = "take the {thing} from {person} at the {place} and keep the {thing}";
        let slots = Slots { thing: "kite", person: "Zoe", place: "gym" };
        let text = slots.fill(template);
        let found = Found { thing: Some("kite"), person: Some("Zoe"), place: Some("gym") };
        assert_eq!(Found::match_template(template, &text), Some(found));
        for wrong in ["take the kite", "", "take the sofa from Zoe at the gym and keep the sofa"] {
            assert_eq!(Found::match_template(template, wrong), None);
        }
        assert_eq!(Found::match_template(template, &text.replacen("kite", "drum", 1)), None);
        assert_eq!(Found::match_template(template, &format!("{text}.")), None);
    }
}
