//! The page: what each section shows.

use crate::{
    Error,
    difference::Difference,
    facts::{self, Fact},
    format::{self, typographic},
    metrics::Series,
    names,
    palette::{self, Colour},
    plots::{self, Keyed, Plot},
    results::{LabelQuality, PreferenceModelQuality, Results},
    run_folder::{RunFolder, TRAINED},
    summary::summary,
    table::{Cell, Row, arrange},
    transcript::{PromptKind, Tone, Transcript, tone},
};
use ai_feedback::Label;
use constitution::Constitution;
use critique_revision::Trace;
use minijinja::Environment;
use red_team::Figures;
use serde::Serialize;

/// Transcripts of each kind shown before the rest is folded away.
const RED_TEAM_SHOWN: usize = 8;
const BENIGN_SHOWN: usize = 4;
/// Traces shown whole.
const TRACES_SHOWN: usize = 2;

/// Everything that the template uses, under the names by which it does.
#[derive(Serialize)]
struct Page<'a> {
    name: &'a str,
    colours: String,
    style: &'static str,
    summary: Vec<String>,
    table: Option<TableView>,
    notes: &'a [String],
    trade_off: Option<Keyed>,
    revisions: Option<Plot>,
    traces: &'a [Trace],
    trace_count: usize,
    revision_facts: Vec<Fact>,
    requests: Vec<RequestsView>,
    labels: Option<QualityView>,
    preference_model: Option<QualityView>,
    histogram: Option<Plot>,
    histogram_caption: String,
    question: Option<&'a Label>,
    label_count: usize,
    stages: Vec<StageView>,
    transcripts: Vec<TranscriptView<'a>>,
    more_transcripts: Vec<TranscriptView<'a>>,
    judged: bool,
    constitution: Option<&'a Constitution>,
    times: Vec<TimeView>,
    total_time: String,
    settings: Option<&'a str>,
}

#[derive(Serialize)]
struct TableView {
    models: Vec<String>,
    rows: Vec<RowView>,
}

#[derive(Serialize)]
struct RowView {
    title: String,
    meaning: Option<&'static str>,
    cells: Vec<Option<CellView>>,
    count: String,
}

#[derive(Serialize)]
struct CellView {
    value: String,
    interval: String,
    gain: Option<String>,
    gain_interval: Option<String>,
    /// `better`, `worse` or empty.
    verdict: &'static str,
}

/// The requests of one kind that a model wrote.
#[derive(Serialize)]
struct RequestsView {
    title: &'static str,
    facts: Vec<Fact>,
}

#[derive(Serialize)]
struct QualityView {
    title: &'static str,
    facts: Vec<Fact>,
    plot: Option<Plot>,
    caption: String,
}

#[derive(Serialize)]
struct StageView {
    name: &'static str,
    title: String,
    score_by_kl: Option<Keyed>,
    curves: Vec<CurveView>,
}

#[derive(Serialize)]
struct CurveView {
    title: String,
    plot: Plot,
}

#[derive(Serialize)]
struct TranscriptView<'a> {
    prompt: &'a dialogue::Dialogue,
    kind: PromptKind,
    replies: Vec<ReplyView<'a>>,
}

#[derive(Serialize)]
struct ReplyView<'a> {
    model: String,
    colour: &'static str,
    text: &'a str,
    verdict: Option<&'a str>,
    tone: Tone,
}

#[derive(Serialize)]
struct TimeView {
    stage: String,
    /// Of the longest stage.
    percent: f64,
    text: String,
}

/// The whole page as HTML.
pub(crate) fn render(run: &RunFolder) -> Result<String, Error> {
    let mut environment = Environment::new();
    // The name ends in html, which makes the engine escape every value.
    environment.add_template("page.html", include_str!("page.html.j2"))?;
    Ok(environment.get_template("page.html")?.render(page(run)?)?)
}

