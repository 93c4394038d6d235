"""Check the prose of the project: Markdown, docstrings, comments, messages, and the page's texts.

The rules are those of CONTRIBUTING.md under "Plain English", as far as a program can check them.
proselint runs them, beside some checks of its own. Usage: ``tools/prose.py [FILE ...]``.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

from proselint.registry import CheckRegistry, build_modules_register
from proselint.registry.checks import Check, CheckResult

ROOT = Path(__file__).parent.parent
MOST_WORDS = 25  # of a sentence
MARKDOWN_WIDTH = 100  # characters of a line that is no table, link or code

REPLACED = {
    "tell, tells, told, telling": "say, report, return, distinguish",
    "come, comes, came, coming": "arrive, be received, follow",
    "lie, lies, lay": "be, be at",
    "stand, stands, stood": "be, be listed, depend",
    "lend, lends, lent": "give, provide",
    "bury, buries, buried": "release, remove",
    "whoever, whosoever": "the caller, the operator, a client",
    "bear, bears, borne": "support, hold",
}
SUBJECTS = ("What", "Whoever", "One that", "One who", "Those that", "Those who", "That which")

# proselint's own checks that fit technical prose.
OWN = tuple(
    f"proselint.checks.{name}"
    for name in (
        "archaism",
        "cliches",
        "malapropisms",
        "mondegreens",
        "nonwords",
        "oxymorons",
        "misc.false_plurals",
        "misc.metadiscourse",
        "misc.narcissism",
        "misc.pretension",
    )
)

EVERYWHERE = (
    "README.md",
    "SECURITY.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs",
    "ltu_compute",
    "tools",
)
DATA = ("ltu_compute/kernels/languages.py",)  # modules whose strings are lists of words
# Beginnings of paths whose prose does not follow the rules yet.
UNREVISED: tuple[str, ...] = ()

ENGLISH = "i18n.js"  # the module with the page's texts
JAVASCRIPT = re.compile(
    r"""(?P<comment>/\*.*?\*/|//[^\n]*)|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`""",
    re.DOTALL,
)
JSDOC = re.compile(r"@\w+(?: \{[^}]*\}+)?(?: \[?[\w.]+\]?)?")
KEEP_NEWLINES = re.compile(r"[^\n]")
CODE = re.compile(
    r"^( *)```.*?^\1```|<!--.*?-->|``[^`]+``|`[^`\n]+`|:\w+:`[^`]+`", re.MULTILINE | re.DOTALL
)
DOCTEST = re.compile(r"^ *(?:>>>|\.\.\.) .*", re.MULTILINE)
COMMANDS = re.compile(r"^ *\\b\n(?: *\S.*\n)+", re.MULTILINE)  # lines that click does not wrap
LINK = re.compile(r"\]\([^)]*\)|<https?:[^>]*>|https?://\S+")
END = re.compile(  # of a sentence: punctuation, a blank line, an underline, an item, a parameter
    r"""[.!?:;](?=[\s)"*]|$)|\n\s*\n|\n\s*[-=]{3,}\s*\n|\n\s*(?:[*-]|\d+\.)\s"""
    r"""|\n(?=\s*[\w, ]+ : )|[├└]"""
)
WORD = re.compile(r"[^\W\d_][\w'-]*")


def blanked(text: str, *patterns: re.Pattern[str]) -> str:
    """Return a text with what matches replaced by blanks, so that positions remain."""
    for pattern in patterns:
        text = pattern.sub(lambda match: KEEP_NEWLINES.sub(" ", match[0]), text)
    return text


def _goes_on(following: tokenize.TokenInfo | None) -> bool:
    """Return whether a string is concatenated with the one in the next line."""
    return following is not None and following.type in (tokenize.STRING, tokenize.NL)


def prose_of_python(source: str, *, messages: bool = True) -> str:
    """Return the docstrings, comments and messages of a module, in place; the rest is blank."""
    lines = source.splitlines(keepends=True)
    kept = [list(KEEP_NEWLINES.sub(" ", line)) for line in lines]
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        text = token.string
        if token.type == tokenize.COMMENT and not re.match(r"#\s*(noqa|type:|pragma|!)", text):
            text = re.sub(r"#\s*noqa.*|#", lambda m: " " * len(m[0]), text)
            if token.line[: token.start[1]].strip():  # beside code: no part of what is above
                text = "." + text[1:]
        elif token.type == tokenize.STRING and " " in text and not text.startswith(("r", "b")):
            if not (messages or text.startswith('"""')):
                continue
            text = re.sub(r"\"\"\"|\\n|\{[^}]*\}|^.?['\"]|['\"]$", lambda m: " " * len(m[0]), text)
        else:
            continue
        if token.type != tokenize.COMMENT and not _goes_on(following):
            text = text[:-1] + "."
        for offset, line in enumerate(text.splitlines()):
            row, column = token.start[0] - 1 + offset, token.start[1] if offset == 0 else 0
            kept[row][column : column + len(line)] = line
    return "".join("".join(line) for line in kept)


