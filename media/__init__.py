"""Bytes in; frames, waveform and shots out. Knows nothing of models, stores or queues."""
