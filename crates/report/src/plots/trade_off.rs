//! Harmlessness against helpfulness: where each model stands, and the way there.

use super::chart::{self, Axis, Chart, Drawn, draw, px, shown, text};
use super::keyed::{Key, Keyed};
use crate::{
    Error, names,
    palette::{self, Colour},
    results::{Checkpoint, Measure, MeasureKind, Results},
};
use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use std::ops::Range;

const SIZE: (u32, u32) = (500, 400);

/// A place in the picture: helpfulness to the right, harmlessness upward.
struct Point {
    name: String,
    helpful: Measure,
    harmless: Measure,
}

impl Point {
    fn at(&self) -> (f64, f64) {
        (shown(&self.helpful)[0], shown(&self.harmless)[0])
    }
}

/// The picture, if at least one model was measured on both sides.
pub(crate) fn trade_off(results: &Results) -> Result<Option<Keyed>, Error> {
    let mut models: Vec<Point> = results
        .models
        .iter()
        .filter_map(|(name, measures)| {
            let (helpful, harmless) = (*measures.get("helpful")?, *measures.get("harmless")?);
            Some(Point { name: name.clone(), helpful, harmless })
        })
        .collect();
    models.sort_by_key(|point| names::model_order(&point.name));
    let Some(first) = models.first() else { return Ok(None) };
    let kinds = (first.helpful.kind, first.harmless.kind);
    let comparable = |point: &Point| (point.helpful.kind, point.harmless.kind) == kinds;
    let path: Vec<Point> =
        results.ppo_checkpoints.iter().filter_map(checkpoint).filter(comparable).collect();
    models.retain(comparable);

    let everything = || models.iter().chain(&path);
    let x = range(kinds.0, everything().map(|point| point.helpful));
    let y = range(kinds.1, everything().map(|point| point.harmless));
    let axes = [
        Axis::new(label("Helpful", "benign", kinds.0), x, 6),
        Axis::new(label("Harmless", "red-team", kinds.1), y, 6),
    ];
    let alt = "Harmlessness against helpfulness of the models and of the policy during PPO";
    let plot = draw(alt.to_owned(), SIZE, [&axes[0], &axes[1]], |chart| {
        draw_path(chart, &path)?;
        models.iter().try_for_each(|point| draw_model(chart, point))
    })?;
    Ok(Some(Keyed { plot, keys: keys(&models, &path) }))
}

/// The range of one side, with room above 100% for the marks that stand there.
fn range(kind: MeasureKind, measures: impl Iterator<Item = Measure>) -> Range<f64> {
    let range = chart::range(kind, measures.flat_map(|measure| shown(&measure)));
    let room = 0.05 * (range.end - range.start);
    range.start..range.end + room
}

fn keys(models: &[Point], path: &[Point]) -> Vec<Key> {
    let model = |point: &Point| Key {
        mark: match point.name.as_str() {
            "sl_cai" => "■",
            "rl_cai" => "▲",
            _ => "●",
        },
        colour: palette::model(&point.name).name,
        title: names::model(&point.name),
    };
    let mut keys: Vec<Key> = models.iter().map(model).collect();
    if !path.is_empty() {
        let title = "policy during PPO, by iteration".to_owned();
        keys.push(Key { mark: "•–•", colour: palette::DURING_RL.name, title });
    }
    keys
}

fn checkpoint(checkpoint: &Checkpoint) -> Option<Point> {
    let (helpful, harmless) = (checkpoint.helpful?, checkpoint.harmless?);
    Some(Point { name: checkpoint.iteration.to_string(), helpful, harmless })
}

fn label(side: &str, prompts: &str, kind: MeasureKind) -> String {
    match kind {
        MeasureKind::Rate => format!("{side} replies to {prompts} prompts (%)"),
        MeasureKind::Mean => format!("{side}, mean score on {prompts} prompts"),
    }
}

