"""The side-by-side comparison: the same routes on many servers, loaded in turn, measured in CPU time per request."""
