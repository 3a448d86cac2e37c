"""Analytics: the shop as a whole, over time."""
