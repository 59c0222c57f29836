"""A table labelled by Spark and by Ray, held against `moodstream classify`."""
