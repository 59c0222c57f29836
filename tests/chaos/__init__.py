"""Random faults on the real thing, and a checker that knows the truth.

    make chaos MINUTES=20 SEED=1

Three Kafka brokers, a Redis, three workers, two trends and a steady producer run for so many minutes while a
schedule of faults, drawn from the seed, is done to them. Then every fault is lifted, the stream drains, and
the checker reads all topics and Redis.

    schedule    which fault when: a pure function of the seed
    system      the processes under test
    faults      how each fault is done and undone
    traffic     what is sent: posts, deletions and poison, numbered
    monitor     what comes out, live: stalls and recovery times
    reading     all topics and Redis, at the end
    check       what was promised against what was read: pure
    run         all of it in order
    process     what the processes run: the product's command, on a clock that can be stepped

Between the processes lie links that can be cut, silenced, delayed and throttled (`tests.support.network`).
That the checker can fail is proved by two products broken on purpose, `untransactional` and `unchecked`:
`make chaos-proofs`, which also measures how long recovery takes.
"""
