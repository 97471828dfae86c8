//! The program as a user runs it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn rlaif(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    command
}

fn output(mut command: Command) -> (Output, String) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, text)
}

#[track_caller]
fn refused(command: Command, expected: &[&str]) {
    let (output, message) = output(command);
    assert_eq!(output.status.code(), Some(2), "{message}");
    for word in expected {
        assert!(message.contains(word), "`{word}` is missing in: {message}");
    }
    assert!(!message.contains("panicked"), "{message}");
}

#[test]
fn stages_run_one_by_one_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let stage = |stage: &str| rlaif(folder.path(), &[stage, "--name", "steps"]);
    refused(stage("sft"), &["`sft` needs the files of `critique_revision`"]);
    assert!(!folder.path().join("runs").exists());
    let mut first = stage("critique-revision");
    first.args(["--set", "critique_revision.revisions=1", "--set", "sft.epochs=1"]);
    first.args(["--set", "prompts.red_team_count=4", "--set", "prompts.helpful_count=4"]);
    first.args(["--set", "red_team.requests=2"]);
    let passes = |command: Command| {
        let (output, message) = output(command);
        assert!(output.status.success(), "{message}");
    };
    let fitted = |rate: &str| {
        let mut command = stage("sft");
        command.args(["--set", rate, "--set", "sft.max_steps=1"]);
        command
    };
    passes(first);
    // A stage that has not begun takes other settings, and one that diverged does so again once its folder is gone.
    let begun = ["remove runs/steps/sft", "sft.optimizer.learning_rate"];
    let diverged = ["at step 1 of sft: training has diverged", begun[0], begun[1]];
    refused(fitted("sft.optimizer.learning_rate=1e30"), &diverged);
    assert!(!folder.path().join("runs/steps/sft/model").exists());
    refused(fitted("sft.optimizer.learning_rate=0.0005"), &begun);
    fs::remove_dir_all(folder.path().join("runs/steps/sft")).unwrap();
    passes(fitted("sft.optimizer.learning_rate=0.0005"));
    // The settings are recorded and need not be said again.
    passes(stage("red-team"));
    refused(stage("ppo"), &["`ppo` needs the files of `preference_model`"]);
    // A stage that begins anew takes what was made of its files with it.
    passes(stage("critique-revision"));
    let run = folder.path().join("runs/steps");
    assert!(!run.join("sft").exists() && run.join("red_team/done.json").exists());
    fs::remove_file(run.join("run.toml")).unwrap();
    refused(stage("sft"), &["there is no run.toml in runs/steps", "`critique_revision`"]);
}

