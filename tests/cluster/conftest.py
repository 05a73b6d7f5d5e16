import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

LINES_OF_A_LOG = 60


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the end of every log of its cluster: the cluster is gone when somebody looks."""
    outcome = yield
    report = outcome.get_result()
    cluster = item.funcargs.get("cluster") if hasattr(item, "funcargs") else None
    directory = getattr(cluster, "dir", None) or getattr(cluster, "directory", None)
    if not report.failed or directory is None:
        return
    for log in sorted(pathlib.Path(directory).rglob("*.log")):
        lines = log.read_text(errors="replace").splitlines()[-LINES_OF_A_LOG:]
        report.sections.append((str(log), "\n".join(lines)))
