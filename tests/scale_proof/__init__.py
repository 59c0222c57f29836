"""Workers come, go and are killed under load, and how long posts take with 1, 2 and 4 of them.

    make scale-proof ARGS="--json"

Three Kafka brokers, a Redis, two trends and up to four workers, as `make chaos` has them. The model sleeps
for what a model on a processor of its own would take, so that four workers have room on two cores; all else
is the product.

    process     what the workers run: the product's command, with a model that takes its time
    steady      when posts are in time again: pure
    scaling     workers come and go with the load, one is killed
    queueing    delays against what `worker.bench.capacity` says
    run         both of it, then the checker of `make chaos`
"""
