"""Fetching addresses that clients name: no other code connects to them."""
