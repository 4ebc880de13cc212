"""The program that runs a session's code, inside its sandbox, with the environment's Python.

It is not trusted: the code can do with it what it likes, so limits are held by the kernel and by the sandbox
host, and what it keeps itself is only politeness. Standard library and IPython only; nothing of Tutti's is
there. Started by sandboxes/base.py: `confine`, then `main`.
"""
