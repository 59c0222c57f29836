"""Every command of the documents is run, as it stands there.

    make docs-proof

A Kafka, a Redis, a worker, trends and quality run in a folder that has all the files that the documents name.
Every line of a block for the shell is given to bash in the order of the documents, roles until they are ready
and then SIGTERM; it has to end with 0. What cannot be run here, or is run elsewhere, is named with the reason
(`exceptions`).

    exceptions  which lines are not run, and why; which are roles; what must be so before
    stage       the servers, the roles and the files
    run         line after line
"""
