"""What everything else stands on: settings, errors, logging, the clock. Imports nothing of ours."""
