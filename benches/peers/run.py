"""Runs the same work with this project and its peers in turn; prints ratios and goals.

    python benches/peers/run.py --rounds 5
    python benches/peers/run.py --only train/16x128 --sizes 2M 7M 20M --rounds 5
    python benches/peers/run.py --training --rounds 5
    python benches/peers/run.py --operations --rounds 5

Builds the benches once, makes the models where they are missing, and then runs every workload of
every arm, one process each, round by round, so that what else the machine does falls on all arms
alike; of operations, which take milliseconds, each arm runs all in one process. Figures are medians
over the rounds. README.md tells what to install.
"""

import argparse
import functools
import importlib.metadata
import json
import math
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import goals
import operations
from arms import (
    ARMS,
    LLAMA_CPP,
    OPERATION_ARMS,
    OURS,
    PRIMITIVES,
    SERVING_ARMS,
    TRAINING_ARMS,
    arms_of,
    missing_modules,
    stand_in,
)
from workloads import ROWS, SHAPES, TRAINING_WORKLOADS, WORKLOADS, name_of, unit_and_amount

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PACKAGES = ["torch", "transformers", "llama-cpp-python", "trl", "peft"]


@dataclass(frozen=True)
class Job:
    """A workload on the model of a size, and the command of each arm for it."""

    workload: str
    size: str
    commands: dict

    @property
    def name(self):
        return name_of(self.workload, self.size)


def main():
    arguments = parse_arguments()
    if arguments.operations:
        compare_operations(arguments)
    else:
        compare_workloads(arguments)


def compare_workloads(arguments):
    serving, training = serving_jobs(arguments), training_jobs(arguments)
    print_machine(arguments)
    measured = measure([*serving, *training], arguments)
    if serving:
        print_table(serving_rows(measured, serving, arguments), names=3)
    if steps := [job for job in serving if job.workload.startswith("train/")]:
        print_table(memory_rows(measured, steps, arguments), names=2)
    if training:
        print_table(training_rows(measured, training, arguments), names=3)
    print_goals(measured)


def write_output(measured, arguments):
    """After every process, so that what is stopped has not been measured for nothing."""
    if arguments.output:
        arguments.output.write_text(json.dumps(measured, indent=2) + "\n")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--training", action="store_true", help="the training workloads instead")
    instead.add_argument("--operations", action="store_true", help="single operations instead")
    installed = "instead of all that are installed"
    parser.add_argument("--arms", nargs="+", choices=ARMS, help=installed)
    parser.add_argument("--only", nargs="+", default=[], help="names; of operations, beginnings")
    parser.add_argument("--threads", type=int, default=2, help="threads of every arm")
    parser.add_argument(
        "--folder",
        type=Path,
        default=target_folder() / "peers",
        help="models are made here where missing",
    )
    sizes = "of the models [default: 7M; of the training workloads, all]"
    parser.add_argument("--sizes", nargs="+", choices=SHAPES, help=sizes)
    parser.add_argument("--steps", type=int, default=8, help="optimiser steps that are timed")
    parser.add_argument("--iterations", type=int, default=2, help="PPO iterations that are timed")
    parser.add_argument("--output", type=Path, help="a JSON file for all that was measured")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    arguments.folder = arguments.folder.resolve()
    check_names(parser, arguments)
    if not arguments.only and not arguments.operations:
        arguments.only = TRAINING_WORKLOADS if arguments.training else WORKLOADS
    arguments.arms = able_arms(arguments)
    return arguments


def check_names(parser, arguments):
    names = operations.WORK if arguments.operations else [*WORKLOADS, *TRAINING_WORKLOADS]
    for wanted in arguments.only:
        known = operations.chosen([wanted]) if arguments.operations else wanted in names
        if not known:
            parser.error(f"there is no {wanted!r}, only {', '.join(names)}")


def target_folder():
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def able_arms(arguments):
    """Those that have something to do; without what is not installed, unless it is asked for."""
    needed = {arm for workload in arguments.only for arm in arms_of(workload)}
    if arguments.operations:
        needed = OPERATION_ARMS
    able = []
    for arm in [arm for arm in arguments.arms or ARMS if arm in needed]:
        missing = ", ".join(missing_modules(arm))
        if missing and arguments.arms:
            sys.exit(f"{arm} needs {missing}; install what is missing or choose others with --arms")
        if missing:
            print(f"{arm} is left out, not installed: {missing}", file=sys.stderr)
        else:
            able.append(arm)
    if not able:
        sys.exit("no arm is left that does any of this")
    return able


