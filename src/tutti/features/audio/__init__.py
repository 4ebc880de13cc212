"""Speech, transcription, translation, voices, and both by WebSocket."""
