"""The outside world, turned into records."""
