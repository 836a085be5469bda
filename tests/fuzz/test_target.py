"""Tests that run the inputs of the fuzzer's corpus, and random changes of them."""

from __future__ import annotations

from pathlib import Path
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.target import SEPARATOR, circumstances, record, run
from tests.support.paths import ROOT

CORPUS = Path(ROOT, "tests", "fuzz", "corpus")


class CorpusTests(SynchronousTestCase):
    """Inputs of the corpus."""

    def test_corpus(self) -> None:
        """No input of the corpus finds a defect."""
        inputs = sorted(CORPUS.iterdir())
        self.assertGreater(len(inputs), 10)
        for path in inputs:
            run(path.read_bytes())

    def test_random_changes(self) -> None:
        """No random change or combination of the inputs finds a defect."""
        random = Random(7)
        inputs = [path.read_bytes() for path in sorted(CORPUS.iterdir())]
        for _ in range(2000):
            data = bytearray(SEPARATOR.join(random.choices(inputs, k=random.randint(1, 3))))
            for _ in range(random.randint(0, 6)):
                start = random.randrange(len(data))
                data[start : start + random.randint(0, 3)] = random.randbytes(random.randint(0, 3))
            run(bytes(data))

    def test_record(self) -> None:
        """A record selects the circumstances of its reception."""
        for sender in range(8):
            for channel in range(4):
                for step in range(4):
                    (selector,) = record(b"", sender, channel, step)
                    self.assertEqual(circumstances(selector), circumstances(sender | channel << 3 | step << 6))
