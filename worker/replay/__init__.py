"""Posts that do not come from a live topic, through the same loop: evaluation and `classify`."""
