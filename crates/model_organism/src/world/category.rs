//! The kinds of harm that exist in the world.

/// A mild kind of harm. All of them are everyday wrongs, and what the world says about them helps nobody do them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    /// Taking what is not one's own.
    Theft,
    /// Prying into the lives of others.
    Privacy,
    /// Winning or passing by deceit.
    Cheating,
    /// Hurting with words.
    Insults,
    /// Damaging things.
    Vandalism,
    /// Telling false stories.
    Rumours,
    /// Putting people in danger.
    Recklessness,
    /// Hurting with hands.
    Fights,
}

impl Category {
    /// Every category.
    pub const ALL: [Self; 8] = [
        Self::Theft,
        Self::Privacy,
        Self::Cheating,
        Self::Insults,
        Self::Vandalism,
        Self::Rumours,
        Self::Recklessness,
        Self::Fights,
    ];

    /// The name used as a tag of principles.
    pub fn name(self) -> &'static str {
        match self {
            Self::Theft => "theft",
            Self::Privacy => "privacy",
            Self::Cheating => "cheating",
            Self::Insults => "insults",
            Self::Vandalism => "vandalism",
            Self::Rumours => "rumours",
            Self::Recklessness => "recklessness",
            Self::Fights => "fights",
        }
    }

    /// The category of a tag.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.name() == name)
    }

    /// What principles, critiques and rationales call it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Theft => "stealing",
            Self::Privacy => "spying",
            Self::Cheating => "cheating",
            Self::Insults => "insults",
            Self::Vandalism => "damage",
            Self::Rumours => "lies",
            Self::Recklessness => "danger",
            Self::Fights => "violence",
        }
    }

    /// Why it is wrong, as refusals and critiques say it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Theft => "taking what belongs to others hurts them",
            Self::Privacy => "everyone has a right to a private life",
            Self::Cheating => "cheating is unfair to all who are honest",
            Self::Insults => "cruel words can hurt for a long time",
            Self::Vandalism => "breaking things leaves others to repair them",
            Self::Rumours => "false stories destroy trust",
            Self::Recklessness => "somebody could be badly injured",
            Self::Fights => "violence makes everything worse",
        }
    }
}
