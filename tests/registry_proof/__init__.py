"""The contract tests of the schema registry, against a real one."""
