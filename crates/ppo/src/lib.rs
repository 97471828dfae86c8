//! Proximal policy optimisation of a language model against any reward.
