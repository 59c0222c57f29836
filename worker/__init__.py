"""moodstream's serving side: everything that runs while posts arrive.

Shared ground stands here as modules (`settings`, `types`, `errors`, `clock`, `metrics`); each
role or layer has a folder of its own. ARCHITECTURE.md draws who may import whom.
"""
