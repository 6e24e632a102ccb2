"""The index of features: one `enable_…` each, which imports its feature only when it is called.

It is looked things up in, not read. What a switch does is said where it is implemented.
"""

from cello.enable.apis import Apis
from cello.enable.data import Data
from cello.enable.events import Events
from cello.enable.messages import Messages
from cello.enable.observing import Observing
from cello.enable.security import Security
from cello.enable.shared import SharedState
from cello.enable.web import Web


class Switches(Web, Security, SharedState, Observing, Apis, Data, Messages, Events):
    """Every feature's switch. Each may be thrown once, before the application starts, in any order."""
