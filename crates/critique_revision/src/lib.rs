//! Critique and revision of a model's own replies.
