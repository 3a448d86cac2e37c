"""Archetypes and segments: what kinds of customer there are."""
