"""The control plane: the API, and the work that goes on behind it, ``python -m mainspring.planes.control``.

It publishes what the data plane serves, takes in what the data plane wrote, delivers events to those who react, and
fires timers. When it is down the data plane serves on; when it comes back it goes on where it stopped.
"""

from __future__ import annotations
