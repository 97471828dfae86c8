//! Texts without what they quote.

/// A text without what stands in it between quotation marks on one line: another says that. A text that is quoted as a whole
/// stays as it is.
pub(crate) fn unquoted(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(opening) = rest.find(['"', '“']) {
        kept.push_str(&rest[..opening]);
        kept.push(' ');
        let marked = &rest[opening..];
        let (closing, inside) = marked
            .strip_prefix('"')
            .map_or_else(|| ('”', marked.trim_start_matches('“')), |inside| ('"', inside));
        rest = match inside.find([closing, '\n']) {
            Some(end) if inside[end..].starts_with(closing) => &inside[end + closing.len_utf8()..],
            // A mark without its partner quotes nothing.
            _ => inside,
        };
    }
    kept.push_str(rest);
    if kept.trim().is_empty() { text.to_owned() } else { kept }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_is_quoted_goes() {
        for (text, expected) in [
            ("He said \"no.\" and “never”; I agree.", "He said   and  ; I agree."),
            ("5\" pipes\nand \"more\"", "5  pipes\nand  "),
            ("“open and \"shut\"", " open and  "),
            ("\"I can't.\"", "\"I can't.\""),
            ("", ""),
        ] {
            assert_eq!(unquoted(text), expected);
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[\"“”a\n ]{0,20}") {
            let _ = unquoted(&text);
        }
    }
}
