"""What launch/campaign resume tries: a tiny training, its variants, and the ways in which it is interrupted.

A start is a fault of tests/support/fault_injector, options, a number of ranks; after the starts of a case the plain
command is repeated until it ends with 0.
"""

import dataclasses
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from leda_job import PHANTOM_OPTIONS, TINY_OPTIONS  # noqa: E402

SEED = 5
STEPS = 8
RANKS = 2
SKIPPED_AT = (2, 5)  # updates that are not made: in the first start, and the discriminator's first

# 12 slices in batches of 5: three steps an epoch, shares of 3 and 2 slices, and of 1 and 1 in the epoch's last step. The
# discriminator acts from the fifth update on. The learning rate depends on the step throughout.
OPTIONS = {
    **TINY_OPTIONS,
    **PHANTOM_OPTIONS,
    "autoencoder.num_steps": STEPS,
    "denoiser.num_steps": STEPS,
    "discriminator.start_step": 4,
    "training.global_batch": 5,
    "training.max_micro_batch": 0,
    "training.num_warm_up_steps": 3,
    "training.final_learning_rate_fraction": 0.1,
    "training.max_gradient_norm": 1.0,
    "training.validate_every_num_steps": 3,
    "checkpoint.every_num_steps": 3,
    "checkpoint.keep_last": 20,
    "distributed.bucket_bytes": 65536,
    "distributed.first_bucket_bytes": 4096,
    "logging.tensorboard": "false",
    "logging.progress_seconds": 3600,
}
STAGES = {"stage 1": "pretrain", "stage 2": "baseline", "stage 2 with LEDA": "denoise"}
FOLDERS = {"stage 1": "pretrain", "stage 2": "without_leda", "stage 2 with LEDA": "with_leda"}


@dataclasses.dataclass(frozen=True)
class Variant:
    """How the same training is run; compared with an uninterrupted run of its own."""
    name: str
    options: dict = dataclasses.field(default_factory=dict)
    ranks: int = RANKS
    skipped_at: int = 0      # in every start, the uninterrupted one too
    rolled_back_at: int = 0  # in starts that are interrupted, not in the uninterrupted one

    def __hash__(self):
        return hash(self.name)

    def fault(self):
        step = self.skipped_at or self.rolled_back_at
        return not_a_number(step) if step else ""


PLAIN = Variant("2 ranks")
VARIANTS = (
    PLAIN,
    Variant("validation after every step", {"training.validate_every_num_steps": 1}),
    Variant("accumulation: one slice a backward", {"training.max_micro_batch": 1}),
    Variant("bfloat16 on the wire", {"distributed.wire_type": "bfloat16"}),
    Variant("checkpoint sharded over ranks", {"checkpoint.max_file_bytes": 20000}),
    *(Variant(f"update {step} skipped", {"training.on_non_finite": "skip"}, skipped_at=step) for step in SKIPPED_AT),
    *(Variant(f"rolled back from update {step}", {"training.on_non_finite": "roll_back"}, rolled_back_at=step)
      for step in SKIPPED_AT),
    Variant("reproducible", {"distributed.reproducible": "true", "discriminator.norm": "group"}),
    Variant("float64", {"training.precision": "float64"}),
    Variant("1 rank, 2 threads", {"distributed.threads_per_rank": 2}, ranks=1),
    Variant("4 ranks", ranks=4),
)


@dataclasses.dataclass(frozen=True)
class Start:
    """One life of the program, and the exit codes that it may have."""
    codes: tuple
    fault: str = ""
    options: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Case:
    stage: str
    variant: Variant
    way: str           # in which it is interrupted, a row of the table
    starts: tuple
    repeated: tuple = ()  # after them, until it ends with 0: options of a start that ends with 85

    def __str__(self):
        return f"{self.stage}, {self.variant.name}, {self.way}"


def at_log_line(stage, step, kind):
    """Rank 0 does it as it logs that step: the update is made; nobody has voted on it, and it is not saved."""
    return f'rank=0 call=write number=1 path=/{FOLDERS[stage]}/log.jsonl text="step":{step}, kind={kind}'


def not_a_number(step):
    """Rank 0 brings it into the first sum of that update, after its own gradients were looked at."""
    if step == 1:
        return "rank=0 call=MPI_Iallreduce type=float number=1 kind=nan"
    return f'rank=0 call=MPI_Iallreduce type=float number=1 from="step":{step - 1}, kind=nan'


# A signal that comes with the log line of a step is agreed on after the next one; with that of the last step it may
# come too late to stop anything.
SIGNALS = {"usr1": (85, 0), "usr2": (85, 0), "term": (86, 0), "int": (86, 0)}
TIME_LIMIT = {"run.max_seconds": 0.001}  # each start makes the steps that it takes to agree on leaving


def killed_at(stage, step, every=3):
    return Start((137,), at_log_line(stage, step, "kill"), {"checkpoint.every_num_steps": every})


def killed_once_saved(stage, step):
    """As rank 0 logs that the checkpoint of that step is complete, which may be a step or two later."""
    fault = (f'rank=0 call=write number=1 path=/{FOLDERS[stage]}/log.jsonl text="step":{step},"event":"checkpoint" '
             "kind=kill")
    return Start((137,), fault, {"checkpoint.every_num_steps": step})


