"""Read the tokens of a formula one after the other."""

from fusionrun_stages.grading.mathematics.reading.tokens import NotReadError, Token


class TokenStream:
    """Tokens with the place that is read next."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.index = 0

    def peek(self, offset: int = 0) -> str:
        """Return the text of a token that follows, empty after the last."""
        place = self.index + offset
        return self.tokens[place].text if place < len(self.tokens) else ""

    def kind(self) -> str:
        """Return the kind of the next token."""
        return self.tokens[self.index].kind if self.index < len(self.tokens) else ""

    def take(self) -> str:
        """Read the next token; raise NotReadError after the last."""
        if self.index >= len(self.tokens):
            raise NotReadError("it ends early")
        self.index += 1
        return self.tokens[self.index - 1].text

    def expect(self, text: str) -> None:
        """Read the next token, which must be this one."""
        if self.take() != text:
            raise NotReadError(f"no {text}")

    def subscript(self) -> str:
        """Read one token or a group in braces."""
        if self.peek() != "{":
            return self.take()
        self.take()
        parts = []
        while self.peek() not in {"}", ""}:
            parts.append(self.take())
        self.expect("}")
        return "".join(parts)

    def letters(self) -> str:
        """Read letters until a closing brace."""
        parts = []
        while self.kind() == "letter":
            parts.append(self.take())
        self.expect("}")
        if not parts:
            raise NotReadError("no letter")
        return "".join(parts)
