"""Sounds."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any

from mainspring.client.media.values import Encoded, Medium, array_of, of_file
from mainspring.core.errors import InvalidRequest
from mainspring.tracking.media.model import Fact, MediaKind

_KINDS: dict[str, MediaKind] = dict.fromkeys((".wav", ".mp3", ".ogg", ".flac", ".m4a", ".opus"), "audio")
_MAX_CHANNELS = 16


class Audio(Medium):
    """A sound: samples (samples,) or (samples, channels) with their rate in hertz, or a file.

    Fractions are from -1 to 1; whole numbers are taken as samples of 16 bits.
    """

    def __init__(self, value: Any, rate: int | None = None, caption: str | None = None) -> None:
        self._value, self._rate, self._caption = value, rate, caption

    def encode(self) -> Encoded:
        """Give it as WAV with 16 bits, or the file as it is."""
        if isinstance(self._value, str | Path):
            return of_file(self._value, _KINDS, self._caption)
        import numpy

        samples = array_of(self._value, "a sound")
        if samples.ndim == 1:
            samples = samples[:, None]
        if samples.ndim != 2 or not 1 <= samples.shape[1] <= _MAX_CHANNELS:
            raise InvalidRequest(f"samples of the shape {samples.shape} are no sound: expected (samples, channels)")
        if self._rate is None or self._rate < 1:
            raise InvalidRequest(f"samples need their rate in hertz, such as 16000; it is {self._rate}")
        if samples.dtype.kind == "f":
            samples = numpy.rint(numpy.nan_to_num(samples).clip(-1.0, 1.0) * 32767)
        buffer = io.BytesIO()
        with wave.open(buffer, "wb") as file:
            file.setnchannels(samples.shape[1])
            file.setsampwidth(2)
            file.setframerate(int(self._rate))
            file.writeframes(samples.clip(-32768, 32767).astype("<i2").tobytes())
        facts: dict[str, Fact] = {"rate_hz": int(self._rate), "duration_s": round(len(samples) / self._rate, 6)}
        return Encoded("audio", ".wav", buffer.getvalue(), self._caption, [*samples.shape], facts)
