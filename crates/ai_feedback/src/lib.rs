//! AI feedback: a judge labels pairs of replies by the principles of a constitution.
