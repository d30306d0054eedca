"""Run MLflow's own tests against a Mainspring: ``python -m bench.conformance CHECKOUT [TESTS ...] [--python PYTHON]``.

CHECKOUT is a folder with MLflow's sources at the tag of a release (its tests are in no package), PYTHON one that has
that release of ``mlflow`` and what its tests import. TESTS are paths below CHECKOUT; left out, all of `TESTS` that
there are.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from mainspring.testing import server

TESTS = (
    "tests/tracking/test_rest_tracking.py",
    "tests/tracking/test_model_registry.py",
    "tests/tracking/test_client_webhooks.py",
    "tests/tracking/test_log_image.py",
    "tests/tracking/test_log_figure.py",
    "tests/tracking/fluent/test_fluent.py",
    "tests/store/tracking/sqlalchemy_store",
    "tests/store/tracking/test_sqlalchemy_store.py",
    "tests/store/model_registry/test_sqlalchemy_store.py",
    "tests/genai/prompts",
    "tests/genai/datasets",
    "tests/genai/evaluate/test_evaluation.py",
    "tests/tracing/test_fluent.py",
    "tests/tracing/test_otel_logging.py",
    "tests/tracing/test_assessment.py",
)
ENDS = ("passed", "failed", "skipped", "inside a store")


def main(arguments: list[str] | None = None) -> int:
    """Run the tests and print how they ended, file by file; 1 when some failed, 2 when none were found."""
    parser = argparse.ArgumentParser(prog="bench.conformance", description="MLflow's own tests against a Mainspring")
    parser.add_argument("checkout", type=Path, help="folder with MLflow's sources")
    parser.add_argument("tests", nargs="*", help="tests below it, as pytest names them")
    parser.add_argument("--python", default=sys.executable, help="the Python that has MLflow and what its tests import")
    asked = parser.parse_args(arguments)
    wanted = asked.tests or [test for test in TESTS if (asked.checkout / test).exists()]
    if not wanted:
        print(f"{asked.checkout} has no tests of MLflow: expected its sources with the folder tests/", file=sys.stderr)
        return 2
    outcomes = run(asked.checkout.absolute(), wanted, asked.python)
    if not outcomes:
        return 2
    _print(outcomes)
    return 1 if any(end == "failed" for end, _ in outcomes.values()) else 0


def run(checkout: Path, tests: list[str], python: str) -> dict[str, tuple[str, str]]:
    """Give how each test ended, and what it said if it did not pass."""
    with server() as running, tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "outcomes.json"
        given = {
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(checkout)]),
            "CONFORMANCE_URL": running.url,
            "CONFORMANCE_REPORT": str(report),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false",
        }
        command = [python, "-m", "pytest", "-p", "over_the_wire", "-q", "--tb=no", "-p", "no:cacheprovider"]
        command += [f"--basetemp={folder}/tests", *tests]
        subprocess.run(command, cwd=checkout, env=os.environ | given, check=False)
        return {name: (end, said) for name, (end, said) in json.loads(report.read_text()).items()}


def _print(outcomes: dict[str, tuple[str, str]]) -> None:
    files = sorted({name.partition("::")[0] for name in outcomes})
    ends = {file: Counter(end for name, (end, _) in outcomes.items() if name.startswith(f"{file}::")) for file in files}
    width = max(len(file) for file in files)
    print(f"\n{'':{width}}" + "".join(f"{end:>16}" for end in ENDS))
    for file in files:
        print(f"{file:{width}}" + "".join(f"{ends[file][end]:>16}" for end in ENDS))
    print(f"{'all':{width}}" + "".join(f"{sum(counted[end] for counted in ends.values()):>16}" for end in ENDS))
    for name, (end, said) in sorted(outcomes.items()):
        if end == "failed":
            print(f"{name}\n    {said}")


if __name__ == "__main__":
    sys.exit(main())
