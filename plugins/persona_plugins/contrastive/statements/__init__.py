"""What people say outright about themselves and about how they want answers, read without a language model.

`statements_in` reads one turn; `standing` puts many turns' statements in order, later corrections winning. The way
of a turn: its own sentences (`own_words`), their clauses (`clauses`), and in each clause an instruction (`styles`),
a declaration (`declared`, `complements`), or a correction by word (`by_word`), read by a small grammar over word
lists (`lexicon`, `style_lexicon`). What the grammar does not fit is not read: an invented memory is worse than a
missed one.
"""

from persona_plugins.contrastive.statements.corrections import standing
from persona_plugins.contrastive.statements.model import STYLE_DIMENSIONS, Statement
from persona_plugins.contrastive.statements.reading import statements_in

__all__ = ["STYLE_DIMENSIONS", "Statement", "standing", "statements_in"]
