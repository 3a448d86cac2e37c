"""Customers: who they are, what they bought, who is meant."""