fn page(run: &RunFolder) -> Result<Page<'_>, Error> {
    let nothing = Results::default();
    let results = run.results.as_ref().unwrap_or(&nothing);
    let (transcripts, more_transcripts) = transcripts(&run.transcripts);
    let probabilities: Vec<f64> = run.labels.iter().map(|label| label.probability_a).collect();
    Ok(Page {
        name: &run.name,
        colours: palette::style_sheet(),
        style: include_str!("page.css"),
        summary: summary(results).iter().map(|sentence| typographic(sentence)).collect(),
        table: (!results.models.is_empty()).then(|| table(results)),
        notes: run.results.as_ref().map_or(&[], |results| &results.notes),
        trade_off: plots::trade_off(results)?,
        revisions: plots::revisions(&results.revisions)?,
        traces: &run.traces[..run.traces.len().min(TRACES_SHOWN)],
        trace_count: run.traces.len(),
        revision_facts: run.revision_summary.as_ref().map(facts::of_revisions).unwrap_or_default(),
        requests: run.request_figures.iter().map(requests).collect(),
        labels: results.labels.as_ref().map(labels).transpose()?,
        preference_model: results.preference_model.as_ref().map(preference_model).transpose()?,
        histogram: plots::histogram(&probabilities)?,
        histogram_caption: format!(
            "The final probabilities of {} labels. Labels near 0 or 1 are sure, those near 0.5 are not.",
            probabilities.len()
        ),
        question: run.labels.first(),
        label_count: run.labels.len(),
        stages: stages(&run.metrics)?,
        transcripts,
        more_transcripts,
        judged: run
            .transcripts
            .iter()
            .flat_map(|transcript| transcript.replies.values())
            .any(|reply| reply.verdict.is_some()),
        constitution: run.constitution.as_ref(),
        times: times(results),
        total_time: format::duration(results.seconds.values().sum()),
        settings: run.settings.as_deref(),
    })
}

fn requests((kind, figures): (&String, &Figures)) -> RequestsView {
    let title = if kind == "red_team" { "Red-team requests" } else { "Helpful requests" };
    RequestsView { title, facts: facts::of_requests(figures) }
}

fn table(results: &Results) -> TableView {
    let table = arrange(results);
    let row = |row: &Row| {
        let known = names::measure(&row.name);
        let cell = |cell: &Cell| cell_view(cell, known.map(|known| known.more_is_better));
        RowView {
            title: row.title(),
            meaning: known.map(|known| known.meaning),
            cells: row.cells.iter().map(|one| one.as_ref().map(cell)).collect(),
            count: row.count(),
        }
    };
    TableView { rows: table.rows.iter().map(row).collect(), models: table.models }
}

fn cell_view(Cell { measure, gain }: &Cell, more_is_better: Option<bool>) -> CellView {
    CellView {
        value: typographic(&format::value(measure)),
        interval: typographic(&format::interval(measure)),
        gain: gain.map(|gain| typographic(&format::gain(gain.value, measure.kind))),
        gain_interval: gain.map(|gain| typographic(&format::gain_interval(&gain, measure.kind))),
        verdict: gain.map_or("", |gain| verdict(&gain, more_is_better)),
    }
}

/// Whether a gain is good or bad; neither if its interval holds zero or nobody knows which way is better.
fn verdict(gain: &Difference, more_is_better: Option<bool>) -> &'static str {
    let more = if gain.low > 0.0 {
        true
    } else if gain.high < 0.0 {
        false
    } else {
        return "";
    };
    match more_is_better {
        Some(wanted) if wanted == more => "better",
        Some(_) => "worse",
        None => "",
    }
}

fn labels(quality: &LabelQuality) -> Result<QualityView, Error> {
    let facts = [
        ("pairs", Some(quality.n.to_string())),
        ("accuracy", quality.accuracy.map(format::percent)),
        ("calibration error", quality.ece.map(three_digits)),
        ("position bias", quality.position_bias.map(three_digits)),
        ("same in both orders", quality.order_consistency.map(format::percent)),
        ("same by another principle", quality.principle_consistency.map(format::percent)),
        ("entropy (nats)", quality.entropy.map(three_digits)),
    ];
    Ok(QualityView {
        title: "AI labels",
        facts: known_facts(facts),
        plot: plots::reliability("the AI labels", &quality.reliability, palette::SL_CAI)?,
        caption: "Labels in bins by their probability, against how often the reply was truly the better one. On the \
                  grey line the labels would be perfectly calibrated; larger points hold more pairs, whiskers are 95% intervals."
            .to_owned(),
    })
}

