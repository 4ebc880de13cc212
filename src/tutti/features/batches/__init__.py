"""Batches of requests, worked off behind live traffic."""
