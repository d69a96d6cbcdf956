"""The 99 languages of Whisper (Radford et al. 2022), by their codes of ISO 639-1 (two letters) or 639-3."""

from __future__ import annotations

LANGUAGES = (
    "en", "zh", "de", "es", "ru", "ko", "fr", "ja", "pt", "tr", "pl", "ca", "nl", "ar", "sv", "it", "id", "hi",
    "fi", "vi", "he", "uk", "el", "ms", "cs", "ro", "da", "hu", "ta", "no", "th", "ur", "hr", "bg", "lt", "la",
    "mi", "ml", "cy", "sk", "te", "fa", "lv", "bn", "sr", "az", "sl", "kn", "et", "mk", "br", "eu", "is", "hy",
    "ne", "mn", "bs", "kk", "sq", "sw", "gl", "mr", "pa", "si", "km", "sn", "yo", "so", "af", "oc", "ka", "be",
    "tg", "sd", "gu", "am", "yi", "lo", "uz", "fo", "ht", "ps", "tk", "nn", "mt", "sa", "lb", "my", "bo", "tl",
    "mg", "as", "tt", "haw", "ln", "ha", "ba", "jw", "su",
)  # fmt: skip
"""In the order of the tokens."""
TOLD = {"jw": "jv", "nn": "no"}
"""What is told instead: an old code's new one; Norwegian for either way to write it."""
UNSPOKEN = ("la", "sa")
"""Nobody's mother tongue: what sounds like them to the network is another language, badly heard."""
