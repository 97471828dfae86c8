"""Runs the same work with this project, `transformers` and llama.cpp in turn; prints ratios.

    python benches/peers/run.py --rounds 5

Builds the bench once, makes the model where it is missing, and then runs every workload of every
arm, one process each, round by round, so that what else the machine does falls on all arms alike.
Figures are medians over the rounds. README.md tells what to install.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

from workloads import WORKLOADS, unit_and_amount

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OURS, TRANSFORMERS, LLAMA_CPP = "rlaif", "transformers", "llama_cpp"
ARMS = [OURS, TRANSFORMERS, LLAMA_CPP]
PACKAGES = ["torch", "transformers", "llama-cpp-python"]

# What to reach: a name, the arm and workload above the line, those below it, and the least ratio.
GOALS = [
    ("decode at batch 1", (OURS, "decode/1"), (TRANSFORMERS, "decode/1"), 3.0),
    ("decode at batch 16", (OURS, "decode/16"), (TRANSFORMERS, "decode/16"), 1.3),
    ("prefill of 1,024 tokens", (OURS, "prefill/1024"), (TRANSFORMERS, "prefill/1024"), 0.4),
    ("choose, prefix shared or not", (OURS, "choose/shared"), (OURS, "choose/alone"), 8.0),
    ("choose, theirs one batch", (OURS, "choose/shared"), (TRANSFORMERS, "choose/alone"), 3.0),
]


def main():
    arguments = parse_arguments()
    if not (arguments.model / "model.gguf").exists():
        make_model(arguments.model)
    commands = arm_commands(arguments)
    print_machine(arguments)
    measured = measure(commands, arguments)
    if arguments.output:
        arguments.output.write_text(json.dumps(measured, indent=2) + "\n")
    figures = medians(measured)
    print_table(figures, arguments)
    print_goals(figures)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, default=WORKLOADS)
    parser.add_argument("--threads", type=int, default=2, help="threads of every arm")
    parser.add_argument(
        "--model", type=Path, default=target_folder() / "peers" / "model", help="made where missing"
    )
    parser.add_argument("--output", type=Path, help="a JSON file for all that was measured")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    arguments.model = arguments.model.resolve()
    return arguments


def target_folder():
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def make_model(folder):
    script = [sys.executable, HERE / "make_model.py", folder]
    subprocess.run(script, check=True, stdout=subprocess.DEVNULL)


def arm_commands(arguments):
    """The command of each arm, but for the workload."""
    model = ["--model", str(arguments.model)]
    commands = {}
    for arm in arguments.arms:
        if arm == OURS:
            # `cargo bench` hands over --bench too.
            commands[arm] = [build_bench(), *model, "--json", "--bench"]
        else:
            if importlib.util.find_spec(arm) is None:
                sys.exit(f"{arm} is not installed; install it or choose others with --arms")
            script = str(HERE / f"{arm}_arm.py")
            commands[arm] = [sys.executable, script, *model, "--threads", str(arguments.threads)]
    return commands


def build_bench():
    """Builds the bench and returns the path of its program."""
    command = ["cargo", "bench", "-p", "rlaif", "--bench", "throughput", "--no-run"]
    command.append("--message-format=json")
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if built.returncode:
        # With this format the compiler's errors come as messages.
        for message in messages(built.stdout):
            print(message.get("message", {}).get("rendered") or "", end="", file=sys.stderr)
        sys.exit("the bench does not build")
    for message in messages(built.stdout):
        if message.get("target", {}).get("name") == "throughput" and message.get("executable"):
            return message["executable"]
    sys.exit("cargo built no program named throughput")


def messages(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def measure(commands, arguments):
    """By arm and workload: what each round reported."""
    measured = {arm: {} for arm in commands}
    for round_number in range(1, arguments.rounds + 1):
        for workload in arguments.only:
            for arm, command in commands.items():
                if arm == LLAMA_CPP and workload == "train":
                    continue
                print(f"round {round_number}: {workload} {arm}", file=sys.stderr)
                measured[arm].setdefault(workload, []).append(
                    run_arm([*command, "--only", workload], workload, arguments.threads)
                )
    return measured


def run_arm(command, workload, threads):
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
    for report in messages(done.stdout):
        if report.get("workload") == workload:
            return report
    sys.exit(f"{' '.join(command)} reported no {workload}")


def medians(measured):
    """Figures by arm and workload."""
    return {
        (arm, workload): statistics.median(report["per_second"] for report in reports)
        for arm, workloads in measured.items()
        for workload, reports in workloads.items()
    }


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


def print_table(figures, arguments):
    peers = [arm for arm in arguments.arms if arm != OURS]
    ratios = peers if OURS in arguments.arms else []
    header = ["workload", "unit", *arguments.arms, *(f"{OURS}/{peer}" for peer in ratios)]
    rows = [header]
    for workload in arguments.only:
        row = [workload, unit_and_amount(workload)[0]]
        row += [figure(figures.get((arm, workload))) for arm in arguments.arms]
        row += [ratio(figures, (OURS, workload), (peer, workload)) for peer in ratios]
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        cells = [row[0].ljust(widths[0]), row[1].ljust(widths[1])]
        cells += [cell.rjust(width) for cell, width in zip(row[2:], widths[2:])]
        print("  ".join(cells))


def figure(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def quotient(figures, above, below):
    if above in figures and below in figures:
        return figures[above] / figures[below]
    return None


def ratio(figures, above, below):
    value = quotient(figures, above, below)
    return "-" if value is None else f"{value:.2f}x"


def print_goals(figures):
    reached = [(*goal, quotient(figures, goal[1], goal[2])) for goal in GOALS]
    reached = [goal for goal in reached if goal[-1] is not None]
    if reached:
        print()
    for name, above, below, least, value in reached:
        verdict = "reached" if value >= least else "missed"
        arms = f"{' '.join(above)} / {' '.join(below)}"
        print(f"{name}: {arms} = {value:.2f}x, goal {least}x, {verdict}")


if __name__ == "__main__":
    main()
