"""HTTP: who asks, what they may see, how it is said. In each area router stands on service, and that on schemas."""
