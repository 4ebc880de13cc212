"""The code interpreter: Python code of clients, in sessions that keep their state."""