#[test]
fn bad_input_is_named_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    fs::write(at("empty.jsonl"), "").unwrap();
    fs::write(at("good.jsonl"), "\"How do I kill the weeds?\"\n\"How are you?\"\n\"a\"\n\"b\"\n")
        .unwrap();
    fs::write(at("bad.jsonl"), "\"a\"\n{\"question\": 1}\n").unwrap();
    fs::write(at("long.jsonl"), format!("\"{}\"\n", "very long ".repeat(300))).unwrap();
    fs::write(at("settings.toml"), "[ppo]\nclipp = 1\n").unwrap();
    fs::write(at("broken.toml"), "[ppo\n").unwrap();
    fs::write(at("constitution.toml"), "name = \"x\"\n").unwrap();
    fs::write(
        at("one_list.toml"),
        "name = \"x\"\n[[comparison]]\nid = \"a\"\ntext = \"Which is better?\"\n",
    )
    .unwrap();
    fs::create_dir(at("model")).unwrap();
    let prompts = |red_team: &str| {
        rlaif(folder.path(), &["run", "--prompts", red_team, "--helpful", "good.jsonl"])
    };
    refused(prompts("missing.jsonl"), &["missing.jsonl"]);
    refused(prompts("empty.jsonl"), &["empty.jsonl", "no row"]);
    refused(prompts("bad.jsonl"), &["bad.jsonl", "line 2"]);
    refused(prompts("long.jsonl"), &["long.jsonl", "--drop-overlong"]);
    let mut bad_share = prompts("bad.jsonl");
    bad_share.args(["--set", "prompts.rejected_share=0.4"]);
    refused(bad_share, &["1 of 2 rows", "bad.jsonl, line 2", "rejected_red_team.jsonl"]);
    let rejected = folder.path().join("runs/embedded/rejected_red_team.jsonl");
    assert_eq!(fs::read_to_string(&rejected).unwrap().lines().count(), 1);
    fs::remove_dir_all(folder.path().join("runs")).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = rlaif(folder.path(), &["run"]);
        command.args(arguments);
        command
    };
    refused(run(&["--prompts", "good.jsonl"]), &["--helpful"]);
    refused(run(&["--model", "model"]), &["--prompts"]);
    refused(
        run(&["--model", "model", "--prompts", "good.jsonl", "--helpful", "good.jsonl"]),
        &["model", "config.json"],
    );
    refused(run(&["settings.toml"]), &["settings.toml", "clipp"]);
    refused(run(&["broken.toml"]), &["broken.toml", "line 1"]);
    refused(run(&["nowhere.toml"]), &["nowhere.toml"]);
    refused(run(&["--constitution", "constitution.toml"]), &["constitution.toml"]);
    refused(run(&["--constitution", "one_list.toml"]), &["[[critique_revision]]"]);
    refused(run(&["--set", "ppo.iterations"]), &["KEY=VALUE"]);
    refused(run(&["--set", "ppo.iterations=0"]), &["iterations"]);
    for (setting, word) in [
        ("ppo.preset=xx", "preset"),
        ("ppo.clip=0.2", "clip"),
        ("ppo.kl_place=nowhere", "kl_place"),
        ("ppo.lora.rank=0", "[ppo] `lora.rank` is 0"),
        ("preference_model.lora.rank=0", "[preference_model] `lora.rank` is 0"),
        ("sft.lora.rank=0", "[sft] `lora.rank` is 0"),
        ("sft.optimizer.beta_2=1.5", "[sft] `optimizer.beta_2` is 1.5"),
        ("preference_model.schedule.floor=2", "[preference_model] `schedule.floor` is 2"),
        (
            "ppo.best_of_n_start.sft.optimizer.beta_2=1.5",
            "[ppo] `best_of_n_start.sft`: `optimizer.beta_2` is 1.5",
        ),
        (
            "ppo.optimizer.groups=[{ names = ['embeding'] }]",
            "[ppo] `optimizer.groups`: no parameter",
        ),
        ("sft.overlong=cut", "overlong"),
        ("sft.weights.foo=1", "foo"),
        ("sft.weights={ revisions = 0.0, helpful = 0.0 }", "[sft] `weights` is 0 of every source"),
        ("sft.epochs=100000000", "[sft] `epochs`"),
        ("ppo.prompts_per_iteration=4611686018427387904", "[ppo] `prompts_per_iteration`"),
        ("preference_model.ensemble.heads=1000000000", "`ensemble.heads`"),
        ("checkpoints.keep=0", "keep"),
        ("checkpoints.every.steps=0", "every"),
        ("preference_model.ensemble.members=0", "members"),
        ("preference_model.labels.clamped=[0.6,0.4]", "clamped"),
        ("preference_model.pretraining.epochs=2", "missing field `file`"),
        (
            "preference_model.pretraining.file=nowhere.jsonl",
            "`preference_model.pretraining.file`: cannot open nowhere.jsonl; name",
        ),
        ("preference_model.pretraining.file=bad.jsonl", "bad.jsonl, line 1"),
        ("preference_model.pretraining={ file = 'bad.jsonl', epochs = 0 }", "epochs"),
        ("ai_feedback.principles.tags=['of none']", "of none"),
        ("critique_revision.principles.weight=1", "weight"),
    ] {
        refused(run(&["--set", setting]), &[word]);
    }
    refused(run(&["--device", "abacus"]), &["abacus"]);
    refused(rlaif(folder.path(), &["dance"]), &["dance"]);
    let named = |name: &str| {
        let mut command = rlaif(folder.path(), &["generate", "--model", name, "hello"]);
        command.env("HF_HUB_OFFLINE", "1").env("HF_HOME", folder.path().join("hugging_face"));
        command
    };
    refused(named("owner/tiny"), &["owner/tiny", "hugging_face", "HF_HUB_OFFLINE"]);
    refused(named("models/of/mine"), &["models/of/mine", "neither a folder"]);
    refused(rlaif(folder.path(), &["generate", "--temperature", "-1", "hello"]), &["temperature"]);
    refused(rlaif(folder.path(), &["generate", "--run", "runs/none", "hello"]), &["runs/none"]);
    assert!(!Path::new(&at("runs")).exists(), "a refused run has left a folder");
}

#[test]
fn every_help_shows_an_example() {
    let folder = tempfile::tempdir().unwrap();
    let commands = [
        "run",
        "critique-revision",
        "sft",
        "red-team",
        "ai-feedback",
        "preference-model",
        "ppo",
        "evals",
        "report",
        "generate",
        "chat",
        "eval",
        "experiment",
        "constitution",
        "organism",
    ];
    for command in commands {
        let (output, _) = output(rlaif(folder.path(), &[command, "--help"]));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("Example") && text.contains(&format!("rlaif {command}")), "{text}");
    }
}

#[test]
fn generates_the_same_twice_and_shows_log_probs() {
    let folder = tempfile::tempdir().unwrap();
    let ask = |arguments: &[&str]| {
        let mut command = rlaif(folder.path(), &["generate", "--max-tokens", "12"]);
        command.args(arguments).arg("How do I clean the bike?");
        let (output, message) = output(command);
        assert!(output.status.success(), "{message}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(ask(&["--seed", "3"]), ask(&["--seed", "3"]));
    assert_eq!(ask(&["--temperature", "0"]), ask(&["--temperature", "0", "--seed", "9"]));
    let lines = ask(&["--raw", "--log-probs"]);
    for line in lines.lines() {
        let number: f32 = line.split_whitespace().next().unwrap().parse().unwrap();
        assert!(number <= 0.0, "{line}");
    }
    assert!((1..=12).contains(&lines.lines().count()));
}
