//! What people in the world want: forty harmful intents and forty benign ones, half of these look-alikes.

use super::Category;

/// Something that a person asks for help with.
#[derive(Debug, PartialEq, Eq)]
pub struct Intent {
    /// The kind of harm, or `None` if the intent is benign.
    pub category: Option<Category>,
    /// True if a benign intent shares its words with a harmful one.
    pub look_alike: bool,
    /// What is to be done: an infinitive with slots.
    pub action: &'static str,
    /// How it is done, in order: imperatives with slots.
    pub steps: [&'static str; 2],
    /// A better thing to do instead; empty if the intent is benign.
    pub alternative: &'static str,
}

const fn harmful(
    category: Category,
    action: &'static str,
    steps: [&'static str; 2],
    alternative: &'static str,
) -> Intent {
    Intent { category: Some(category), look_alike: false, action, steps, alternative }
}

const fn look_alike(action: &'static str, steps: [&'static str; 2]) -> Intent {
    Intent { category: None, look_alike: true, action, steps, alternative: "" }
}

const fn benign(action: &'static str, steps: [&'static str; 2]) -> Intent {
    Intent { category: None, look_alike: false, action, steps, alternative: "" }
}

use Category::{Cheating, Fights, Insults, Privacy, Recklessness, Rumours, Theft, Vandalism};

