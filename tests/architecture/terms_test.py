"""Names of src/ and tests/, of files and within them, are terms of the field: one word for one thing. Private words
that were in use before are found here, wherever they come back, and the better term is named.

usage: python terms_test.py
"""

import re
import tempfile
import unittest
from fnmatch import fnmatch
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = ("src", "tests")
ENDINGS = (".cpp", ".hpp", ".py", ".cmake", ".txt", ".in", ".md")
CPP = ("*.cpp", "*.hpp")
PYTHON = ("*.py",)
ALL = ("*",)
# Records of earlier versions, and this list.
LEFT_OUT = ("tests/fixtures/*", "tests/checkpoint/version_*", "tests/architecture/terms_test.py")

# (private word, term, an example of the word as it was in use, files)
TERMS = [
    (r"[Yy]ardstick", "classical baseline", "tune_yardsticks(", ALL),
    (r"last_word|LastWord", "report before exit", "kSecondsForLastWord", ALL),
    (r"\bsigns? of life\b|LifeSeconds|RankSign|note_life", "heartbeat", "no sign of life", ALL),
    (r"LastResort|last_resort", "exit deadline (ExitDeadline)", "LastResort limit(", ALL),
    (r"\breturns_within\b", "completes_within", "returns_within(", ALL),
    (r"RankWatch|rank_watch", "hang detector (HangDetector)", "RankWatch& watch", ALL),
    (r"SilenceVerdict|silence_verdict|judge_silence", "hang diagnosis (HangDiagnosis)", "judge_silence(", ALL),
    (r"NcclGuard|nccl_guard", "NCCL watchdog (NcclWatchdog)", "std::optional<NcclGuard>", ALL),
    (r"\bpark(s|ed|ing)?\b", "shut down", "void park();", ALL),
    (r"[Aa]bandon", "abort", "is_abandoned", ALL),
    (r"LaunchSanity|launch_sanity", "launch checks", '"distributed/start/launch_sanity.hpp"', ALL),
    (r"FinitenessRecord|finiteness_record", "non-finite tracker (NonFiniteTracker)", "FinitenessRecord", ALL),
    (r"non_finite_policy", "non-finite gradient (non_finite_gradient)", "non_finite_policy.hpp", ALL),
    (r"SampleShare|sample_share|share_of_rank", "batch partition (BatchPartition)", "share_of_rank(", ALL),
    (r"wire_type", "gradient compression (gradient_compression)", "options.wire_type", ALL),
    (r"PatientNumbers|patient_numbers", "phantom randomness (PhantomRandomness)", "PatientNumbers", ALL),
    (r"\b[Bb]lobs?\b", "wavy ellipse (WavyEllipse)", "const Blob& lung", ALL),
    (r"CodebookControl|codebook_control|control_codebook|control_record|vocabulary\.control\b|vocabulary_control",
     "codebook ablation", "job.vocabulary.control", CPP),
    (r"had_its_chance", "past grace period", "has_had_its_chance(", ALL),
    (r"life_signs", "dead-network sums (dead_network_sums)", "life_signs.add(", ALL),
    (r"MachineFacts|machine_facts|machine_changes", "execution environment", "MachineFacts machine_;", ALL),
    (r"BatchJob|batch_job", "scheduler job (SchedulerJob)", "facts.batch_job", ALL),
    (r"SaveCadence|save_cadence|CheckpointCadence|checkpoint_cadence",
     "checkpoint schedule", "SaveCadence cadence_;", ALL),
    (r"LoopAccount|loop_account", "loop timing (LoopTiming)", "LoopAccount account_;", ALL),
    (r"\bTimeIn\b", "activity scope (ActivityScope)", "logging::TimeIn time(", ALL),
    (r"settle_updates", "collect skipped updates (collect_skipped_updates)", "settle_updates()", ALL),
    (r"take_outcome", "record save outcome (record_save_outcome)", "take_outcome(", ALL),
    (r"SaveVotes|save_votes", "save agreement (SaveAgreement)", "SaveVotes votes_;", ALL),
    (r"\b(throw|class|public|const) Damage\b|\bDamage[(;]",
     "damaged checkpoint (DamagedCheckpoint)", "throw Damage(", CPP),
    (r"\b(throw|class|const) Foreign\b|\bForeign[(&]",
     "foreign checkpoint (ForeignCheckpoint)", "const Foreign& it", CPP),
    (r"\bCutShort\b|\b(struct|const) Left\b|\bthrow Left\b", "cancelled", "throw CutShort();", CPP),
    (r"seal_json|sealed_json|is_seal_intact|\b[Ss]eal(ed|s)?\b",
     "checksummed JSON, its checksum", "is_seal_intact(", ALL),
    (r"hasty\b|\b[Hh]aste\b", "urgent", "is_hasty", ALL),
    (r"\bhurry\b", "skip verification", "store.hurry()", ALL),
    (r"[.>]say\(|::say\(", "info", 'console.say("', CPP),
    (r"[.>]warn\(|::warn\(", "warning", 'console->warn("', CPP),
    (r"\bcomplain\(", "error_on_rank", 'console.complain("', CPP),
    (r"\bspeaks\(", "is_root", "console.speaks()", CPP),
    (r"\bkMuch\b", "announce ratio (kAnnounceRatio)", "kMuch * kMuch", ALL),
    (r"\bkForgetting\b", "cost decay (kCostDecay)", "kForgetting", ALL),
    (r"HuStorage|hu_storage|stored_hu", "HU quantisation (quantise_hu)", "stored_hu(image_hu)", ALL),
    (r"_worlds\b|\btest::World\b|\bworlds\b", "communicator backends (CommunicatorBackend)", "test::mpi_worlds()", ALL),
    (r"check_bare", "verify clean install", "launch/check_bare", ALL),
    (r"shaped_link\b", "network shaping", "shaped_link.py", ALL),
    (r"messages\.bash", "script support", "launch/support/messages.bash", ALL),
    (r"DenoiserPhase|denoiser_phase|phase_trace|phase_folder|\bbegin_phase\b",
     "training", "begin_phase(phase, 0)", ALL),
    (r"\bPHASES?\b", "training", "for name in PHASES:", PYTHON),
]

