"""People's corrections joined to the labels they correct, and what they say of the models."""
