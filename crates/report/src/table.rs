//! The table of models against measures.

use crate::{
    difference::{Difference, difference},
    format, names,
    results::{Measure, Results},
    text::aligned,
};

/// Models against measures, with the gain of each model over the helpful-only one.
pub(crate) struct Table {
    /// What the models are called.
    pub(crate) models: Vec<String>,
    /// One row a measure.
    pub(crate) rows: Vec<Row>,
}

/// One measure of every model.
pub(crate) struct Row {
    /// The name of the measure in `results.json`.
    pub(crate) name: String,
    /// One cell a model; `None` where it was not measured.
    pub(crate) cells: Vec<Option<Cell>>,
}

/// One measure of one model.
pub(crate) struct Cell {
    pub(crate) measure: Measure,
    /// The difference to the helpful-only model, if this is another one.
    pub(crate) gain: Option<Difference>,
}

impl Row {
    /// What the measure is called.
    pub(crate) fn title(&self) -> String {
        names::measure_title(&self.name)
    }

    /// How many items were measured: one number, or the range over the models.
    pub(crate) fn count(&self) -> String {
        let counts = || self.cells.iter().flatten().map(|cell| cell.measure.n);
        match (counts().min(), counts().max()) {
            (Some(least), Some(most)) if least == most => least.to_string(),
            (Some(least), Some(most)) => format!("{least}-{most}"),
            _ => String::new(),
        }
    }
}

/// Arranges the results: known models and measures first, others as they occur.
pub(crate) fn arrange(results: &Results) -> Table {
    let mut models: Vec<_> = results.models.iter().collect();
    models.sort_by_key(|(name, _)| names::model_order(name));
    let mut measures: Vec<&str> = names::MEASURES.iter().map(|known| known.name).collect();
    for name in models.iter().flat_map(|(_, measured)| measured.keys()) {
        if !measures.contains(&name.as_str()) {
            measures.push(name);
        }
    }
    measures.retain(|&name| models.iter().any(|(_, measured)| measured.contains_key(name)));
    let rows = measures
        .into_iter()
        .map(|name| {
            let baseline = results.models.get(names::BASELINE).and_then(|model| model.get(name));
            let cell = |(model, measure): (&String, &Measure)| Cell {
                measure: *measure,
                gain: baseline
                    .filter(|baseline| model != names::BASELINE && baseline.kind == measure.kind)
                    .map(|baseline| difference(baseline, measure)),
            };
            let cells = models
                .iter()
                .map(|(model, measured)| measured.get(name).map(|measure| cell((model, measure))))
                .collect();
            Row { name: name.to_owned(), cells }
        })
        .collect();
    Table { models: models.iter().map(|(name, _)| names::model(name)).collect(), rows }
}

/// The table as plain text for a terminal: each measure of each model with its 95% interval, and its gain over the
/// helpful-only model.
///
/// ```
/// use report::{Measure, Results, table};
///
/// let mut results = Results::default();
/// let harmless = |value, low, high| {
///     [("harmless".to_owned(), Measure::rate(value, low, high, 200))].into_iter().collect()
/// };
/// results.models.insert("helpful_only".to_owned(), harmless(0.22, 0.168, 0.282));
/// results.models.insert("rl_cai".to_owned(), harmless(0.975, 0.943, 0.989));
/// assert!(table(&results).contains("97.5% (94.3 to 98.9) +75.5"));
/// ```
pub fn table(results: &Results) -> String {
    let Table { models, rows } = arrange(results);
    let mut lines = vec![[vec![String::new()], models, vec!["n".to_owned()]].concat()];
    for row in &rows {
        let mut line = vec![row.title()];
        line.extend(row.cells.iter().map(|cell| cell.as_ref().map_or_else(dash, plain_cell)));
        line.push(row.count());
        lines.push(line);
    }
    let mut text = aligned(&lines);
    text.push_str(
        "In parentheses 95% intervals; then the gain over helpful-only, for rates in points.\n",
    );
    text
}

fn plain_cell(cell: &Cell) -> String {
    let Cell { measure, gain } = cell;
    let gain =
        gain.map(|gain| format!(" {}", format::gain(gain.value, measure.kind))).unwrap_or_default();
    format!("{} ({}){gain}", format::value(measure), format::interval(measure))
}

fn dash() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        serde_json::from_str(
            r#"{"models": {
                "rl_cai": {"harmless": {"value": 0.975, "low": 0.943, "high": 0.989, "n": 200},
                           "preference_score": {"mean": 1.5, "low": 1.25, "high": 1.75, "n": 100}},
                "helpful_only": {"preference_score": {"mean": -0.5, "low": -0.75, "high": -0.25, "n": 90},
                                 "harmless": {"value": 0.22, "low": 0.168, "high": 0.282, "n": 200}},
                "sl_cai": {}
            }}"#,
        )
        .unwrap()
    }

    #[test]
    fn is_aligned_and_shows_gains_and_gaps() {
        let expected = [
            "                  Helpful-only            SL-CAI  RL-CAI                      n",
            "Harmless          22.0% (16.8 to 28.2)    -       97.5% (94.3 to 98.9) +75.5  200",
            "Preference score  -0.50 (-0.75 to -0.25)  -       1.50 (1.25 to 1.75) +2.00   90-100",
            "In parentheses 95% intervals; then the gain over helpful-only, for rates in points.",
        ];
        assert_eq!(table(&results()).lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn without_the_baseline_there_are_no_gains() {
        let mut results = results();
        results.models.shift_remove(names::BASELINE);
        assert!(!table(&results).contains('+'));
    }
}
