//! What every training stage shares: schedules, batches, observation.
