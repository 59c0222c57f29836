"""The model over tables that are larger than one machine, on the engine that a user has: Spark, Ray Data.

No engine of our own. `table` turns Arrow batches into labelled ones by the loop that labels the stream;
`spark` and `ray` hand it to theirs; `job` is what travels to the machines: a path and an identity, never a
model.
"""
