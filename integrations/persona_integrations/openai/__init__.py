"""OpenAI's official client, tailored to the person of each call; needs the extra `openai`."""

from persona_integrations.openai.personalizing import personalize

__all__ = ["personalize"]
