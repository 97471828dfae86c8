//! Decoder-only transformers on burn: Hugging Face folders in and out, fast generation.