def killed_after(stage, step, milliseconds):
    """While data, micro-batches, sums or a save of one of the next steps are under way; perhaps the end comes first."""
    return Start((137, 0), at_log_line(stage, step, "kill") + f" after_ms={milliseconds}")


def signalled_at(stage, step, signal):
    return Start(SIGNALS[signal], at_log_line(stage, step, signal))


def faulty_starts(variant):
    """Faults that belong to the variant come with the time limit: a start has one fault."""
    step = variant.skipped_at or variant.rolled_back_at
    # As many starts as it takes to have made that update.
    return tuple(Start((85,), variant.fault(), TIME_LIMIT) for _ in range((step + 1) // 2))


def limited(stage, variant):
    return Case(stage, variant, "run.max_seconds, start after start", faulty_starts(variant), repeated=(TIME_LIMIT,))


def plain_cases(stage, moment):
    of = lambda way, *starts: Case(stage, PLAIN, way, starts)  # noqa: E731
    every_step = range(1, STEPS + 1)
    return [
        *(of("kill -9, saved every 3 steps", killed_at(stage, step)) for step in every_step),
        *(of("kill -9 within a step", killed_after(stage, step, moment.randrange(1, 30))) for step in (1, 3, 5, 6)),
        # The first save of a start: a later one may be put off behind it.
        *(of("kill -9 once a step is saved", killed_once_saved(stage, step)) for step in (1, 2, 3)),
        *(of("USR1", signalled_at(stage, step, "usr1")) for step in every_step),
        *(of("TERM", signalled_at(stage, step, "term")) for step in (1, 4, 7)),
        *(of(signal.upper(), signalled_at(stage, 4, signal)) for signal in ("usr2", "int")),
        limited(stage, PLAIN),
        of("kill -9 in every step, start after start", *(killed_at(stage, step, every=1) for step in every_step)),
    ]


def variant_cases(stage, variant, moment):
    of = lambda way, start: Case(stage, variant, way, (*faulty_starts(variant), start))  # noqa: E731
    step = 6 if max(variant.skipped_at, variant.rolled_back_at) > 4 else 4
    within = [of("kill -9 within a step", killed_after(stage, number, moment.randrange(1, 30))) for number in (1, 4, 6)]
    return [
        *(within if "accumulation" in variant.name else []),
        of("USR1", signalled_at(stage, step, "usr1")),
        limited(stage, variant),
    ]


def all_cases():
    moment = random.Random(SEED)
    cases = [case for stage in STAGES for case in plain_cases(stage, moment)]
    for variant in VARIANTS[1:]:
        cases += [case for stage in STAGES for case in variant_cases(stage, variant, moment)]
    return cases


# Elastic: all trainings of one job, each start on the next number of ranks; the order goes round.
ELASTIC_RANKS = (1, 2, 3, 4, 8)
ALL_STAGES = "pretrain,baseline,denoise"
PUBLISHED_RATES = {"autoencoder.learning_rate": 4.5e-6, "discriminator.learning_rate": 4.5e-6,
                   "denoiser.learning_rate": 2e-4}
REPRODUCIBLE = {"distributed.reproducible": "true", "discriminator.norm": "group"}


@dataclasses.dataclass(frozen=True)
class Move:
    name: str
    order: tuple  # of numbers of ranks
    steps: int = 10
    options: dict = dataclasses.field(default_factory=dict)
    precision: str = "float64"
    stages: str = ALL_STAGES

    def __str__(self):
        return f"{self.name}, {'-'.join(map(str, self.order))}"

    @property
    def is_reproducible(self):
        return "distributed.reproducible" in self.options

    def all_options(self):
        return {**self.options, "run.stages": self.stages, "training.precision": self.precision,
                "autoencoder.num_steps": self.steps, "denoiser.num_steps": self.steps}


def elastic_orders():
    seeded = random.Random(SEED)
    return ((1, 2, 3, 4, 8), (8, 4, 3, 2, 1), (3, 8, 1, 4, 2),
            *(tuple(seeded.sample(ELASTIC_RANKS, len(ELASTIC_RANKS))) for _ in range(2)))


def all_moves():
    orders = elastic_orders()
    return [
        Move("the publication's learning rates", orders[0], 20, PUBLISHED_RATES),
        Move("reproducible, float32", orders[1], 10, REPRODUCIBLE, "float32"),
        *(Move("learning rate 1e-3", order) for order in orders[:3]),
        Move("one slice a backward", orders[3], 10, {"training.max_micro_batch": 1}),
        Move("reproducible", orders[4], 10, REPRODUCIBLE),
        *(Move("reproducible, float32", order, 10, REPRODUCIBLE, "float32") for order in orders[2:4]),
        Move("the publication's learning rates", orders[4], 20, PUBLISHED_RATES),
    ]


# Uninterrupted trainings on one and on three ranks: after how many steps rounding has grown to what.
HORIZON_STEPS = 150
HORIZONS = {"the publication's learning rates": PUBLISHED_RATES, "learning rate 1e-3": {}}
