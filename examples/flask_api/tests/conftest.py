from __future__ import annotations

import sys
from pathlib import Path

import pytest
from flask.testing import FlaskClient

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from app import create_app


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def client(state: Path) -> FlaskClient:
    return create_app({"STATE_DIRECTORY": str(state), "RELEASE": "7", "SLOW_LIMIT": 0.5}).test_client()
