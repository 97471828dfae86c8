//! Few-shot generation of new requests by a model, parsed and deduplicated.
