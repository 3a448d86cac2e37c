"""What is held of one person: shown to them, and erased."""