def prose_of_javascript(source: str, *, messages: bool) -> str:
    """Return the comments of a module, and its messages, in place; the rest is blank."""
    kept = KEEP_NEWLINES.sub(" ", source)
    for match in JAVASCRIPT.finditer(source):
        text = match[0]
        if match["comment"]:
            text = JSDOC.sub(lambda tag: "." + " " * (len(tag[0]) - 1), text)
            text = re.sub(
                r"/\*+|\*+/|^ *\* ?|//", lambda m: " " * len(m[0]), text, flags=re.MULTILINE
            )
        elif not messages:
            continue
        kept = (
            kept[: match.start()]
            + text[:-1]
            + (text[-1:] if text[-1:] == "\n" else ".")
            + kept[match.end() :]
        )
    return kept


def prose_of(path: Path) -> str:
    """Return the prose of a file, at the positions it has there."""
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        ast.parse(text)
        text = prose_of_python(text, messages=str(path.relative_to(ROOT)) not in DATA)
    elif path.suffix == ".js":
        text = prose_of_javascript(text, messages=path.name == ENGLISH)
    return blanked(text, CODE, DOCTEST, COMMANDS, LINK)


def _words(text: str, check: Check) -> Iterator[CheckResult]:
    for words, better in REPLACED.items():
        pattern = rf"\b(?:{'|'.join(words.split(', '))})\b(?! out\b|, first served)"
        for match in re.finditer(pattern, text, re.IGNORECASE):
            message = f"{match[0]!r}: {better}"
            yield CheckResult(check.path, message, match.span(), None)


def _sentences(text: str) -> Iterator[tuple[int, str]]:
    start = 0
    for match in [*END.finditer(text), None]:
        end = match.end() if match else len(text)
        yield start, text[start:end]
        start = end


def _length(text: str, check: Check) -> Iterator[CheckResult]:
    text = re.sub(r"^\|.*$", lambda m: "." * len(m[0]), text, flags=re.MULTILINE)
    for start, sentence in _sentences(text):
        count = len(WORD.findall(sentence))
        if count > MOST_WORDS:
            at = start + len(sentence) - len(sentence.lstrip())
            yield CheckResult(check.path, f"{count} words in a sentence", (at, at + 1), None)


def _subjects(text: str, check: Check) -> Iterator[CheckResult]:
    for start, sentence in _sentences(text):
        stripped = sentence.lstrip()
        if stripped.startswith(tuple(f"{s} " for s in SUBJECTS)) and not stripped.endswith("?"):
            at = start + len(sentence) - len(stripped)
            yield CheckResult(check.path, "the subject is a clause", (at, at + 1), None)


CHECKS = (
    Check(_words, path="project.words"),
    Check(_length, path="project.length"),
    Check(_subjects, path="project.subjects"),
)


def width(path: Path) -> Iterator[str]:
    """Yield the lines of Markdown that are too long."""
    text = blanked(path.read_text("utf-8"), CODE)
    for number, line in enumerate(text.splitlines(), 1):
        if len(line.rstrip()) > MARKDOWN_WIDTH and not re.match(r"\s*\|", line):
            yield f"{path.relative_to(ROOT)}:{number}: {len(line)} characters in a line"


def files() -> Iterator[Path]:
    """Yield the files whose prose is checked."""
    for name in EVERYWHERE:
        path = ROOT / name
        found = (
            [path]
            if path.is_file()
            else [each for end in ("py", "md", "js") for each in path.rglob(f"*.{end}")]
        )
        for each in sorted(found):
            if each != Path(__file__) and not str(each.relative_to(ROOT)).startswith(UNREVISED):
                yield each


def main(names: list[str]) -> int:
    """Print what is wrong, and return 1 if anything is."""
    CheckRegistry().register_many(build_modules_register(OWN, "proselint") + CHECKS)
    wrong = []
    for path in [Path(name).resolve() for name in names] or files():
        text = prose_of(path)
        for check in CheckRegistry().checks:
            for found in check.check_with_flags(text):
                line = text.count("\n", 0, found.span[0]) + 1
                wrong.append(
                    f"{path.relative_to(ROOT)}:{line}: {found.message} ({found.check_path})"
                )
        if path.suffix == ".md":
            wrong += width(path)
    print("\n".join(wrong))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
