"""Memory between the workers of one machine: an arena, named regions in it, and what regions may hold. No processes."""
