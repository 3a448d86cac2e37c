"""Discovery on demand, the jobs, keys, the audit log and what is kept: for whoever runs the shop's instance."""
