"""What several test files share."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The developers' data folder beside the repository; tests that need it skip where it is missing."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared (the developers' data), which is not on this machine")
    return SHARED