/// The checkpoints, joined, every few of them with the number of its iteration.
fn draw_path(chart: &mut Chart<'_, '_>, path: &[Point]) -> Drawn {
    let colour = palette::DURING_RL;
    for point in path {
        draw_whiskers(chart, point, colour, 0.2)?;
    }
    if path.len() > 1 {
        chart.plotting_area().draw(&chart::line(path.iter().map(Point::at), colour.rgb(), 1.5))?;
    }
    let every = path.len().div_ceil(6).max(1);
    let style = text(colour, 11.0, Pos::new(HPos::Center, VPos::Bottom));
    for (index, point) in path.iter().enumerate() {
        let mark =
            EmptyElement::at(point.at()) + Circle::new((0, 0), px(3.0), colour.rgb().filled());
        chart.plotting_area().draw(&mark)?;
        if index % every == 0 || index + 1 == path.len() {
            let number = Text::new(point.name.clone(), (0, px(-6.0)), style.clone());
            chart.plotting_area().draw(&(EmptyElement::at(point.at()) + number))?;
        }
    }
    Ok(())
}

fn draw_model(chart: &mut Chart<'_, '_>, point: &Point) -> Drawn {
    let colour = palette::model(&point.name);
    draw_whiskers(chart, point, colour, 1.0)?;
    let (style, at) = (colour.rgb().filled(), EmptyElement::at(point.at()));
    let area = chart.plotting_area();
    match point.name.as_str() {
        "sl_cai" => {
            let corner = px(5.5);
            area.draw(&(at + Rectangle::new([(-corner, -corner), (corner, corner)], style)))
        }
        "rl_cai" => area.draw(&(at + TriangleMarker::new((0, 0), px(7.5), style))),
        _ => area.draw(&(at + Circle::new((0, 0), px(6.0), style))),
    }
}

fn draw_whiskers(chart: &Chart<'_, '_>, point: &Point, colour: Colour, opacity: f64) -> Drawn {
    let [[x, left, right], [y, low, high]] = [shown(&point.helpful), shown(&point.harmless)];
    for ends in [[(left, y), (right, y)], [(x, low), (x, high)]] {
        chart.plotting_area().draw(&chart::line(ends, colour.rgb().mix(opacity), 1.5))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(models: &str) -> Results {
        serde_json::from_str(&format!("{{\"models\": {models}}}")).unwrap()
    }

    #[test]
    fn a_model_measured_on_one_side_has_no_place() {
        assert!(trade_off(&results("{}")).unwrap().is_none());
        let rate = r#"{"value": 0.5, "low": 0.4, "high": 0.6, "n": 80}"#;
        let half = results(&format!("{{\"sl_cai\": {{\"harmless\": {rate}}}}}"));
        assert!(trade_off(&half).unwrap().is_none());
        let whole =
            results(&format!("{{\"sl_cai\": {{\"harmless\": {rate}, \"helpful\": {rate}}}}}"));
        let picture = trade_off(&whole).unwrap().unwrap();
        assert_eq!((picture.keys[0].mark, picture.keys[0].title.as_str()), ("■", "SL-CAI"));
        assert!(picture.plot.svg.contains("benign prompts (%)"));
    }

    #[test]
    fn scores_are_not_mixed_with_percentages() {
        let rate = r#"{"value": 0.5, "low": 0.4, "high": 0.6, "n": 80}"#;
        let mean = r#"{"mean": 1.5, "low": 1.4, "high": 1.6, "n": 80}"#;
        let mixed = results(&format!(
            r#"{{"rl_cai": {{"harmless": {rate}, "helpful": {rate}}},
                "helpful_only": {{"harmless": {mean}, "helpful": {mean}}}}}"#
        ));
        let picture = trade_off(&mixed).unwrap().unwrap();
        assert!(picture.plot.svg.contains("mean score"));
        assert_eq!(picture.keys.len(), 1);
    }
}
