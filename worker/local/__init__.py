"""Servers started on this machine for the demo, the benchmarks and the tests; never in production.

    with RealKafka() as kafka, RealRedis(aof=True) as redis:
        ... kafka.bootstrap ... redis.url ...; kafka.kill(); kafka.start()

Each listens on a free port of 127.0.0.1, keeps its files in a temporary folder, dies with this process,
and says how to get what it lacks (`kafka.available()`, or a `DependencyError`).
"""
