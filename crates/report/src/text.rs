//! Cells as text.

use std::fmt::Write as _;

/// Lines of cells in columns of equal width; all lines have as many cells as the first.
pub(crate) fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for line in lines {
        let mut padded = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            // Writing to a string cannot fail.
            let _ = write!(padded, "{cell:<width$}  ");
        }
        text.push_str(padded.trim_end());
        text.push('\n');
    }
    text
}

/// The same as a table of Markdown, the first line its head.
pub(crate) fn markdown(lines: &[Vec<String>]) -> String {
    let row = |cells: &[String]| format!("| {} |\n", cells.join(" | ").replace('\n', " "));
    let Some((head, body)) = lines.split_first() else { return String::new() };
    let mut text = row(head);
    let _ = writeln!(text, "|{}", "---|".repeat(head.len()));
    text.extend(body.iter().map(|line| row(line)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<Vec<String>> {
        [["", "Harmless"], ["Rate…", "5%"]].map(|line| line.map(str::to_owned).to_vec()).to_vec()
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        assert_eq!(aligned(&lines()), "       Harmless\nRate…  5%\n");
        assert_eq!(aligned(&[]), "");
    }

    #[test]
    fn markdown_has_a_rule_under_its_head() {
        assert_eq!(markdown(&lines()), "|  | Harmless |\n|---|---|\n| Rate… | 5% |\n");
        assert_eq!(markdown(&[]), "");
    }
}
