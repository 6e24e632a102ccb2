"""What a request and a response are: HTTP's own vocabulary, with no routing, event loop or socket in it."""
