"""Random and mutated records through a real worker on a real Kafka: `python -m tests.fuzz --help`."""
