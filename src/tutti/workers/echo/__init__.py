"""The fake engine: a program that serves every modality deterministically and without a model.

Tests and benchmarks run it in the place of a real engine; `engines/echo.py` documents what it answers.
"""
