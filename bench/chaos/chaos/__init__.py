"""Real clusters under faults: see docs/reliability.md."""

import pathlib
import sys

# The harness of the cluster tests is ours as well.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "tests" / "cluster"))
