"""Three random schedules by fixed seeds, all at once. A seed that fails is repeated with `pgvigil-chaos --seed N --minutes 5`."""

import os
import pathlib
import subprocess
import sys

import pytest
from conftest import ROOT, WHY_NOT

SEEDS = (3, 4, 6)  # synchronous, quorum and asynchronous
MINUTES = os.environ.get("PGVIGIL_CHAOS_MINUTES", "5")


@pytest.mark.skipif(bool(WHY_NOT), reason=str(WHY_NOT))
def test_random_schedules(tmp_path):
    runs = {seed: subprocess.Popen([sys.executable, ROOT / "bench/chaos/pgvigil-chaos", "--seed", str(seed), "--minutes", MINUTES, "--rate", "15",
                                    "--out", tmp_path], stdout=open(tmp_path / f"{seed}.txt", "w"), stderr=subprocess.STDOUT) for seed in SEEDS}
    codes = {seed: run.wait() for seed, run in runs.items()}
    told = {seed: pathlib.Path(tmp_path / f"{seed}.txt").read_text() for seed in SEEDS}
    for seed, text in told.items():
        print(text)
    assert not any(codes.values()), "\n".join(told[seed] for seed, code in codes.items() if code)