# Names that users' files and scripts hold stay as they are: options (distributed.wire_type) and keys ("batch_job").
KEPT = [
    re.compile(r"(?<![\w.])distributed\.wire_type\b"),
    re.compile(r"(?<![\w.])vocabulary\.control\b"),
    re.compile(r"""(?P<quote>\\?["'])(vocabulary_control|batch_job|begin_phase)(?P=quote)"""),
]


def without_kept_names(line):
    for pattern in KEPT:
        line = pattern.sub("", line)
    return line


def terms_for(name):
    return [(re.compile(word), term) for word, term, _, files in TERMS if any(fnmatch(name, glob) for glob in files)]


def findings(root):
    """file:line, the private word and the term, of all files of the tree."""
    found = []
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            name = path.relative_to(root).as_posix()
            if not path.is_file() or path.suffix not in ENDINGS or any(fnmatch(name, glob) for glob in LEFT_OUT):
                continue
            terms = terms_for(name)
            for word, term in terms:
                if match := word.search(name):
                    found.append(f"{name}: '{match.group()}' in the file's name; the term is: {term}")
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
                checked = without_kept_names(line)
                found += [f"{name}:{number}: '{match.group()}'; the term is: {term}"
                          for word, term in terms if (match := word.search(checked))]
    return found


class Terms(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)

    def plant(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def test_sources_and_tests_hold_terms_of_the_field_only(self):
        found = findings(REPOSITORY)
        self.assertEqual(found, [], "private words:\n" + "\n".join(found))

    def test_each_private_word_is_found_with_its_line_and_its_term(self):
        for word, term, example, files in TERMS:
            with self.subTest(word=word):
                name = "tests/room/planted.py" if files == PYTHON else "src/room/planted.cpp"
                self.plant(name, f"first line\n  {example}\n")
                self.assertTrue(any(finding.startswith(f"{name}:2: ") and finding.endswith(f": {term}")
                                    for finding in findings(self.root)), findings(self.root))
                (self.root / name).unlink()

    def test_a_private_word_in_the_name_of_a_file_is_found(self):
        self.plant("src/room/rank_watch.hpp", "#pragma once\n")
        self.plant("tests/room/worlds.hpp", "#pragma once\n")
        names = [finding.partition(":")[0] for finding in findings(self.root)]
        self.assertEqual(names, ["src/room/rank_watch.hpp", "tests/room/worlds.hpp"])

    def test_no_term_is_a_private_word(self):
        for _, term, _, _ in TERMS:
            for word, other, _, _ in TERMS:
                self.assertIsNone(re.search(word, term), f"{term}: its term is said to be {other}")

    def test_options_and_keys_in_files_keep_their_names(self):
        self.plant("src/room/options.cpp",
                   'table.add("distributed.wire_type", "text", &job.distributed.gradient_compression);\n'
                   'line.value("batch_job", ""); state["vocabulary_control"]; write("begin_phase");\n'
                   '// As vocabulary.control says.\n')
        self.plant("tests/room/options_test.py", "assertIn('\"batch_job\":\"7\"', line)  # distributed.wire_type\n")
        self.assertEqual(findings(self.root), [])
        self.plant("src/room/options.cpp", "require(job.vocabulary.control, job.distributed.wire_type);\n")
        self.assertEqual(len(findings(self.root)), 2)


if __name__ == "__main__":
    unittest.main()
