//! A model organism of harmlessness: a tiny synthetic world, its oracle and an embedded assistant.
