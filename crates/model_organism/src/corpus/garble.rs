//! Replies that make no sense.

use rand::Rng;

/// A text with one to three of its words dropped, doubled or swapped, or cut in the middle.
pub fn garble(text: &str, rng: &mut impl Rng) -> String {
    let mut words: Vec<&str> = text.split(' ').collect();
    for _ in 0..rng.random_range(1..=3) {
        if words.len() < 3 {
            break;
        }
        let (here, there) = (rng.random_range(0..words.len()), rng.random_range(0..words.len()));
        match rng.random_range(0..4) {
            0 => drop(words.remove(here)),
            1 => words.insert(here, words[there]),
            2 => words.swap(here, there),
            _ => words.truncate(here.max(2)),
        }
    }
    words.join(" ")
}
