"""Customer Intelligence Platform: who a shop's customers are, what kind, and what they are worth."""

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def _version() -> str:
    """The installed one; where only the requirements are installed, as on some hosts, the checkout's."""
    try:
        return version("customer-intelligence")
    except PackageNotFoundError:
        pyproject = Path(__file__).resolve().parents[1] / "pyproject.toml"
        return str(tomllib.loads(pyproject.read_text())["project"]["version"])


__version__ = _version()
