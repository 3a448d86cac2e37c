"""Whether the service is up, and what it holds."""
