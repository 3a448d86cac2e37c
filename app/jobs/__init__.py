"""What runs later or on a clock: the worker, what it does for each job, and when what is due."""
