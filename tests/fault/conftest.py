"""The whole run of pytest moves into namespaces of its own, where the deployments live; where that is not permitted, the tests
that need one are skipped and say why."""

import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench" / "chaos"))

from chaos import namespace  # noqa: E402

WHY_NOT = None if namespace.inside() else namespace.why_not()


def pytest_configure(config):
    if WHY_NOT or namespace.inside():
        return
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture:
        capture.stop_global_capturing()
    namespace.enter(["-m", "pytest", *config.invocation_params.args])


@pytest.fixture(scope="module")
def deployment(request):
    """One for each file; SETTINGS of the file are the cluster's."""
    if WHY_NOT:
        pytest.skip(WHY_NOT)
    from chaos.deployment import Deployment
    with Deployment(getattr(request.module, "SETTINGS", {})) as running:
        yield running.start(60)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    directory = getattr(item.funcargs.get("deployment") if hasattr(item, "funcargs") else None, "directory", None)
    if report.failed and directory is not None:
        from harness import ends_of_logs
        report.sections.extend(ends_of_logs(directory))
