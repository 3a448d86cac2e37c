"""The work itself, from source to published run: each file one arrow of the flow."""
