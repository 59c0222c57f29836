"""Trends at scale, held against counts that are made without them."""
