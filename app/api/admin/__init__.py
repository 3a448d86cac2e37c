"""Discovery on demand, and the jobs: for whoever runs the shop's instance."""
