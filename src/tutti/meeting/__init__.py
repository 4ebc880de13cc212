"""The rows in which API workers, jobs and nodes meet."""