def serving_jobs(arguments):
    chosen = [workload for workload in arguments.only if workload in WORKLOADS]
    sizes = arguments.sizes or ["7M"]
    jobs = []
    for size in sizes if chosen else []:
        folder = arguments.folder / f"serving-{size}"
        gguf = LLAMA_CPP in arguments.arms
        if not (folder / ("model.gguf" if gguf else "model.safetensors")).exists():
            make_model(folder, "--size", size, *(["--gguf"] if gguf else []))
        commands = arm_commands(arguments, SERVING_ARMS, "throughput", ["--model", folder])
        jobs += [job(workload, size, commands) for workload in chosen]
    return jobs


def training_jobs(arguments):
    chosen = [workload for workload in arguments.only if workload in TRAINING_WORKLOADS]
    sizes = arguments.sizes or list(SHAPES)
    jobs = []
    for size in sizes if chosen else []:
        folder = arguments.folder / f"training-{size}"
        if not (folder / ROWS).exists():
            make_model(folder, "--training", "--size", size)
        more = ["--model", folder, "--steps", arguments.steps, "--iterations", arguments.iterations]
        commands = arm_commands(arguments, TRAINING_ARMS, "training", more)
        jobs += [job(workload, size, commands) for workload in chosen]
    return jobs


def job(workload, size, commands):
    """Without the arms that cannot do it."""
    able = [arm for arm in arms_of(workload) if arm in commands]
    return Job(workload, size, {arm: [*commands[arm], "--only", workload] for arm in able})


def make_model(folder, *more):
    script = [sys.executable, HERE / "make_model.py", folder, *more]
    subprocess.run(script, check=True, stdout=subprocess.DEVNULL)


def arm_commands(arguments, arms, bench, more):
    """The command of each arm, but for the workload."""
    more = [str(part) for part in more]
    commands = {}
    for arm in [arm for arm in arms if arm in arguments.arms]:
        if arm == OURS:
            # `cargo bench` hands over --bench too.
            commands[arm] = [build_bench(bench), *more, "--json", "--bench", "--device", "flex"]
        else:
            commands[arm] = [*python_arm(arm, arguments), *more]
    return commands


def python_arm(arm, arguments):
    return [sys.executable, str(HERE / f"{arm}_arm.py"), "--threads", str(arguments.threads)]


@functools.cache
def build_bench(name):
    """Builds the bench and returns the path of its program."""
    command = ["cargo", "bench", "-p", "rlaif", "--bench", name, "--no-run"]
    command.append("--message-format=json")
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if built.returncode:
        # With this format the compiler's errors come as messages.
        for message in messages(built.stdout):
            print(message.get("message", {}).get("rendered") or "", end="", file=sys.stderr)
        sys.exit("the bench does not build")
    for message in messages(built.stdout):
        if message.get("target", {}).get("name") == name and message.get("executable"):
            return message["executable"]
    sys.exit(f"cargo built no program named {name}")


def messages(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def measure(jobs, arguments):
    """By arm and job: what each round reported."""
    measured = {}
    for round_number in range(1, arguments.rounds + 1):
        for job in jobs:
            for arm, command in job.commands.items():
                print(f"round {round_number}: {job.name} {arm}", file=sys.stderr)
                report = run_arm(command, job.workload, arguments.threads)
                measured.setdefault(arm, {}).setdefault(job.name, []).append(report)
                write_output(measured, arguments)
    return measured


def run_arm(command, workload, threads):
    for report in run(command, threads):
        if report.get("workload") == workload:
            return report
    sys.exit(f"{' '.join(command)} reported no {workload}")


def run(command, threads):
    """What the command reports."""
    environment = os.environ | dict(
        RAYON_NUM_THREADS=str(threads),
        OMP_NUM_THREADS=str(threads),
        MKL_NUM_THREADS=str(threads),
        HF_HUB_OFFLINE="1",
        TOKENIZERS_PARALLELISM="false",
    )
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stderr}\n{' '.join(command)} exited with {done.returncode}")
    return messages(done.stdout)


