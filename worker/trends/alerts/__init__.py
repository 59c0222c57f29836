"""Spikes: windows in which far more posts than usual express an emotion or match a tracked query; and drift.

series    what is judged: an emotion, a query, an emotion among a query's posts, all posts
baseline  what an hour usually holds, from the same hour of previous weeks (pure)
judge     whether a window is far above it (pure)
drift     whether a model's labels look other than they used to, each emotion by itself (pure)
models    which hours were labelled by the same model (pure)
"""
