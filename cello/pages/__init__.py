"""Pages for browsers that features bring along: their code, shipped with the package, and the policy they run under."""
