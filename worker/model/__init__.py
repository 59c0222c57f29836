"""From text to probabilities. Knows no Kafka, no Redis, no settings."""
