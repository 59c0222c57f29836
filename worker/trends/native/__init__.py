"""Cutting texts into numbered tokens, in C; `worker.trends.vocabulary` uses it.

The library is compiled when moodstream is installed (hatch_build.py). Where there is none for the machine,
Python does the same.
"""
