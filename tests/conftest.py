"""Lets pytest collect a repository whose root is itself a package, and marks the tests of real processes."""

from __future__ import annotations

import signal
from pathlib import Path

import hypothesis
import pytest

# Whoever runs the tests in the background has SIGINT ignored, and so would all that tests start, who press Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says more about the machine's other work than about the code.
hypothesis.settings.register_profile(
    "covey", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("covey")

CLUSTER_TESTS = Path(__file__).parent / "cluster"


class RootIsNoTestPackage:
    """Collects the root as a plain folder.

    The root holds ``__init__.py`` because it is the package ``covey``. pytest would import it a second time,
    under the name of the folder that the clone happens to lie in, and with it a second copy of every module.
    """

    @pytest.hookimpl(tryfirst=True)
    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        if path != parent.config.rootpath:
            return None
        return pytest.Dir.from_parent(parent, path=path)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(RootIsNoTestPackage())


# First, because ``-m`` chooses by these marks in the same hook.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(CLUSTER_TESTS):
            item.add_marker("cluster")
