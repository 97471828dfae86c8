//! Score against the square root of the KL along PPO (arXiv 2204.05862, section 4.3).

use super::chart::{self, Axis, Chart, Drawn, bounded, draw, px};
use super::keyed::{Key, Keyed};
use crate::{
    Error,
    metrics::{Series, thinned},
    palette::{self, Colour},
};
use plotters::prelude::*;
use std::collections::HashMap;

const SIZE: (u32, u32) = (500, 320);

/// More marks than this hide each other.
const MARKS: usize = 120;

/// The scores that one judge gives.
struct Way {
    title: &'static str,
    mark: &'static str,
    colour: Colour,
    /// The square root of the KL and the score, in the order of the rounds.
    points: Vec<(f64, f64)>,
}

/// The picture of a stage that records both, by the reward and by the judge that nothing is learned from, if there is one.
pub(crate) fn score_by_kl(metrics: &[Series]) -> Result<Option<Keyed>, Error> {
    let ways: Vec<Way> = [
        ("score_mean", "score that is learned from", "●", palette::DURING_RL),
        ("held_out_score_mean", "held-out score", "■", palette::DOUBT),
    ]
    .into_iter()
    .map(|(name, title, mark, colour)| Way { title, mark, colour, points: points(metrics, name) })
    .filter(|way| !way.points.is_empty())
    .collect();
    if ways.is_empty() {
        return Ok(None);
    }
    let all = || ways.iter().flat_map(|way| &way.points);
    let (_, farthest) = chart::extremes(all().map(|point| point.0));
    let (lowest, highest) = chart::extremes(all().map(|point| point.1));
    let right = chart::padded(0.0, farthest).end;
    let axes = [
        Axis::new("Square root of the KL from the start (√nats a reply)", 0.0..right, 6),
        Axis::new("Mean score of a round", chart::padded(lowest, highest), 6),
    ];
    let alt = "Mean score of every round of PPO against the square root of the KL from the start";
    let plot = draw(alt.to_owned(), SIZE, [&axes[0], &axes[1]], |chart| {
        ways.iter().try_for_each(|way| draw_way(chart, way))
    })?;
    let key =
        |way: &Way| Key { mark: way.mark, colour: way.colour.name, title: way.title.to_owned() };
    Ok(Some(Keyed { plot, keys: ways.iter().map(key).collect() }))
}

/// The places of the rounds that record both the KL and the score of this name; of a long run means of successive rounds.
fn points(metrics: &[Series], name: &str) -> Vec<(f64, f64)> {
    let series = |name: &str| {
        let found = metrics.iter().find(|series| series.name == name);
        found.map(|series| series.points.as_slice()).unwrap_or_default()
    };
    let distances: HashMap<u64, f64> =
        series("sqrt_kl").iter().map(|&(step, distance)| (step.to_bits(), distance)).collect();
    let place = |&(step, score): &(f64, f64)| {
        let distance = distances.get(&step.to_bits())?;
        Some((bounded(*distance).max(0.0), bounded(score)))
    };
    let places: Vec<(f64, f64)> = series(name).iter().filter_map(place).collect();
    thinned(&places, MARKS)
}

/// The rounds, joined in their order; the last one has the large mark.
fn draw_way(chart: &Chart<'_, '_>, way: &Way) -> Drawn {
    let colour = way.colour.rgb();
    let area = chart.plotting_area();
    if way.points.len() > 1 {
        area.draw(&chart::line(way.points.iter().copied(), colour.mix(0.35), 1.0))?;
    }
    for (place, &point) in way.points.iter().enumerate() {
        let size = px(if place + 1 == way.points.len() { 5.5 } else { 2.5 });
        let at = EmptyElement::at(point);
        if way.mark == "■" {
            let corners = [(-size, -size), (size, size)];
            area.draw(&(at + Rectangle::new(corners, colour.filled())))?;
        } else {
            area.draw(&(at + Circle::new((0, 0), size, colour.filled())))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn series(name: &str, points: &[(f64, f64)]) -> Series {
        Series { name: name.to_owned(), points: points.to_vec() }
    }

    #[test]
    fn a_round_is_a_mark_where_both_are_recorded() {
        let kl = series("sqrt_kl", &[(1.0, 0.0), (2.0, 0.5), (4.0, 1.5)]);
        let score = series("score_mean", &[(1.0, -1.0), (2.0, 0.0), (3.0, 9.0), (4.0, 2.0)]);
        let metrics = [score, kl];
        assert_eq!(points(&metrics, "score_mean"), [(0.0, -1.0), (0.5, 0.0), (1.5, 2.0)]);
        assert!(points(&metrics, "held_out_score_mean").is_empty());

        let picture = score_by_kl(&metrics).unwrap().unwrap();
        assert_eq!(picture.plot.svg.matches("<circle").count(), 3);
        assert!(picture.plot.svg.contains("Square root of the KL"));
        let titles: Vec<&str> = picture.keys.iter().map(|key| key.title.as_str()).collect();
        assert_eq!(titles, ["score that is learned from"]);
    }

    #[test]
    fn the_held_out_score_is_a_series_of_its_own() {
        let metrics = [
            series("score_mean", &[(1.0, -1.0), (2.0, 0.5)]),
            series("held_out_score_mean", &[(1.0, 0.25), (2.0, -0.5)]),
            series("sqrt_kl", &[(1.0, 0.0), (2.0, 1.0)]),
        ];
        let picture = score_by_kl(&metrics).unwrap().unwrap();
        assert_eq!(picture.plot.svg.matches("<circle").count(), 2);
        let marks: Vec<&str> = picture.keys.iter().map(|key| key.mark).collect();
        assert_eq!(marks, ["●", "■"]);
        // Its line and its two squares.
        assert!(picture.plot.svg.matches(&palette::DOUBT.hex()).count() >= 3);
    }

    #[test]
    fn without_a_kl_or_a_score_there_is_no_picture() {
        for names in [&[][..], &["score_mean"], &["sqrt_kl", "loss"]] {
            let metrics: Vec<Series> =
                names.iter().map(|name| series(name, &[(1.0, 1.0)])).collect();
            assert!(score_by_kl(&metrics).unwrap().is_none(), "{names:?}");
        }
    }

    #[test]
    fn a_long_run_has_fewer_marks_than_rounds() {
        let rounds: Vec<(f64, f64)> =
            (0..1000).map(|round| (f64::from(round), f64::from(round))).collect();
        let metrics = [series("score_mean", &rounds), series("sqrt_kl", &rounds)];
        let places = points(&metrics, "score_mean");
        assert!(places.len() <= MARKS, "{}", places.len());
        assert!(places.iter().all(|(distance, score)| (distance - score).abs() < 1e-9));
    }

    proptest! {
        #[test]
        fn draws_whatever_a_stage_may_write(
            rounds in prop::collection::vec((any::<f64>(), any::<f64>()), 1..50),
        ) {
            let (distances, scores): (Vec<_>, Vec<_>) = (0..)
                .map(f64::from)
                .zip(rounds)
                .map(|(step, (distance, score))| ((step, distance), (step, score)))
                .unzip();
            let metrics = [series("sqrt_kl", &distances), series("score_mean", &scores)];
            prop_assert!(score_by_kl(&metrics).unwrap().is_some());
        }
    }
}
