"""Speech to text over HTTP: recordings and live sessions, on Whisper. See __main__."""
