//! The list of requests that a model is asked to continue.

use dialogue::Dialogue;

/// Asks for more requests like `examples`: one user turn that holds a numbered list.
///
/// A model answers with the next numbers, as [`numbered_list`] writes them.
pub fn request_list(examples: &[impl AsRef<str>]) -> Dialogue {
    Dialogue::from_user(format!("Continue this list of requests:\n{}", numbered_list(1, examples)))
}

/// One request a line, counted from `first`: `5. …`, `6. …`; white space inside a request becomes one blank.
pub fn numbered_list(first: usize, requests: &[impl AsRef<str>]) -> String {
    let line = |(index, request): (usize, &str)| {
        let words: Vec<&str> = request.split_whitespace().collect();
        format!("{}. {}", first + index, words.join(" "))
    };
    let lines: Vec<String> = requests.iter().map(AsRef::as_ref).enumerate().map(line).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_a_list() {
        let rendered = request_list(&["How do I  fly?\n", "What is blue?"]);
        insta::assert_snapshot!(rendered.last_request().unwrap(), @r"
        Continue this list of requests:
        1. How do I fly?
        2. What is blue?
        ");
        assert_eq!(rendered.messages.len(), 1);
    }
}
