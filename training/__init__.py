"""Training: from labelled text to a model artefact. May import `worker`, never the reverse."""
