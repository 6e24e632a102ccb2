"""Rate limits over all workers of a machine, or over all machines."""

from cello.features.rate_limit.config import RateLimitConfig
from cello.features.rate_limit.feature import RateLimit, RateState

__all__ = ["RateLimit", "RateLimitConfig", "RateState"]
