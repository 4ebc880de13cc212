"""The workloads of a machine, and the processes that are started on demand."""
