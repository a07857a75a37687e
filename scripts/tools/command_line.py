# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What the command lines of all tools share: help that a person reads, and one line for what was mistyped.

Values are read by Fire, as on MONAI's own command line; the help is made of signature and docstring.
"""

from __future__ import annotations

import inspect
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from inspect import Parameter
from typing import Any

import fire

HELP = ("--help", "-h")
NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
WIDEST = 100  # columns of a help text
INDENT = 26  # of what an option means
SECTIONS = ("Args:", "Returns:", "Raises:", "Yields:", "Attributes:")
METAVARS = {"int": "N", "float": "X"}


def run_tool(component: Callable[..., Any], arguments: Sequence[str] | None = None, program: str | None = None) -> None:
    """Call a function, or make a callable object and call it, with the options of a command line.

    Args:
        component: the function, or the class of the object; what its options mean stands in its docstring.
        arguments: of the command line; those of this process if not given.
        program: how the command is called, for messages; the ``python -m`` form if not given.

    Raises:
        SystemExit: with one line, if an option is not known or not there, or the tool raises ``ValueError`` or
            ``OSError``.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    program = program or _program()
    if any(each in HELP for each in given):
        print(help_text(component, program))
        return
    problem = _mistake(inspect.signature(component).parameters, given)
    if problem:
        raise SystemExit(f"{program}: {problem} Try --help.")
    try:
        fire.Fire(component, command=given, name=program)
    except (OSError, ValueError) as error:
        raise SystemExit(f"{program}: {error}") from error


def help_text(component: Callable[..., Any], program: str, columns: int | None = None) -> str:
    """Lay out what a tool does, an example, and its options: first those that must be given.

    Args:
        component: as for ``run_tool``.
        program: how the command is called.
        columns: width of the text; that of the terminal if not given.
    """
    width = min(columns or shutil.get_terminal_size().columns, WIDEST)
    parameters = inspect.signature(component).parameters
    meanings = _meanings(component)
    required = [each for each in parameters.values() if each.kind in NAMED and each.default is Parameter.empty]
    optional = [each for each in parameters.values() if each.kind in NAMED and each.default is not Parameter.empty]
    files = [each for each in parameters.values() if each.kind is Parameter.VAR_POSITIONAL]
    others = [each for each in parameters.values() if each.kind is Parameter.VAR_KEYWORD]
    usage = [*(f"{each.name.upper()}..." for each in files), *map(_option, required)]
    rest = ["[options]"] if optional or others else []
    blocks = [f"usage: {' '.join([program, *usage, *rest])}"]
    blocks += [textwrap.fill(" ".join(part.split()), width) for part in _description(component)]
    example = _example(component, program)
    blocks += [f"Example:\n{example}"] if example else []
    for title, group in (("Arguments", files), ("Required", required), ("Options", optional), ("And", others)):
        lines = [_row(each, meanings.get(each.name, ""), width) for each in group]
        blocks += ["\n".join([f"{title}:", *lines])] if lines else []
    return "\n\n".join(blocks)


def _program() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return f"python -m {spec.name}" if spec else sys.argv[0]


def _mistake(parameters: Mapping[str, Parameter], arguments: Sequence[str]) -> str | None:
    """Name an option that is not known, or one that must be given and is not."""
    names, positional = _read(arguments)
    kinds = [each.kind for each in parameters.values()]
    known = {name for name, each in parameters.items() if each.kind in NAMED}
    if Parameter.VAR_KEYWORD not in kinds:
        for name in names:
            if name not in known and name.removeprefix("no") not in known and len(name) > 1:  # Fire: --noflag, -x
                near = get_close_matches(name, known, 1)
                return f"unknown option --{name}; expected {f'--{near[0]}?' if near else 'one of its own.'}"
    needed = [name for name in known if parameters[name].default is Parameter.empty and name not in names]
    missing = [name for name in parameters if name in needed][positional:]
    if missing and not any(len(name) == 1 for name in names):
        wanted = " and ".join(_option(parameters[name]) for name in missing)
        return f"{wanted} {'is' if len(missing) == 1 else 'are'} not given."
    return None


def _read(arguments: Sequence[str]) -> tuple[list[str], int]:
    """Take names of options and the number of other arguments from a command line, as Fire does."""
    names: list[str] = []
    positional, is_value = 0, False
    for each in arguments:
        if re.match(r"--?[a-zA-Z_+]", each):
            name, equals, _ = each.lstrip("-").partition("=")
            names.append(name.replace("-", "_"))
            is_value = not equals
        else:
            positional += not is_value
            is_value = False
    return names, positional


def _description(component: Callable[..., Any]) -> list[str]:
    """Paragraphs of the docstring before its sections."""
    text = inspect.getdoc(component) or ""
    cut = min((text.find(f"\n{each}") for each in SECTIONS if f"\n{each}" in text), default=len(text))
    return [part for part in text[:cut].strip().split("\n\n") if part]


def _meanings(component: Callable[..., Any]) -> dict[str, str]:
    """What the docstring says of each argument."""
    _, _, text = (inspect.getdoc(component) or "").partition("\nArgs:\n")
    block = re.split(r"\n\S", text)[0]
    found = re.findall(r"^    (\w+): (.*(?:\n(?: {5,}.*)?)*)", block, re.MULTILINE)
    return {name: " ".join(meaning.split()) for name, meaning in found}


def _example(component: Callable[..., Any], program: str) -> str:
    """Take the command out of the docstring of the module."""
    text = sys.modules[component.__module__].__doc__ or ""
    found = re.search(r"^ *python -m scripts\.tools\.\w+((?:.*\\\n)*.*)$", text, re.MULTILINE)
    return f"  {program}{found[1]}" if found else ""


def _option(parameter: Parameter) -> str:
    if parameter.default is False or parameter.default is True:
        return f"--{parameter.name}"
    kind = str(parameter.annotation).split(" ")[0]
    return f"--{parameter.name} {METAVARS.get(kind, parameter.name.rpartition('_')[2].upper())}"


def _row(parameter: Parameter, meaning: str, width: int) -> str:
    names = {Parameter.VAR_POSITIONAL: f"{parameter.name.upper()}...", Parameter.VAR_KEYWORD: "--ID VALUE ..."}
    option = names.get(parameter.kind) or _option(parameter)
    default = parameter.default
    if default not in (Parameter.empty, None, False, "") and f"{default}" not in meaning and "default" not in meaning:
        meaning = f"{meaning.rstrip('.')} (default: {default})."
    lines = textwrap.wrap(meaning, width - INDENT, break_on_hyphens=False) or [""]
    head = f"  {option}"
    gap = "\n" + " " * INDENT
    first = f"{head:<{INDENT}}{lines[0]}" if len(head) < INDENT - 1 else f"{head}{gap}{lines[0]}"
    return gap.join([first, *lines[1:]]).rstrip()
