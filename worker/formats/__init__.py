"""Topics in Avro and Protobuf: messages as Confluent's serializers write them, with a schema in a registry.

    frame      the five bytes in front of a message: which schema it was written with
    registry   one question to the registry, and what its answer means
    schemas    the schemas of our own types, in Avro and Protobuf
    avro       from an Avro schema to what reads messages of it, and what writes labels
    protobuf   the same for Protobuf
    cache      schemas by id, fetched once, and what their messages are
    opened     all of it as the settings say; where a role begins

Whoever reads gets one function from bytes to a type, chosen at the start: with JSON that is the JSON decoder
itself, and nothing of this package is on its way.
"""
