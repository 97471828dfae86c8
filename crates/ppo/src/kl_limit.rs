//! From which KL on a round must not be learned from.

use crate::PpoConfig;
use std::fmt;

/// The largest KL of a reply, mean over a round, with the setting that it comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum KlLimit {
    /// [`PpoConfig::max_kl_per_sequence`].
    PerSequence {
        /// The setting, in nats.
        nats: f32,
    },
    /// [`PpoConfig::max_kl_per_token`] times the length of replies.
    PerToken {
        /// The setting, in nats a token.
        nats: f32,
        /// Mean length of the replies of the round, in tokens.
        reply_tokens: f64,
    },
}

impl KlLimit {
    /// The smaller limit for replies of this mean length.
    pub(crate) fn of(config: &PpoConfig, reply_tokens: f64) -> Self {
        let per_sequence = Self::PerSequence { nats: config.max_kl_per_sequence };
        let per_token = Self::PerToken { nats: config.max_kl_per_token, reply_tokens };
        if per_token.nats() < per_sequence.nats() { per_token } else { per_sequence }
    }

    /// Nats a reply.
    pub fn nats(self) -> f64 {
        match self {
            Self::PerSequence { nats } => f64::from(nats),
            Self::PerToken { nats, reply_tokens } => f64::from(nats) * reply_tokens,
        }
    }

    /// The name of the setting.
    pub fn setting(self) -> &'static str {
        match self {
            Self::PerSequence { .. } => "max_kl_per_sequence",
            Self::PerToken { .. } => "max_kl_per_token",
        }
    }
}

impl fmt::Display for KlLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let setting = self.setting();
        match self {
            Self::PerSequence { nats } => write!(f, "`{setting}` = {nats}"),
            Self::PerToken { nats, reply_tokens } => {
                let limit = self.nats();
                write!(f, "{limit:.1}, `{setting}` = {nats} at {reply_tokens:.1} tokens a reply")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Preset;

    #[test]
    fn the_smaller_limit_holds_and_says_where_it_comes_from() {
        let config = PpoConfig::default();
        let [short, long] = [12.0, 64.0].map(|tokens| KlLimit::of(&config, tokens));
        assert!((short.nats() - 60.0).abs() < 1e-9 && (long.nats() - 200.0).abs() < 1e-9);
        assert_eq!(short.to_string(), "60.0, `max_kl_per_token` = 5 at 12.0 tokens a reply");
        assert_eq!(long.to_string(), "`max_kl_per_sequence` = 200");
        assert_eq!(
            [short, long].map(KlLimit::setting),
            ["max_kl_per_token", "max_kl_per_sequence"]
        );
    }

    #[test]
    fn a_huge_setting_leaves_the_other() {
        let per_sequence = PpoConfig { max_kl_per_token: f32::MAX, ..PpoConfig::default() };
        assert_eq!(KlLimit::of(&per_sequence, 12.0), KlLimit::PerSequence { nats: 200.0 });
        let per_token = PpoConfig { max_kl_per_sequence: f32::MAX, ..PpoConfig::default() };
        assert!((KlLimit::of(&per_token, 1000.0).nats() - 5000.0).abs() < 1e-9);
    }

    /// Figures of whole runs: mean length of the replies and mean KL of a reply.
    #[test]
    fn healthy_rounds_are_far_below_and_exploded_ones_above() {
        // Of three runs of the embedded world the round of 60 with the highest KL.
        let healthy = [(30.8, 1.47), (27.4, 1.16), (31.3, 2.31)];
        // A random model with a learning rate of 1 and `max_tokens` 12: the first round after an update, and of the 18 after
        // it the lowest and the highest.
        let exploded = [(12.0, 87.4), (12.0, 70.2), (12.0, 99.3)];
        let presets = Preset::ALL.map(PpoConfig::preset);
        for config in presets.iter().chain([&PpoConfig::default()]) {
            for (tokens, kl) in healthy {
                assert!(50.0 * kl < KlLimit::of(config, tokens).nats(), "{kl} at {tokens}");
            }
            for (tokens, kl) in exploded {
                assert!(kl > KlLimit::of(config, tokens).nats(), "{kl} at {tokens}");
            }
        }
    }
}
