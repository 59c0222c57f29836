"""The image for the CPU, built from its Dockerfile without Docker, and its worker on a real Kafka."""
