import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from harness import ends_of_logs  # noqa: E402  (found by the path above)
from pool_harness import pg, pool  # noqa: E402,F401  (fixtures of test_pool_*.py)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the end of every log of its cluster; one that failed to start shows them by itself."""
    outcome = yield
    report = outcome.get_result()
    cluster = item.funcargs.get("cluster") if hasattr(item, "funcargs") else None
    directory = getattr(cluster, "directory", None)
    if report.failed and directory is not None:
        report.sections.extend(ends_of_logs(directory))
    poolers = item.funcargs.get("pool") if hasattr(item, "funcargs") else None
    if report.failed and hasattr(poolers, "logs"):
        report.sections.extend(poolers.logs())
