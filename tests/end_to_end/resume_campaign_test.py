"""A cross-section of launch/campaign resume, and what a start says whose execution environment has changed.

usage: python resume_campaign_test.py
"""

import sys
import tempfile
import unittest
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "support"), str(TESTS / "campaigns")]

from leda_job import JobTestCase, run  # noqa: E402
from resume_campaign import Campaign, losses_of  # noqa: E402
from resume_cases import (ELASTIC_RANKS, REPRODUCIBLE, STAGES, STEPS, VARIANTS, Move, all_cases,  # noqa: E402
                          elastic_orders)

# Single interruptions: each stage, the discriminator at work, accumulation, rounding on the wire, updates that were not
# made. Interrupted start after start, at other steps and by kill -9: the campaign, and resume_test.py.
QUICK = (
    ("stage 1", "update 5 skipped", "USR1"),
    ("stage 2", "bfloat16 on the wire", "USR1"),
    ("stage 2 with LEDA", "accumulation: one slice a backward", "USR1"),
)


def quick_cases():
    chosen = []
    for wanted in QUICK:
        chosen.append(next(case for case in all_cases() if (case.stage, case.variant.name, case.way) == wanted))
    return chosen


class Exact(unittest.TestCase):
    def test_interrupted_trainings_end_with_the_same_bytes(self):
        with tempfile.TemporaryDirectory(prefix="leda_resume_") as folder:
            campaign = Campaign(Path(folder))
            for case, outcome in campaign.interrupt_all(quick_cases()):
                with self.subTest(str(case)):
                    self.assertEqual(outcome.wrong, [], outcome.output)
                    self.assertTrue(any(0 < step < STEPS for step in outcome.stopped_after), outcome.stopped_after)

    def test_the_campaign_interrupts_every_step_of_every_stage_in_every_variant(self):
        cases = all_cases()
        for stage in STAGES:
            of_stage = [case for case in cases if case.stage == stage]
            for way in ("kill -9, saved every 3 steps", "USR1"):
                faults = [case.starts[0].fault for case in of_stage if (case.variant.name, case.way) == ("2 ranks", way)]
                for step in range(1, STEPS + 1):
                    self.assertEqual(sum(f'"step":{step},' in fault for fault in faults), 1, f"{stage}, {way}, {step}")
            self.assertEqual({case.variant for case in of_stage}, set(VARIANTS))


class Elastic(unittest.TestCase):
    def test_a_run_that_moves_over_one_to_three_ranks_stays_the_same(self):
        with tempfile.TemporaryDirectory(prefix="leda_resume_") as folder:
            campaign = Campaign(Path(folder))
            moves = (Move("float64", (1, 3, 2), stages="pretrain,baseline"),
                     Move("reproducible, float32", (3, 1, 2), 6, REPRODUCIBLE, "float32", "pretrain"))
            for move, outcome in campaign.move_all(moves):
                with self.subTest(str(move)):
                    self.assertEqual(outcome.wrong, [], outcome.output)
                    self.assertEqual({ranks for ranks, _, _ in outcome.stops}, set(move.order))

    def test_losses_tell_one_batch_from_another(self):
        """Equal to 1e-9 at every step they could not be with other batches."""
        with tempfile.TemporaryDirectory(prefix="leda_resume_") as folder:
            campaign = Campaign(Path(folder))
            first = {}
            for seed in (1, 2):
                run_folder = Path(folder) / f"seed_{seed}"
                # No weight has been touched before the first loss; of denoisers that begin as the identity it is the data's.
                ended = campaign.start({"run.stages": "baseline", "run.seed": seed, "denoiser.num_steps": 1}, run_folder, 1)
                self.assertEqual(ended.code, 0, ended)
                first[seed] = losses_of(run_folder / "without_leda")[1, "loss"]
            self.assertGreater(abs(first[1] - first[2]) / first[1], 1e-4)

    def test_the_campaign_has_all_numbers_of_ranks_in_several_orders(self):
        orders = elastic_orders()
        self.assertGreaterEqual(len(set(orders)), 4)
        for order in orders:
            self.assertEqual(sorted(order), sorted(ELASTIC_RANKS))


class Said(JobTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write_phantoms()

    def start(self, ranks, threads=1, variables=None, **options):
        # The time limit ends each of them after a step or two.
        ended = run(self.job(run__stages="baseline", denoiser__num_steps=200, run__max_seconds=0.001,
                             distributed__threads_per_rank=threads, **options), ranks=ranks, variables=variables)
        self.assert_ended(ended, 85)
        return ended

    def assert_said(self, ended, *changes):
        wanted = "warning: stage 2 without LEDA: the execution environment has changed: " + "; ".join(changes)
        self.assertIn(wanted + "; the result will equal an uninterrupted run's up to rounding", ended.errors)

    def assert_nothing_said(self, ended):
        self.assertNotIn("the execution environment has changed", ended.errors)

    def test_other_ranks_threads_and_instruction_sets_are_said_by_name(self):
        avx2 = {"ATEN_CPU_CAPABILITY": "avx2"}
        self.assert_nothing_said(self.start(1, variables=avx2))
        again = self.start(1, variables=avx2)
        self.assertIn("resumes after step", again.output)
        self.assert_nothing_said(again)
        default = {"ATEN_CPU_CAPABILITY": "default"}
        self.assert_said(self.start(2, variables=avx2), "num_ranks was 1, is 2")
        self.assert_said(self.start(2, threads=2, variables=avx2), "threads_per_rank was 1, is 2")
        self.assert_said(self.start(2, threads=2, variables=default), "instruction_set was AVX2, is DEFAULT")
        self.assert_said(self.start(1, variables=avx2), "num_ranks was 2, is 1", "threads_per_rank was 2, is 1",
                         "instruction_set was DEFAULT, is AVX2")

    def test_ranks_of_different_instruction_sets_are_refused_before_they_drift_apart(self):
        command = self.job(run__stages="baseline")
        ended = run(["mpirun", "-np", "1", "-x", "ATEN_CPU_CAPABILITY=avx2", *command, ":",
                     "-np", "1", "-x", "ATEN_CPU_CAPABILITY=default", *command])
        self.assert_refused(ended, 13, "different instruction sets", "1 x AVX2, 1 x DEFAULT", "ATEN_CPU_CAPABILITY")

    def test_a_reproducible_run_may_change_its_ranks_without_a_word(self):
        self.start(1, distributed__reproducible="true")
        moved = self.start(2, distributed__reproducible="true")
        self.assertIn("resumes after step", moved.output)
        self.assert_nothing_said(moved)
        self.assert_said(self.start(2, threads=2, distributed__reproducible="true"), "threads_per_rank was 1, is 2")


if __name__ == "__main__":
    unittest.main(verbosity=2)
