"""Answers kept and given out again, by the rules of a shared cache (RFC 9111).

feature   the middleware: what happens to a request on its way in and out
policy    what the application said about a route
rules     what the RFC says: what may be kept, how long, for whom
entry     one kept answer
store     keeping entries; the store in memory
stores    which store it is
flights   one request makes an answer, the others wait for it
refresh   an answer made anew after it was given out stale
"""
