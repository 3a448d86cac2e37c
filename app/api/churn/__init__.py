"""Churn: who of the shop's customers may stay away, and what they are worth."""
