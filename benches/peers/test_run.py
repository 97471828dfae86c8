"""What run.py makes of what is measured, without running anything.

    python -m unittest discover benches/peers
"""

import argparse
import contextlib
import io
import unittest
from unittest import mock

import goals
import run
from arms import LLAMA_CPP, OURS, TRANSFORMERS, TRL, arms_of, workloads_of
from workloads import SHAPES

SPEED, MEMORY = goals.SPEED, goals.MEMORY


def arguments(only, arms=None, operations=False):
    return argparse.Namespace(only=only, arms=arms, operations=operations)


def able_arms(missing, *given):
    """With what is printed."""
    modules = mock.patch.object(run, "missing_modules", lambda arm: missing.get(arm, []))
    with modules, contextlib.redirect_stderr(io.StringIO()) as said:
        return run.able_arms(arguments(*given)), said.getvalue()


class Goals(unittest.TestCase):
    def verdicts(self, speed=None, memory=None):
        return goals.verdicts({SPEED: speed or {}, MEMORY: memory or {}})

    def test_bounds_of_speeds_depend_on_the_size(self):
        rates = {OURS: 115.0, TRANSFORMERS: 100.0}
        names = "train/16x128 2M", "train/16x128 7M"
        missed, reached = self.verdicts(
            speed={(arm, name): rate for arm, rate in rates.items() for name in names}
        )
        self.assertIn("2M = 1.150x, goal at least 1.2x, missed", missed)
        self.assertIn("7M = 1.150x, goal at least 1.1x, reached", reached)

    def test_memory_must_not_exceed_its_bound(self):
        name = "train/1x2048 7M"
        for ours, verdict in [(70, "reached"), (71, "missed")]:
            [line] = self.verdicts(memory={(OURS, name): ours, (TRANSFORMERS, name): 100})
            self.assertTrue(line.endswith(f"goal at most 0.7x, {verdict}"), line)

    def test_stages_may_take_half_the_memory_of_the_peer(self):
        for size in SHAPES:
            stages = ["sft", "reward_model", "ppo", "ppo/shared", "ppo/lora"]
            ours = {(OURS, f"{stage} {size}"): 50 + (stage == "ppo") for stage in stages}
            theirs = {(TRL, f"{stage} {size}"): 100 for stage in stages if stage != "ppo/shared"}
            lines = self.verdicts(memory=ours | theirs)
            self.assertEqual(len(lines), len(stages), lines)
            for stage, line in zip(stages, lines):
                peer = "ppo" if stage == "ppo/shared" else stage
                self.assertIn(f"rlaif {stage} {size} / trl {peer} {size} = ", line)
                verdict = "missed" if stage == "ppo" else "reached"
                self.assertTrue(line.endswith(f"goal at most 0.5x, {verdict}"), line)

    def test_all_goals_that_were_measured_are_printed(self):
        report = lambda rate, peak: [{"per_second": rate, "peak_bytes": peak}]
        measured = {OURS: {"sft 2M": report(1.5, 40)}, TRL: {"sft 2M": report(1.0, 100)}}
        with contextlib.redirect_stdout(io.StringIO()) as said:
            run.print_goals(measured)
        speed, memory = said.getvalue().splitlines()
        self.assertIn("= 1.500x, goal at least 1.4x, reached", speed)
        self.assertIn("= 0.400x, goal at most 0.5x, reached", memory)

    def test_iterations_a_second_are_compared_not_seconds(self):
        speed = {(OURS, "ppo 2M"): 1 / 2, (OURS, "ppo/shared 2M"): 1.0, (TRL, "ppo 2M"): 1 / 3}
        separate, shared = self.verdicts(speed=speed)
        self.assertIn("= 1.500x, goal at least 1.4x, reached", separate)
        self.assertIn("ppo/shared 2M / trl ppo 2M = 3.000x, goal at least 2.5x, reached", shared)

    def test_sharing_is_compared_with_each_prompt_alone(self):
        speed = {(OURS, "choose/shared 7M"): 90.0, (TRANSFORMERS, "choose/each 7M"): 10.0}
        [line] = self.verdicts(speed=speed)
        self.assertIn("= 9.000x, goal at least 8.0x, reached", line)

    def test_every_goal_can_be_measured(self):
        for goal in goals.GOALS:
            self.assertIn(OURS, arms_of(goal.workload))
            self.assertIn(goal.peer, arms_of(goal.theirs or goal.workload))


class Arms(unittest.TestCase):
    def test_what_is_not_installed_is_left_out(self):
        arms, said = able_arms({LLAMA_CPP: ["gguf"]}, ["decode/1"])
        self.assertEqual(arms, [OURS, TRANSFORMERS])
        self.assertIn("llama_cpp is left out, not installed: gguf", said)

    def test_unless_it_is_asked_for(self):
        with self.assertRaises(SystemExit) as end:
            able_arms({LLAMA_CPP: ["gguf"]}, ["decode/1"], [OURS, LLAMA_CPP])
        self.assertIn("llama_cpp needs gguf", str(end.exception))

    def test_what_has_nothing_to_do_need_not_be_there(self):
        arms, said = able_arms({LLAMA_CPP: ["llama_cpp"], TRL: ["trl"]}, ["train/16x128"])
        self.assertEqual((arms, said), ([OURS, TRANSFORMERS], ""))

    def test_no_work_is_done_twice(self):
        for arm in [OURS, LLAMA_CPP]:
            self.assertIn("choose/each", workloads_of(arm))
            self.assertNotIn("choose/batch", workloads_of(arm))


class Tables(unittest.TestCase):
    def test_a_share_is_that_of_the_rate_beside_it(self):
        names = ["attend_step/64", "ceiling/memory"]
        rounds = [(20.0, 22.8), (25.74, 20.0), (30.0, 30.0)]
        report = lambda rate, ceiling: dict(seconds=1e-3, rate=rate, share=rate / ceiling)
        reports = zip(*([report(*rates), report(rates[1], rates[1])] for rates in rounds))
        _, row = run.operation_rows({OURS: dict(zip(names, reports))})
        self.assertEqual(row[4:6], ["25.74 GB/s", "113%"])

    def test_memory_is_shown_whole_and_beside_the_libraries(self):
        job = run.Job("train/16x128", "2M", {})
        report = lambda peak, base: [{"peak_bytes": peak << 20, "base_bytes": base << 20}]
        measured = {OURS: {job.name: report(200, 50)}, TRANSFORMERS: {job.name: report(800, 500)}}
        rows = run.memory_rows(measured, [job], arguments([], [OURS, TRANSFORMERS]))
        cells = ["200", "800", "0.25x", "150", "300", "0.50x"]
        self.assertEqual(rows[1], ["train/16x128", "2M", *cells])
        self.assertEqual(len(rows[0]), len(rows[1]))

    def test_iterations_are_shown_in_seconds_and_their_ratio_in_speed(self):
        measured = {
            OURS: {"ppo/shared 2M": [{"per_second": 0.5}]},
            TRL: {"ppo 2M": [{"per_second": 0.25}]},
        }
        job = run.Job("ppo/shared", "2M", {})
        rows = run.training_rows(measured, [job], arguments([], [OURS, TRL]))
        self.assertEqual(rows[1][:6], ["ppo/shared", "2M", "s/iteration", "2.00", "4.00", "2.00x"])


if __name__ == "__main__":
    unittest.main()
