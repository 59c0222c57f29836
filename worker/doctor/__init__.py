"""`moodstream doctor`: looks at everything a role needs, changes nothing, and says what to do.

    findings    what one look found
    kafka       brokers, topics, permissions, groups
    redis       server, permissions, settings, clock
    registry    the schema registry, where one is needed
    machine     the model, the GPU, the addresses of the roles
    commands    all looks in order, for people and for machines

Each look is a generator of findings that takes the settings. It uses what the roles themselves use to
connect and to explain a refusal, so that the doctor and the role that fails say the same.
"""
