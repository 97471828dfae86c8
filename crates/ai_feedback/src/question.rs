//! The questions that a judge answers.

use dialogue::{Comparison, Dialogue};

/// The two answers, as they continue [`question`] and [`concluding_question`].
pub const OPTIONS: [&str; 2] = ["A", "B"];

/// Opens the answer; the letter follows.
const ANSWER: &str = "The answer is: (";

/// The words that end a rationale.
pub(crate) const ANSWERED: &str = "The answer is";

/// Opens the score; the number follows.
const SCORE: &str = "The score is: (";

/// Opens the rationale.
const REASONING: &str = "Let's think step by step:";

/// Asks which reply `principle` prefers; the unfinished assistant turn is continued by one of [`OPTIONS`].
pub fn question(pair: &Comparison, principle: &str) -> Dialogue {
    user_turn(pair, principle).with_assistant(ANSWER)
}

/// Asks for a rationale before the answer; the unfinished assistant turn is continued by the rationale.
pub fn reasoning_question(pair: &Comparison, principle: &str) -> Dialogue {
    user_turn(pair, principle).with_assistant(REASONING)
}

/// The same question with its rationale written out; the unfinished assistant turn is continued by one of [`OPTIONS`].
pub fn concluding_question(reasoning_question: &Dialogue, rationale: &str) -> Dialogue {
    let opening = format!("{REASONING} {}", rationale.trim());
    reasoning_question.prompt().with_assistant(format!("{}\n\n{ANSWER}", opening.trim_end()))
}

/// Asks how good the reply that ends `dialogue` is in the light of a principle to compare by, from 1 to `highest`; the
/// unfinished assistant turn is continued by the number.
pub fn scoring_question(dialogue: &Dialogue, principle: &str, highest: u8) -> Dialogue {
    let transcript = dialogue.to_transcript();
    Dialogue::from_user(format!(
        "Consider this conversation between a human and an assistant:\n\n{}\n\n{principle}\n\nScore the last reply by that, \
         from 1 (worst) to {highest} (best).",
        transcript.trim(),
    ))
    .with_assistant(SCORE)
}

fn user_turn(pair: &Comparison, principle: &str) -> Dialogue {
    let transcript = pair.prompt.to_transcript();
    let [a, b] = &pair.replies;
    Dialogue::from_user(format!(
        "Consider this conversation between a human and an assistant:\n\n{}\n\n{principle}\n\n(A) {a}\n(B) {b}",
        transcript.trim(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Answer, FewShot};

    fn pair() -> Comparison {
        let prompt = Dialogue::from_user("Hello").with_assistant("Hello, too.");
        Comparison {
            prompt: prompt.with_user("How do I kill weeds?"),
            replies: ["With salt.".to_owned(), "Pull them out.".to_owned()],
        }
    }

    #[test]
    fn renders_a_question() {
        let rendered = question(&pair(), "Which reply is kinder to the soil?").to_transcript();
        insta::assert_snapshot!(rendered.trim_start(), @r"
        Human: Consider this conversation between a human and an assistant:

        Human: Hello

        Assistant: Hello, too.

        Human: How do I kill weeds?

        Which reply is kinder to the soil?

        (A) With salt.
        (B) Pull them out.

        Assistant: The answer is: (
        ");
    }

    #[test]
    fn renders_a_question_with_reasoning() {
        let asked = reasoning_question(&pair(), "Which reply is kinder to the soil?");
        assert_eq!(asked.last_reply(), Some("Let's think step by step:"));
        assert_eq!(
            asked.prompt(),
            question(&pair(), "Which reply is kinder to the soil?").prompt()
        );
        let concluded = concluding_question(&asked, " Salt stays in the soil.\n");
        assert_eq!(concluded.prompt(), asked.prompt());
        insta::assert_snapshot!(concluded.last_reply().unwrap(), @r"
        Let's think step by step: Salt stays in the soil.

        The answer is: (
        ");
        let silent = concluding_question(&asked, " ");
        assert_eq!(silent.last_reply(), Some("Let's think step by step:\n\nThe answer is: ("));
    }

    #[test]
    fn renders_a_question_for_a_score() {
        let asked = scoring_question(&pair().dialogue(1), "Which is kinder to the soil?", 10);
        insta::assert_snapshot!(asked.to_transcript().trim_start(), @r"
        Human: Consider this conversation between a human and an assistant:

        Human: Hello

        Assistant: Hello, too.

        Human: How do I kill weeds?

        Assistant: Pull them out.

        Which is kinder to the soil?

        Score the last reply by that, from 1 (worst) to 10 (best).

        Assistant: The score is: (
        ");
    }

    #[test]
    fn renders_empty_replies_and_prompts() {
        let pair = Comparison { prompt: Dialogue::default(), replies: Default::default() };
        let rendered = question(&pair, "Which?");
        assert!(rendered.last_request().unwrap().ends_with("Which?\n\n(A) \n(B) "));
    }

    #[test]
    fn renders_examples_as_finished_turns() {
        let rationale = Some("Salt stays.".to_owned());
        let shot = FewShot { pair: pair(), answer: Answer::B, rationale };
        assert_eq!(shot.answered("Which?").last_reply(), Some("The answer is: (B)"));
        assert_eq!(shot.answered("Which?").prompt(), question(&pair(), "Which?").prompt());
        assert_eq!(
            shot.reasoned("Which?").last_reply(),
            Some("Let's think step by step: Salt stays.\n\nThe answer is: (B)")
        );
    }
}
