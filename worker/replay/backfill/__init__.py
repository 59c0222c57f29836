"""`moodstream backfill`: days of the past labelled by another model, counted apart, swapped in at once."""
