"""What makes a site of docs/*.md: the generated reference, and pages that lie elsewhere in the repository.

`site` holds the events, called by MkDocs as mkdocs.yml says; all else here is pure.
"""
