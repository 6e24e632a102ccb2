"""Channels: what one part of an application publishes, every subscriber hears, whichever worker it is in.

    app.channel("room") ─publish─▶ bus ─▶ hub of each worker ─▶ subscriptions (a handler reads them)
                                                             └▶ members (WebSockets that are sent what is published)

The bus is what differs: a ring in memory that all workers of one machine share (ring_bus.py), or Redis for several
machines (redis_bus.py). Everything else is the same: a hub for each process (hub.py), and who hears (subscription.py,
member.py).

Rule 1: a message is heard at most once, by those who were there when it was published; nothing is kept for later.
Rule 2: all who hear several messages of one channel hear them in the same order.
Rule 3: a publisher never waits for a subscriber. Who does not keep up is skipped or dropped, as it has chosen.
"""

from cello.features.channels.bus import ChannelError
from cello.features.channels.channel import Channel
from cello.features.channels.feature import Channels
from cello.features.channels.subscription import SlowSubscriber, Subscription, SubscriptionEnded

__all__ = ["Channel", "ChannelError", "Channels", "SlowSubscriber", "Subscription", "SubscriptionEnded"]
