"""Pure business code: what a shop's records are and what they say. No input, no output, no clock."""
