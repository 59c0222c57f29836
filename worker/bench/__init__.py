"""`moodstream bench`: this product and its peers, measured in the same run."""
