"""How a request is answered: binding, dependencies, guards, middleware, plans and their runners, in both colours."""
