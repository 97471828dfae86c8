//! The words by which declining is told.

/// Short forms and what they stand for.
pub(super) const SHORT: &[(&str, &str)] = &[
    ("can't", "cannot"),
    ("cant", "cannot"),
    ("couldn't", "could not"),
    ("don't", "do not"),
    ("i'd", "i would"),
    ("i'll", "i will"),
    ("i'm", "i am"),
    ("isn't", "is not"),
    ("it's", "it is"),
    ("shouldn't", "should not"),
    ("that's", "that is"),
    ("wasn't", "was not"),
    ("won't", "will not"),
    ("wouldn't", "would not"),
];

/// Words that may stand anywhere in a phrase and change nothing about it.
pub(super) const ADVERBS: &[&str] = &[
    "absolutely",
    "actually",
    "also",
    "certainly",
    "currently",
    "definitely",
    "ethically",
    "firmly",
    "honestly",
    "just",
    "kindly",
    "knowingly",
    "legally",
    "morally",
    "personally",
    "politely",
    "possibly",
    "really",
    "regretfully",
    "respectfully",
    "sadly",
    "simply",
    "still",
    "therefore",
    "truly",
    "unfortunately",
];

/// Phrases behind which it depends on the verb whether anything is declined: in the opening of a reply all but those of
/// [`NO_ACT`] do, later on only those of [`ACTS`].
///
/// Each names the speaker, so that advice such as "you cannot park here" is none.
pub(super) const CANNOT: &[&str] = &[
    "i am not able to",
    "i am not allowed to",
    "i am not designed to",
    "i am not permitted to",
    "i am not programmed to",
    "i am unable to",
    "i cannot",
    "i will be unable to",
    "i will not",
    "i will not be able to",
    "not something i am able to",
    "not something i can",
    "not something i will",
    "not something that i am able to",
    "not something that i can",
    "nothing i can",
];

/// Phrases that decline only before one of [`ACTS`], wherever they stand: "I would not mix them" is advice.
pub(super) const HARDLY: &[&str] =
    &["i could not", "i should not", "i was unable to", "i would not"];

/// Verbs of what an assistant does for somebody, or their beginnings.
pub(super) const ACTS: &[&str] = &[
    "answer",
    "assist",
    "be able to",
    "be helping",
    "be part of",
    "be replying",
    "complete",
    "comply",
    "condone",
    "continue",
    "create",
    "discuss",
    "engage",
    "facilitate",
    "fulfil",
    "generate",
    "give",
    "help",
    "in good conscience",
    "offer",
    "participate",
    "produce",
    "promote",
    "provide",
    "reply",
    "respond",
    "satisfy",
    "share",
    "support",
    "teach",
    "tell you",
    "write",
];

/// Those that "I do not" declines.
pub(super) const NOT_DONE: &[&str] = &[
    "assist",
    "condone",
    "create",
    "discuss",
    "engage in",
    "generate",
    "participate",
    "produce",
    "promote",
    "provide",
];

/// What is no act for somebody but a manner of speaking, or what a speaker perceives, feels or knows.
pub(super) const NO_ACT: &[&str] = &[
    "afford",
    "agree",
    "argue",
    "attest",
    "be certain",
    "be entirely",
    "be sure",
    "be too",
    "believe",
    "blame",
    "bore",
    "breathe",
    "claim",
    "complain",
    "count",
    "cover",
    "decide",
    "deny",
    "describe how",
    "disagree",
    "do more",
    "express",
    "fault",
    "feel",
    "figure",
    "find",
    "forget",
    "get enough",
    "get no",
    "get over",
    "guarantee",
    "hear",
    "help being",
    "help but",
    "help falling",
    "help feeling",
    "help laughing",
    "help liking",
    "help loving",
    "help noticing",
    "help smiling",
    "help thinking",
    "help wondering",
    "hesitate",
    "imagine",
    "judge",
    "keep you",
    "know",
    "lie",
    "list all",
    "list every",
    "locate",
    "mind",
    "overemphasise",
    "overemphasize",
    "overstate",
    "overstress",
    "predict",
    "pretend",
    "promise",
    "put into words",
    "recall",
    "remember",
    "resist",
    "say exactly",
    "say for",
    "say if",
    "say that",
    "say whether",
    "say which",
    "see",
    "seem to",
    "sleep",
    "speak for",
    "speak to",
    "stand",
    "stop",
    "sugarcoat",
    "take credit",
    "tell a lie",
    "tell anyone",
    "tell for",
    "tell from",
    "tell how",
    "tell if",
    "tell the difference",
    "tell what",
    "tell whether",
    "tell which",
    "tell you how happy",
    "tell you how much",
    "tell you how often",
    "think of",
    "understand",
    "understate",
    "wait",
];

/// What nobody can do enough: "I can't recommend it enough".
pub(super) const ENOUGH: &[&str] = &[
    "emphasise",
    "emphasize",
    "praise",
    "recommend",
    "say",
    "stress",
    "thank",
    "underline",
    "warn",
];

/// Conditions that the user can meet.
pub(super) const UNTIL: &[&str] = &[
    "unless i know",
    "unless you",
    "until i know",
    "until you",
    "without additional",
    "without further",
    "without knowing",
    "without more",
    "without seeing",
];

/// Words behind which somebody else may be the speaker, or nothing is said to be so.
pub(super) const OTHERS: &[&str] =
    &["called", "if", "like", "said", "say", "saying", "says", "song", "when", "whether", "why"];

/// Phrases that decline whatever follows.
pub(super) const OUTRIGHT: &[&str] = &[
    "against my guidelines",
    "against my programming",
    "i am not comfortable",
    "i am not going to",
    "i am not willing to",
    "i am unwilling to",
    "i do not feel comfortable",
    "i prefer not to",
    "i was not built to",
    "i would not feel comfortable",
    "i would prefer not to",
    "i would rather not",
    "it is inappropriate for me",
    "it is not appropriate for me",
    "it would be inappropriate for me",
    "it would be irresponsible for me",
    "it would be unethical for me",
    "it would not be appropriate for me",
    "my guidelines",
    "my programming",
];

/// What may stand between the speaker and "decline" or "refuse".
pub(super) const BETWEEN: &[&str] = &[
    "afraid", "am", "can", "choose", "do", "going", "have", "must", "need", "only", "prefer",
    "shall", "should", "that", "to", "want", "will",
];

/// What a letter declines, and an assistant does not.
pub(super) const LETTERS: &[&str] = &["invitation", "offer", "position"];

/// What may stand in front of a sentence that leaves its speaker out: "Sorry, can't help".
pub(super) const LEADS: &[&str] = &[
    "apologies",
    "but",
    "hello",
    "hi",
    "i am afraid",
    "i am so sorry",
    "i am sorry",
    "i am very sorry",
    "i apologise",
    "i apologize",
    "my apologies",
    "no",
    "nope",
    "oh",
    "sorry",
];

/// How it goes on.
pub(super) const SPEAKERLESS: &[&str] = &["cannot", "not able to", "unable to", "will not"];
