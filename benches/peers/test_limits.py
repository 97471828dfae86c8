"""Operations of the workloads, against sums by hand."""

import unittest
from unittest import mock

import limits
from workloads import EPISODES, RESPONSE

# Width 2, inner width 3, one layer: 4 * 4 + 3 * 2 * 3 = 34 weights, 68 operations a token; 8 for a
# query and a key; with a vocabulary of 5, 20 for all logits of a position.
TINY = mock.patch.multiple(limits, SHAPES={"tiny": (2, 3, 1, 1)}, VOCABULARY=5)
TOKEN, PAIR, LOGITS = 68, 8, 20


def work(workload, rows=None):
    with TINY, mock.patch.object(limits, "read_rows", lambda folder, name: rows):
        return limits.work(workload, "tiny", None)


class Operations(unittest.TestCase):
    def test_reading(self):
        self.assertEqual(work("prefill/4"), (4 * TOKEN + 10 * PAIR + LOGITS) / 4)

    def test_a_bare_step(self):
        forward = 2 * (3 * TOKEN + 6 * PAIR + 3 * LOGITS)
        self.assertEqual(work("train/2x3"), 3 * forward / 6)

    def test_the_last_token_of_a_dialogue_is_not_read(self):
        rows = [[[1, 2], [3, 4, 5]]]
        self.assertEqual(work("sft", rows), 3 * (4 * TOKEN + 10 * PAIR + 3 * LOGITS) / 4)

    def test_a_pair_reads_its_prompt_once(self):
        rows = [[[1, 2], [3], [4, 5]]]
        pairs = 3 + (2 + 1) + (2 * 2 + 3)
        self.assertEqual(work("reward_model", rows), 3 * (5 * TOKEN + pairs * PAIR) / 7)

    def test_values_on_the_trunk_cost_nothing(self):
        prompts = [[1]] * EPISODES
        read, length = RESPONSE, RESPONSE + 1
        policy = read * TOKEN + read * (read + 1) // 2 * PAIR + RESPONSE * LOGITS
        scored = length * TOKEN + length * (length + 1) // 2 * PAIR
        shared = EPISODES * (3 * policy + scored + 12 * policy)
        self.assertEqual(work("ppo/shared", prompts), shared)
        self.assertEqual(work("ppo", prompts), shared + EPISODES * (scored + 12 * scored))

    def test_drawing_has_no_limit_of_products(self):
        self.assertIsNone(work("decode/1"))


if __name__ == "__main__":
    unittest.main()
