"""Builds the documentation site: `make docs`, or `python -m tools.website [OUTPUT]`.

`docs/` holds what people write. A build gathers those pages, adds what is made (navigation, reference, charts), and
lets Zensical turn all of it into HTML. Warnings are failures, and so is a link that leads nowhere.
"""
