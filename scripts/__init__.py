"""Small programs for people and cron, thin over the app."""
