"""Speech to text over HTTP with Whisper: recordings and live sessions. See `__main__`."""
