"""Any LangChain chat model, tailored to the person each call names. Imports langchain-core; import it when needed."""

from persona_sdk.chat.plan import CALL_ID
from persona_sdk.chat.wrapper import PersonalizedChat

__all__ = ["CALL_ID", "PersonalizedChat"]
