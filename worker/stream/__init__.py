"""The hot path: consume, decode, batch, classify, publish, commit."""
