"""Models: what predictions are made by, and what that reached on the shop's own past."""
