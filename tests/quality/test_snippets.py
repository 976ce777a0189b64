"""What the documentation shows for other programs is read by these programs, or by the schema that they publish."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from roles import ROOT

TASKS = ROOT / "docs" / "tasks"
PROMTOOL = ROOT / ".cache" / "promtool"


def block(page: str, begins: str) -> str:
    """The block of a page whose first line names its file."""
    text = (TASKS / page).read_text(encoding="utf-8")
    (found,) = [inside for inside in re.findall(r"^```\w+\n(.*?)^```", text, re.M | re.S) if inside.startswith(begins)]
    return str(found)


@pytest.mark.parametrize(
    ("begins", "schema"),
    [("# .gitlab-ci.yml", "vendor.gitlab-ci"), ("# .github/workflows/deploy.yml", "vendor.github-workflows")],
)
def test_pipelines_are_what_their_programs_take(begins: str, schema: str, tmp_path: Path) -> None:
    """By the schemas that check-jsonschema brings along; no pipeline is run."""
    file = tmp_path / "pipeline.yml"
    file.write_text(block("ci.md", begins), encoding="utf-8")
    checked = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(file)]
    done = subprocess.run(checked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(name="promtool")
def fixture_promtool(tmp_path: Path) -> Path:
    """Prometheus' own check, from Debian's archive; the package is not installed."""
    if not PROMTOOL.exists():
        # Lists of its own: those of the machine may be missing, or older than the archive.
        (tmp_path / "lists" / "partial").mkdir(parents=True)
        apt = ["apt-get", "-qq", "-o", f"Dir::State::Lists={tmp_path}/lists", "-o", f"Dir::Cache={tmp_path}"]
        unpack = ["sh", "-c", "dpkg-deb -x prometheus_*.deb ."]
        for command in ([*apt, "update"], [*apt, "download", "prometheus"], unpack):
            subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        PROMTOOL.parent.mkdir(exist_ok=True)
        shutil.copy2(tmp_path / "usr" / "bin" / "promtool", PROMTOOL)
    return PROMTOOL


@pytest.mark.parametrize("begins", ["# prometheus.yml"])
def test_prometheus_takes_its_configuration(begins: str, promtool: Path, tmp_path: Path) -> None:
    file = tmp_path / "prometheus.yml"
    file.write_text(block("monitoring.md", begins), encoding="utf-8")
    done = subprocess.run([promtool, "check", "config", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_no_program_reads_is_said_to_be_so() -> None:
    """Vector is in no registry that the tests reach: only that it is TOML is known."""
    assert set(tomllib.loads(block("logs.md", "# vector.toml"))) == {"sources", "transforms"}
    assert "This one no test runs" in (TASKS / "logs.md").read_text(encoding="utf-8")
