"""Servers started on this machine for the demo, the benchmarks and the tests; never in production."""
