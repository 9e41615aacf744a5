"""What a user may choose about one mount: one frozen value, checked once.

Every room receives the part that it needs through its constructor.
"""

from aerofs.settings.choices import Settings, default_state_dir, is_below
from aerofs.settings.kinds import duration, size
from aerofs.settings.sources import load

__all__ = ["Settings", "default_state_dir", "duration", "is_below", "load", "size"]