def medians(measured, key):
    """Medians of what was reported under `key`, by arm and job."""
    return {
        (arm, name): statistics.median(report[key] for report in reports)
        for arm, jobs in measured.items()
        for name, reports in jobs.items()
        if all(report.get(key) is not None for report in reports)
    }


def compare_operations(arguments):
    commands = operation_commands(arguments)
    print_machine(arguments)
    measured = measure_operations(commands, arguments)
    check_work(measured)
    print_markdown(operation_rows(measured))
    print_ceilings(measured)


def operation_commands(arguments):
    """The command of each arm, for all operations that are asked for."""
    commands = {}
    rust_arms = {OURS: "ours", PRIMITIVES: "primitives"}
    chosen = [arm for arm in OPERATION_ARMS if arm in arguments.arms]
    program = build_bench("operations") if any(arm in rust_arms for arm in chosen) else None
    for arm in chosen:
        if arm in rust_arms:
            commands[arm] = [program, "--bench", "--json", "--arm", rust_arms[arm]]
        else:
            commands[arm] = python_arm(arm, arguments)
    only = ["--only", *arguments.only] if arguments.only else []
    return {arm: [*command, *only] for arm, command in commands.items()}


def measure_operations(commands, arguments):
    """By arm and operation: what each round reported."""
    measured = {}
    for round_number in range(1, arguments.rounds + 1):
        for arm, command in commands.items():
            print(f"round {round_number}: {arm}", file=sys.stderr)
            for report in run(command, arguments.threads):
                measured.setdefault(arm, {}).setdefault(report["operation"], []).append(report)
            write_output(measured, arguments)
    return measured


def check_work(measured):
    """Rates of arms that count the same operation differently could not be compared."""
    for arm, reports in measured.items():
        for name, (report, *_) in reports.items():
            _, amount = (operations.WORK | operations.CEILINGS)[name]
            if not math.isclose(report["rate"] * report["seconds"] * 1e9, amount, rel_tol=1e-6):
                sys.exit(f"{arm} does not count the work of {name} as operations.py does")


def operation_rows(measured):
    """Milliseconds of each arm, and what they come to.

    Ratios are above 1 where this project is faster. A share is that of the rate beside it in the
    ceiling below the table: the median of the rounds' own shares would be another.
    """
    seconds, rates = medians(measured, "seconds"), medians(measured, "rate")
    ceilings = ceiling_rates(rates, OURS)
    titles = ["ours (ms)", "primitives (ms)", "PyTorch (ms)", "ours, a second", "share of ceiling"]
    rows = [["operation", *titles, "to primitives", "to PyTorch"]]
    for name in operations.WORK:
        keys = [(arm, name) for arm in OPERATION_ARMS]
        if not any(key in seconds for key in keys):
            continue
        unit, _ = operations.WORK[name]
        ours = keys[0]
        row = [f"`{name}`", *(milliseconds(seconds.get(key)) for key in keys)]
        row.append(f"{figure(rates[ours])} {unit}" if ours in rates else "")
        row.append(f"{rates[ours] / ceilings[unit]:.0%}" if ours in rates else "")
        row += [ratio(seconds, key, ours).strip("-") for key in keys[1:]]
        rows.append(row)
    return rows


def ceiling_rates(rates, arm):
    """What an arm can reach, by unit."""
    ceilings = operations.CEILINGS.items()
    return {unit: rates[arm, name] for name, (unit, _) in ceilings if (arm, name) in rates}


def print_markdown(rows):
    for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]]:
        print(f"| {' | '.join(row)} |")


def print_ceilings(measured):
    rates = medians(measured, "rate")
    print()
    for name, (unit, _) in operations.CEILINGS.items():
        arms = [arm for arm in OPERATION_ARMS if (arm, name) in rates]
        found = ", ".join(f"{figure(rates[arm, name])} {unit} ({arm})" for arm in arms)
        print(f"{name}: {found}")


def milliseconds(value):
    return "" if value is None else f"{value * 1e3:.3f}"


