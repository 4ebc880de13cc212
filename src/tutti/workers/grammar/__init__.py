"""Compiles clients' JSON Schemas and regular expressions to grammars, and refuses what can't be enforced."""
