//! Datasets on disk: prompts and transcripts in, JSON lines out, and a durable journal.