fn preference_model(quality: &PreferenceModelQuality) -> Result<QualityView, Error> {
    let facts = [
        ("pairs", Some(quality.n.to_string())),
        ("accuracy", quality.accuracy.map(format::percent)),
        ("calibration error", quality.ece.map(three_digits)),
        ("log-loss (nats)", quality.log_loss.map(three_digits)),
    ];
    Ok(QualityView {
        title: "Preference model",
        facts: known_facts(facts),
        plot: plots::reliability("the preference model", &quality.reliability, palette::RL_CAI)?,
        caption: "The same for the preference model: the sigmoid of the difference of two scores, against how often \
                  held-out pairs were preferred that way."
            .to_owned(),
    })
}

fn three_digits(number: f64) -> String {
    typographic(&format!("{number:.3}"))
}

fn known_facts<const N: usize>(facts: [(&'static str, Option<String>); N]) -> Vec<Fact> {
    facts.into_iter().filter_map(|(name, number)| Some((name, number?))).collect()
}

fn stages(metrics: &[Vec<Series>; 3]) -> Result<Vec<StageView>, Error> {
    let colours: [Colour; 3] = [palette::SL_CAI, palette::RL_CAI, palette::DURING_RL];
    TRAINED
        .iter()
        .zip(metrics)
        .zip(colours)
        .map(|((stage, series), colour)| {
            let curve = |series: &Series| {
                let plot = plots::curve(series, colour)?;
                Ok(CurveView { title: names::metric(&series.name), plot })
            };
            Ok(StageView {
                name: stage,
                title: names::stage(stage),
                score_by_kl: plots::score_by_kl(series)?,
                curves: series.iter().map(curve).collect::<Result<_, Error>>()?,
            })
        })
        .collect()
}

/// The transcripts shown at once, and the others; each in the order of the file.
fn transcripts(all: &[Transcript]) -> (Vec<TranscriptView<'_>>, Vec<TranscriptView<'_>>) {
    let (mut red_team, mut benign) = (RED_TEAM_SHOWN, BENIGN_SHOWN);
    let (shown, folded): (Vec<_>, Vec<_>) = all.iter().partition(|transcript| {
        let left = match transcript.kind {
            PromptKind::RedTeam => &mut red_team,
            PromptKind::Benign => &mut benign,
        };
        let shown = *left > 0;
        *left = left.saturating_sub(1);
        shown
    });
    let views = |transcripts: Vec<_>| transcripts.into_iter().map(transcript).collect();
    (views(shown), views(folded))
}

fn transcript(transcript: &Transcript) -> TranscriptView<'_> {
    let mut replies: Vec<_> = transcript.replies.iter().collect();
    replies.sort_by_key(|(model, _)| names::model_order(model));
    let replies = replies.into_iter().map(|(model, reply)| ReplyView {
        model: names::model(model),
        colour: palette::model(model).name,
        text: &reply.text,
        verdict: reply.verdict.as_deref(),
        tone: reply
            .verdict
            .as_ref()
            .map_or(Tone::Neutral, |verdict| tone(transcript.kind, verdict)),
    });
    TranscriptView { prompt: &transcript.prompt, kind: transcript.kind, replies: replies.collect() }
}

fn times(results: &Results) -> Vec<TimeView> {
    let longest = results.seconds.values().copied().fold(0.0, f64::max);
    results
        .seconds
        .iter()
        .map(|(stage, &seconds)| TimeView {
            stage: names::stage(stage),
            percent: if longest > 0.0 { (1000.0 * seconds / longest).round() / 10.0 } else { 0.0 },
            text: format::duration(seconds),
        })
        .collect()
}
