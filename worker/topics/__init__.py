"""The topics: what they should be (`plan`), what they are (`admin`), and the commands that compare."""
