"""What a model does with cases written to find out: `moodstream behaviour` (Ribeiro et al. 2020)."""
