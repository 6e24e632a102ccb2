"""Where a request goes: patterns, the tree that matches them, the router over it, and how routes are declared.

Nothing here knows what a handler is called with or what it returns; a route carries it along.
"""
