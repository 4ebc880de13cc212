"""Evaluations of models by a judge."""
