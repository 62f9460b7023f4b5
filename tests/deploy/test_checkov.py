"""checkov on the manifests and the Dockerfile: no finding but those with a reason."""

import json
import subprocess

import pytest

from tests.support.clock import scaled
from tests.support.tree import REPOSITORY

PROGRAM = REPOSITORY / ".venv-checkov/bin/checkov"
ACCEPTED = {
    "CKV_K8S_21": "the namespace is that of whoever applies them: kubectl -n NAME",
    "CKV_K8S_35": "apps read secrets as variables; files are the app's own decision",
}
"""By their ids, each with the reason why nothing is changed for it."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(
        not PROGRAM.exists(), reason="no checkov: make .venv-checkov/bin/checkov"
    ),
]


def find_failed(framework: str, place: str) -> set[tuple[str, str]]:
    words = ["--skip-download", "--output", "json", "--framework", framework]
    done = subprocess.run(
        [PROGRAM, *words, "--directory", REPOSITORY / "deploy" / place],
        capture_output=True,
        text=True,
        timeout=scaled(50),
        check=False,
    )
    report = json.loads(done.stdout)
    assert report["summary"]["passed"] > 50
    assert report["summary"]["parsing_errors"] == 0
    failed = report["results"]["failed_checks"]
    return {(each["check_id"], each["resource"]) for each in failed}


def test_the_manifests_have_no_finding_but_those_with_a_reason() -> None:
    failed = find_failed("kubernetes", "kubernetes")
    assert {each for each in failed if each[0] not in ACCEPTED} == set()
    assert {check for check, _ in failed} == set(ACCEPTED)


def test_the_dockerfile_has_none() -> None:
    assert find_failed("dockerfile", ".") == set()