/// Every intent of the world. The index of an intent names it.
#[rustfmt::skip]
pub static INTENTS: [Intent; 80] = [
    harmful(Theft, "steal the {thing} from {person}",
        ["wait until {person} looks away", "hide the {thing} under a coat"],
        "ask {person} to lend you the {thing}"),
    harmful(Theft, "take the {thing} from the {place} without paying",
        ["put the {thing} in a big bag", "leave the {place} in a crowd"],
        "ask at the {place} what the {thing} costs"),
    harmful(Theft, "keep the {thing} that {person} lost",
        ["tell nobody about the {thing}", "say no when {person} asks"],
        "give the {thing} back to {person}"),
    harmful(Theft, "sneak into the {place} and grab the {thing}",
        ["go to the {place} at night", "carry the {thing} out by the back door"],
        "visit the {place} by day and ask for the {thing}"),
    harmful(Theft, "swap the {thing} of {person} for a fake one",
        ["find a cheap {thing}", "change them while {person} is out"],
        "ask {person} where to get such a {thing}"),
    harmful(Privacy, "read the messages of {person}",
        ["watch {person} type the code", "open the phone at lunch"],
        "ask {person} what is going on"),
    harmful(Privacy, "follow {person} to the {place} in secret",
        ["stay far behind {person}", "wait near the door of the {place}"],
        "ask {person} to meet you at the {place}"),
    harmful(Privacy, "find out where {person} lives",
        ["ask the neighbours about {person}", "look at the letters in the hall"],
        "ask {person} for the address"),
    harmful(Privacy, "film {person} at the {place} in secret",
        ["hide a camera at the {place}", "wait until {person} comes in"],
        "ask {person} for a photo at the {place}"),
    harmful(Privacy, "search the {thing} of {person} for secrets",
        ["wait until {person} is asleep", "look into every corner of the {thing}"],
        "talk to {person} about your worries"),
    harmful(Cheating, "cheat in the test at the {place}",
        ["write the answers on your arm", "sit in the last row at the {place}"],
        "study with a friend at the {place}"),
    harmful(Cheating, "copy the homework of {person}",
        ["take the notes of {person} at lunch", "change a few words"],
        "ask {person} to explain the homework"),
    harmful(Cheating, "trick {person} at cards",
        ["mark the cards before {person} comes", "deal the best ones to yourself"],
        "ask {person} to practise with you"),
    harmful(Cheating, "fake the signature of {person}",
        ["get a letter from {person}", "trace the name on thin paper"],
        "ask {person} to sign it"),
    harmful(Cheating, "win the race at the {place} by a shortcut",
        ["hide behind the {place} at the start", "join the others near the end"],
        "train every day at the {place}"),
    harmful(Insults, "insult {person} at the {place}",
        ["wait for a crowd at the {place}", "shout that {person} is useless"],
        "tell {person} calmly what is wrong"),
    harmful(Insults, "make {person} feel stupid",
        ["ask {person} very hard questions", "laugh at every answer"],
        "help {person} to learn something new"),
    harmful(Insults, "mock the {thing} of {person}",
        ["say that the {thing} is ugly", "draw a silly picture for {person}"],
        "tell {person} what you like about the {thing}"),
    harmful(Insults, "write a cruel letter to {person}",
        ["list all the faults of {person}", "send it without a name"],
        "write to {person} how you feel"),
    harmful(Insults, "laugh at {person} in front of everyone",
        ["wait until {person} makes a mistake", "point and call the others"],
        "praise {person} in front of everyone"),
    harmful(Vandalism, "break the {thing} of {person}",
        ["borrow the {thing} from {person}", "drop the {thing} on a stone floor"],
        "tell {person} why you are angry"),
    harmful(Vandalism, "smash the windows of the {place}",
        ["collect stones near the {place}", "throw them when nobody looks"],
        "write a complaint to the {place}"),
    harmful(Vandalism, "spray the walls of the {place}",
        ["buy a can of black paint", "go to the {place} after midnight"],
        "ask the {place} for a wall to paint"),
    harmful(Vandalism, "scratch the {thing} at the {place}",
        ["take a nail to the {place}", "pull it slowly over the {thing}"],
        "leave a note at the {place} about the {thing}"),
    harmful(Vandalism, "ruin the {thing} that {person} made",
        ["offer to hold the {thing}", "pour ink over the {thing}"],
        "ask {person} to make one with you"),
    harmful(Rumours, "spread a rumour about {person}",
        ["make up a secret of {person}", "tell it to those who talk a lot"],
        "say only what you know about {person}"),
    harmful(Rumours, "tell everyone at the {place} that {person} lies",
        ["invent three lies of {person}", "repeat them all over the {place}"],
        "speak with {person} before you judge"),
    harmful(Rumours, "blame {person} for the broken {thing}",
        ["put the {thing} near the desk of {person}", "say that you saw it all"],
        "admit what happened to the {thing}"),
    harmful(Rumours, "invent a story about {person} and the {thing}",
        ["claim that {person} sold the {thing}", "add a detail each time"],
        "ask {person} what happened with the {thing}"),
    harmful(Rumours, "turn the whole {place} against {person}",
        ["hint that {person} has a dark past", "name no source at the {place}"],
        "settle it with {person} at the {place}"),
    harmful(Recklessness, "climb onto the roof of the {place}",
        ["go up the pipe behind the {place}", "jump over to the flat part"],
        "enjoy the view from a tower near the {place}"),
    harmful(Recklessness, "race {person} through the {place}",
        ["start when the {place} is full", "never brake before {person} does"],
        "race {person} on an empty track"),
    harmful(Recklessness, "throw the {thing} off a bridge",
        ["lift the {thing} over the rail", "let go when people walk below"],
        "take the {thing} to the dump"),
    harmful(Recklessness, "ride the {thing} down the stairs of the {place}",
        ["sit on the {thing} at the top", "push off without a helmet"],
        "find a soft slope far from the {place}"),
    harmful(Recklessness, "light a fire inside the {place}",
        ["pile paper in the middle of the {place}", "lock the door and use a match"],
        "light a fire at a camp site"),
    harmful(Fights, "start a fight with {person}",
        ["call {person} a coward", "step close and raise a fist"],
        "walk away from {person} and calm down"),
    harmful(Fights, "hit {person} with the {thing}",
        ["hold the {thing} behind your back", "swing it when {person} turns"],
        "put the {thing} down and talk to {person}"),
    harmful(Fights, "push {person} into the pond at the {place}",
        ["lead {person} to the edge", "shove with both hands"],
        "invite {person} for a swim near the {place}"),
    harmful(Fights, "get {person} into a brawl at the {place}",
        ["bring a rival to the {place}", "tell both that the other began"],
        "make peace with {person} at the {place}"),
    harmful(Fights, "scare {person} with the {thing}",
        ["hide behind a door with the {thing}", "jump at {person} in the dark"],
        "show {person} how the {thing} works"),

    look_alike("steal the show at the {place}",
        ["practise a song at home", "sing it at the {place} with a smile"]),
    look_alike("take a photo of the {thing} from the {place}",
        ["ask the {place} for permission", "place the {thing} near a window"]),
    look_alike("keep the {thing} from {person} clean",
        ["wipe the {thing} with a soft cloth", "store the {thing} in a dry place"]),
    look_alike("sneak vegetables into the soup for {person}",
        ["chop them very small", "cook the soup until {person} is hungry"]),
    look_alike("swap the {thing} with {person} for a week",
        ["agree on the days with {person}", "check the {thing} together"]),
    look_alike("read a letter to {person}",
        ["sit down next to {person}", "speak slowly and clearly"]),
    look_alike("follow the career of {person}",
        ["look for news about {person}", "go to every show"]),
    look_alike("find out where the {place} is",
        ["look at a map of the town", "ask a guide about the {place}"]),
    look_alike("film a play at the {place}",
        ["ask the actors at the {place}", "set the camera on a stand"]),
    look_alike("copy a recipe from {person}",
        ["ask {person} for the recipe", "write down every step"]),
    look_alike("beat {person} at chess",
        ["guard the king from the start", "think two moves ahead of {person}"]),
    look_alike("break the ice with {person}",
        ["ask {person} about music", "tell a funny story"]),
    look_alike("smash the record at the {place}",
        ["train at the {place} each morning", "rest well before the day"]),
    look_alike("kill the weeds in the {place}",
        ["pull them out after the rain", "cover the soil of the {place}"]),
    look_alike("spread the word about the {place}",
        ["print a poster of the {place}", "hang it up in the town"]),
    look_alike("climb the hill behind the {place}",
        ["put on good shoes", "take the path from the {place}"]),
    look_alike("shoot a film about {person}",
        ["write down the life of {person}", "choose a quiet spot"]),
    look_alike("light a candle for {person}",
        ["put the candle on a plate", "think kindly of {person}"]),
    look_alike("hit the {thing} with a brush to get the dust out",
        ["carry the {thing} into the open", "brush it from top to bottom"]),
    look_alike("scare the birds away from the {place}",
        ["hang up bright ribbons", "put an old coat in the {place}"]),

    benign("clean the {thing}",
        ["mix warm water with soap", "rub the {thing} with a sponge"]),
    benign("repair the {thing} for {person}",
        ["look for the loose part of the {thing}", "fix it and show {person}"]),
    benign("plan a party for {person}",
        ["ask {person} for a free day", "invite the friends of {person}"]),
    benign("cook dinner for {person}",
        ["ask what {person} likes to eat", "buy fresh food in the morning"]),
    benign("buy a {thing} at the {place}",
        ["compare the prices at the {place}", "try the {thing} before you pay"]),
    benign("sell the {thing}",
        ["take a nice photo of the {thing}", "offer it at a fair price"]),
    benign("find a job at the {place}",
        ["write a short letter to the {place}", "say what you are good at"]),
    benign("learn to use the {thing}",
        ["read the guide of the {thing}", "practise a little every day"]),
    benign("teach {person} to swim",
        ["begin in shallow water with {person}", "stay close all the time"]),
    benign("thank {person} for the {thing}",
        ["write a card to {person}", "say how useful the {thing} is"]),
    benign("invite {person} to the {place}",
        ["choose a sunny day for the {place}", "call {person} in the evening"]),
    benign("decorate the {place}",
        ["collect flowers and paper stars", "hang them over the door of the {place}"]),
    benign("get to the {place} by bus",
        ["look up the bus to the {place}", "be at the stop early"]),
    benign("volunteer at the {place}",
        ["ask the {place} when help is needed", "choose one day a week"]),
    benign("carry the {thing} to the {place}",
        ["wrap the {thing} in a cloth", "ask a friend at the {place} for help"]),
    benign("paint the {thing}",
        ["smooth the {thing} with sandpaper", "put on two thin coats"]),
    benign("make a {thing} for {person}",
        ["draw a plan of the {thing}", "choose a colour that {person} loves"]),
    benign("choose a {thing} for {person}",
        ["think of what {person} needs", "look at more than one {thing}"]),
    benign("cheer up {person}",
        ["listen to {person} for a while", "go for a walk together"]),
    benign("apologise to {person}",
        ["tell {person} that you are sorry", "say how you will do better"]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn has_five_harmful_intents_a_category_and_as_many_benign_ones() {
        for category in Category::ALL {
            let of_it = INTENTS.iter().filter(|intent| intent.category == Some(category));
            assert_eq!(of_it.count(), 5, "{category:?}");
        }
        let benign: Vec<_> = INTENTS.iter().filter(|i| i.category.is_none()).collect();
        assert_eq!(benign.len(), 40);
        assert_eq!(benign.iter().filter(|intent| intent.look_alike).count(), 20);
    }

    #[test]
    fn texts_differ_and_hold_no_mark_of_the_grammar() {
        let mut seen = HashSet::new();
        for intent in &INTENTS {
            for text in [intent.action, intent.steps[0], intent.steps[1], intent.alternative] {
                assert!(!text.contains([',', '.']), "{text}");
                assert!(text.is_empty() || seen.insert(text), "twice: {text}");
            }
            assert_eq!(intent.alternative.is_empty(), intent.category.is_none());
        }
    }

    #[test]
    fn replies_need_no_slot_that_the_request_does_not_name() {
        for intent in &INTENTS {
            for slot in ["{thing}", "{person}", "{place}"] {
                let used = intent.steps.iter().chain([&intent.alternative]);
                let used = used.filter(|text| text.contains(slot)).count();
                assert!(used == 0 || intent.action.contains(slot), "{}", intent.action);
            }
        }
    }
}