def print_machine(arguments):
    print(f"CPU: {cpu_model()}, {os.cpu_count()} cores, {arguments.threads} threads")
    print(f"load before the run: {os.getloadavg()[0]:.1f}")
    print(f"Python {platform.python_version()}", *map(package_version, PACKAGES), sep=", ")
    if OURS in arguments.arms:
        print("rlaif at", output_of("git", "describe", "--always", "--dirty"), end=", ")
        print(output_of("rustc", "--version"))
    print()


def cpu_model():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), "unknown")


def package_version(name):
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return f"no {name}"


def output_of(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def serving_rows(measured, jobs, arguments):
    speed = medians(measured, "per_second")
    arms = [arm for arm in SERVING_ARMS if arm in arguments.arms]
    ratios = [arm for arm in arms if arm != OURS] if OURS in arms else []
    rows = [["workload", "model", "unit", *arms, *(f"{OURS}/{peer}" for peer in ratios)]]
    for job in jobs:
        row = [job.workload, job.size, unit_and_amount(job.workload)[0]]
        row += [figure(speed.get((arm, job.name))) for arm in arms]
        row += [ratio(speed, (OURS, job.name), (peer, job.name)) for peer in ratios]
        rows.append(row)
    return rows


def memory_rows(measured, jobs, arguments):
    """Of bare steps of training, whose memory should grow with their tokens alone."""
    memory = memory_of(measured)
    arms = [arm for arm in arms_of(jobs[0].workload) if arm in arguments.arms]
    rows = [["workload", "model", *memory_titles(memory, arms)]]
    for job in jobs:
        keys = [(arm, job.name) for arm in arms]
        rows.append([job.workload, job.size, *memory_cells(memory, keys)])
    return rows


def training_rows(measured, jobs, arguments):
    """Figures, memory and last losses.

    The ratio of the speeds is above 1 where this project is faster, those of memory where it takes
    more.
    """
    speed, loss = medians(measured, "per_second"), medians(measured, "loss")
    memory = memory_of(measured)
    arms = [arm for arm in TRAINING_ARMS if arm in arguments.arms]
    titles = [*arms, "speed", *memory_titles(memory, arms), *(f"loss {arm}" for arm in arms)]
    rows = [["workload", "model", "unit", *titles]]
    for job in jobs:
        keys = [(arm, name_of(stand_in(arm, job.workload), job.size)) for arm in arms]
        timed_as_a_whole = job.workload.startswith("ppo")
        row = [job.workload, job.size, "s/iteration" if timed_as_a_whole else "tok/s"]
        row += compared(speed, keys, seconds_of if timed_as_a_whole else figure)
        row += memory_cells(memory, keys)
        row += ["-" if key not in loss else f"{loss[key]:.4f}" for key in keys]
        rows.append(row)
    return rows


def memory_of(measured):
    """The highest memory, and what the work adds to that of the libraries, by arm and job."""
    peak, base = medians(measured, "peak_bytes"), medians(measured, "base_bytes")
    return dict(peak=peak, added={key: peak[key] - base[key] for key in peak if key in base})


def memory_titles(memory, arms):
    return [title for kind in memory for title in [*(f"{kind} MiB {arm}" for arm in arms), kind]]


def memory_cells(memory, keys):
    return [cell for values in memory.values() for cell in compared(values, keys, mebibytes)]


def compared(values, keys, show):
    """The value of each key, and the ratio of the first to the last."""
    cells = [show(values.get(key)) for key in keys]
    return [*cells, ratio(values, keys[0], keys[-1]) if len(keys) > 1 else "-"]


def print_table(rows, names):
    """The first columns are names, to the left, the others figures, to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:names], widths)]
        cells += [cell.rjust(width) for cell, width in zip(row[names:], widths[names:])]
        print("  ".join(cells))
    print()


def figure(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def seconds_of(rate):
    return figure(None if rate is None else 1 / rate)


def mebibytes(value):
    return "-" if value is None else f"{value / 2**20:,.0f}"


def ratio(figures, above, below):
    if above in figures and below in figures:
        return f"{figures[above] / figures[below]:.2f}x"
    return "-"


def print_goals(measured):
    figures = {key: medians(measured, key) for key in [goals.SPEED, goals.MEMORY]}
    for verdict in goals.verdicts(figures):
        print(verdict)


if __name__ == "__main__":
    main()
