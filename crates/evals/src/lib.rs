//! Evaluations: rates with intervals, calibration, ratings.
