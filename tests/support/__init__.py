"""What several test modules need: records in and out of Kafka, waiting, and a strict mode for CI."""
