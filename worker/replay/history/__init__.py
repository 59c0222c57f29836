"""`moodstream replay`: a range of a topic through one or several models, and which of them is better.

    bounds     what --from and --to say
    ranges     offsets of each partition, asked for with kafka-python
    reader     the records of these offsets, with confluent-kafka, in no consumer group
    parts      cut into parts of fixed offsets, each the same whenever it is read
    contest    each part through the one loop, once for each model
    folder     finished parts as Parquet files, and what the folder answers: a killed replay goes on there
    truth      gold labels by id; `earlier` joins the labels that the stream gave
    results    all of it as predictions.parquet
    analysis   figures, paired tests, over time, by language and source, disagreements
    page       report.html

A part is the unit of work and of what is kept. Batches never reach over its end, so that a part's answers do
not depend on what was replayed before it, and a replay that goes on after a kill ends where it would have.
"""
