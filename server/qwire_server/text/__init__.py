"""From texts to token ids: prompts, truncation, a pool of tokeniser threads. Knows no protocol."""
