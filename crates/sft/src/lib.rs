//! Supervised fine-tuning on the replies of dialogues.
