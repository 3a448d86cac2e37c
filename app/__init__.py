"""Customer Intelligence Platform: who a shop's customers are, what kind, and what they are worth."""

from importlib.metadata import version

__version__ = version("customer-intelligence")
