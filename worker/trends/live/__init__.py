"""Labels as they are counted, for whoever watches.

    trends loop ─► LiveFeed ─► Redis channel ─► Follower ─► Hub ─► listeners (server-sent events)
    (each instance: its own partitions)        (each instance that somebody watches)

Every instance reads some partitions only, so they meet in Redis, where their counts meet too. A channel
keeps nothing: what nobody hears is gone, and a Redis that drops a slow reader drops labels to look at, never
counts. What goes in is bounded per second, whatever the stream brings; what is left out is told as a number.
"""
