"""Tables in Markdown."""


def rows(*lines: tuple[object, ...]) -> str:
    head, *body = [f"| {' | '.join(map(str, line))} |" for line in lines]
    return "\n".join([head, "|" + "---|" * len(lines[0]), *body])
