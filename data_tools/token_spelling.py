"""What tokenizers write around and into their tokens, and the words that are left without it.

    end_of_word    lung</w>   a word's last token carries the mark (CLIP)
    word_piece     ##ing      a token that goes on a word carries the mark (BERT)
    space_mark     ▁lung      a word's first token carries the mark (SentencePiece: Llama, Gemma, T5; GGUF of BERT)
    byte_level     Ġlung      the same, and bytes are written as printable characters (GPT-2, Llama 3, Qwen)
    plain          lung       no mark

CLIP's tokens are byte_level inside their end_of_word mark.
"""

import re

END_OF_WORD = "</w>"
CONTINUATION = "##"
SPACE_MARK = "▁"
BYTE_LEVEL_SPACE = "Ġ"

WHOLE = "whole word"
PIECE = "piece of a word"
SPECIAL = "special token"
UNUSED = "unused entry"
BYTE = "byte or part of a character"
BLANK = "white space or control characters"

_SPECIAL = re.compile(r"\[(PAD|UNK|CLS|SEP|MASK|BOS|EOS|multimodal)\]|<\|[^|]*\|>|</?(s|pad|unk|mask|bos|eos|cls|sep)>")
_UNUSED = re.compile(r"\[unused\d+\]|<unused\d+>|<extra_id_\d+>|<\|?reserved[^>]*>")
_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")


def byte_characters() -> dict[str, int]:
    """The printable character that stands for each byte in byte_level tokens: visible Latin-1 characters for
    themselves, the other bytes, in order, for the characters from 256 on."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in visible]
    return {**{chr(byte): byte for byte in visible}, **{chr(256 + rank): byte for rank, byte in enumerate(hidden)}}


_BYTE_OF = byte_characters()


def marking_of(spelled: list[str]) -> tuple[str, bool]:
    """The marking that the tokens themselves show, and whether their characters stand for bytes."""
    known = set(spelled)

    def share(carries_mark) -> float:
        return sum(map(carries_mark, known)) / max(len(known), 1)

    # Any mark may occur once as a token of its own; as a marking it is on many.
    least = 0.02
    if share(lambda token: token.endswith(END_OF_WORD)) > least:
        # A tokenizer that works on bytes has nearly all of them as tokens; some occur in no text.
        return "end_of_word", sum(character in known for character in _BYTE_OF) > 200
    if share(lambda token: token.startswith(SPACE_MARK)) > least:
        return "space_mark", False
    if share(lambda token: token.startswith(CONTINUATION) and token[len(CONTINUATION) :].isalnum()) > least:
        return "word_piece", False
    if share(lambda token: token.startswith(BYTE_LEVEL_SPACE)) > least:
        return "byte_level", True
    return "plain", False


def _text_of_bytes(token: str) -> str | None:
    try:
        return bytes(_BYTE_OF[character] for character in token).decode("utf-8")
    except (KeyError, UnicodeDecodeError):
        return None


def read_token(token: str, marking: str, is_byte_level: bool) -> tuple[str, str]:
    """The kind of an ordinary token, one of the constants above, and its text without marks."""
    if _SPECIAL.fullmatch(token):
        return SPECIAL, token
    if _UNUSED.fullmatch(token):
        return UNUSED, token
    if _BYTE.fullmatch(token):
        return BYTE, token
    is_whole = True
    if marking == "end_of_word":
        is_whole = token.endswith(END_OF_WORD)
        token = token.removesuffix(END_OF_WORD)
    elif marking == "word_piece" and len(token) > len(CONTINUATION):
        is_whole = not token.startswith(CONTINUATION)
        token = token.removeprefix(CONTINUATION)
    elif marking == "space_mark":
        is_whole = token.startswith(SPACE_MARK)
        token = token.removeprefix(SPACE_MARK).replace(SPACE_MARK, " ")
    elif marking == "byte_level":
        is_whole = token.startswith(BYTE_LEVEL_SPACE)
        token = token.removeprefix(BYTE_LEVEL_SPACE)
    if is_byte_level:
        text = _text_of_bytes(token)
        if text is None:
            return BYTE, token
        token = text
    if not token or not token.isprintable() or any(character.isspace() for character in token):
        return BLANK, token
    return (WHOLE if is_whole else PIECE), token
