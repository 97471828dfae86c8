//! Preference models: a scalar head trained on soft preference labels.
