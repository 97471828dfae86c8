//! Tables whose columns are as wide as what stands in them.

/// Rows below a head; the first `left` columns begin at the left, numbers end at the right. Two spaces stand between.
pub(super) fn aligned<const N: usize>(
    head: [&str; N],
    rows: &[[String; N]],
    left: usize,
) -> String {
    let head = head.map(str::to_owned);
    let all = || std::iter::once(&head).chain(rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| {
            if column < left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<String>>().join("  ").trim_end().to_owned() + "\n"
    };
    all().map(line).collect::<Vec<String>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_cells_make_room() {
        let rows = [["é", "1000000"], ["a long name", "2"]].map(|row| row.map(str::to_owned));
        let text = aligned(["player", "games"], &rows, 1);
        assert_eq!(text, "player         games\né            1000000\na long name        2\n");
        assert_eq!(aligned(["player", "games"], &[], 1), "player  games\n");
    }
}
