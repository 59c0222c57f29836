"""Posts into Kafka, from where they are written.

    feed (files, bluesky, mastodon, x) ─► items ─► forward ─► outlet ─► an input topic
                                          each with a cursor: where the feed goes on behind it

The cursor is the offset that a consumer group of the feed's own commits on the topic, in the transaction that
writes the posts. So a feed that is killed at any moment goes on where it was: each item once, none left out.
Feeds without a cursor (standard input, X) are at least once, and say so. What X and Mastodon bring twice is
recognised by its id: the ids written lately are read back from the topic at the start.
"""
