"""What operators tell the workers through a topic: which model serves, which runs in its shadow, a pause."""
