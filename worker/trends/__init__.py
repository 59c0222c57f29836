"""The trends role: labels counted per minute, emotion and source in Redis, exactly once."""
