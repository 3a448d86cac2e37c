"""Customers and revenue ahead."""
