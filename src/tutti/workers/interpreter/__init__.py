"""The runner: the program that executes a session's code inside its sandbox, with the environment's Python.

The runner is not trusted, because the code can change it at will. The kernel and the sandbox host enforce the
limits; those that the runner keeps are only a convenience. It uses the standard library and IPython, and
imports nothing else of Tutti, because only this folder exists in the sandbox. sandboxes/base.py starts it:
`confine`, then `main`.
"""
