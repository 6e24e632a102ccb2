"""What makes a shell complete the command `cello`: a script for bash, zsh or fish, made from its argument parser.

The script is complete in itself: pressing Tab starts no Python.
"""

import argparse
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

_FILES = frozenset({"FILE", "PATH", "TARGET"})
_FOLDERS = frozenset({"DIR", "NAME"})


@dataclass(frozen=True, slots=True)
class Word:
    """An option, or a place for something without one.

    Attributes:
        names: "--port"; none for a place.
        help: In words.
        choices: What may stand there; empty for anything.
        wants: What is wanted there: "file", "folder", "text", or "" where an option takes no value.
    """

    names: tuple[str, ...]
    help: str
    choices: tuple[str, ...] = ()
    wants: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """A command and what may follow it."""

    name: str
    help: str
    options: list[Word] = field(default_factory=list)
    places: list[Word] = field(default_factory=list)


def commands_of(parser: argparse.ArgumentParser) -> list[Command]:
    """Return what a parser with commands understands."""
    # argparse has no public way to ask what was added; these names are the same from Python 3.2 on.
    [group] = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    helps = {choice.dest: choice.help or "" for choice in group._choices_actions}
    found = []
    for name, sub in group.choices.items():
        words = [_word(action) for action in sub._actions]
        options = [word for word in words if word.names]
        found.append(Command(name, helps.get(name, ""), options, [word for word in words if not word.names]))
    return found


def _word(action: argparse.Action) -> Word:
    choices = tuple(str(choice) for choice in action.choices or ())
    metavar = str(action.metavar or "")
    wants = ""
    if action.nargs != 0:  # switches have 0
        wants = "file" if metavar in _FILES else "folder" if metavar in _FOLDERS else "text"
    text = "" if action.help in (None, argparse.SUPPRESS) else str(action.help)
    return Word(tuple(action.option_strings), text.replace("%%", "%"), choices, wants)


def bash(program: str, commands: list[Command]) -> str:
    """Return the script for bash, 4 or later."""
    values, words = [], []
    for command in commands:
        for option in command.options:
            if option.wants:
                pattern = "|".join(f'"{command.name} {name}"' for name in option.names)
                values.append(f"        {pattern}) {_bash_value(option)}; return ;;")
        listed = " ".join(name for option in command.options for name in option.names)
        chosen = " ".join(choice for place in command.places for choice in place.choices)
        kinds = {place.wants for place in command.places if not place.choices}
        files = '_cello_files "$cur"' if "file" in kinds else '_cello_folders "$cur"' if "folder" in kinds else ":"
        words.append(f'        {command.name}) options="{listed}"; choices="{chosen}"; files() {{ {files}; }} ;;')
    lines = "\n".join
    names = " ".join(command.name for command in commands)
    return f"""\
# Completion of {program} for bash: source <({program} completion bash)
_cello_files() {{ COMPREPLY+=($(compgen -d -S / -- "$1") $(compgen -f -X '!*.@(py|pem|key|json|sock|pid)' -- "$1")); }}
_cello_folders() {{ COMPREPLY+=($(compgen -d -S / -- "$1")); }}
_cello() {{
    local cur="${{COMP_WORDS[COMP_CWORD]}}" prev="${{COMP_WORDS[COMP_CWORD-1]}}" command="" options="" choices="" i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ "${{COMP_WORDS[i]}}" != -* ]]; then command="${{COMP_WORDS[i]}}"; break; fi
    done
    case "$command $prev" in
{lines(values)}
    esac
    files() {{ :; }}
    case "$command" in
        "") options="--help --version"; choices="{names}" ;;
{lines(words)}
        *) return ;;
    esac
    if [[ "$cur" == -* ]]; then COMPREPLY=($(compgen -W "$options" -- "$cur")); return; fi
    COMPREPLY=($(compgen -W "$choices" -- "$cur"))
    files
    if [[ "${{COMPREPLY[*]}}" == */ ]]; then compopt -o nospace 2> /dev/null; fi
}}
shopt -s extglob
complete -F _cello {program}
"""


def _bash_value(option: Word) -> str:
    if option.choices:
        return f'COMPREPLY=($(compgen -W "{" ".join(option.choices)}" -- "$cur"))'
    return {"file": '_cello_files "$cur"', "folder": '_cello_folders "$cur"'}.get(option.wants, "true")


def zsh(program: str, commands: list[Command]) -> str:
    """Return the script for zsh."""
    described = " ".join(shlex.quote(f"{command.name}:{_plain(command.help)}") for command in commands)
    cases = []
    for command in commands:
        specs = [*_zsh_options(command), *_zsh_places(command)]
        cases.append(f"        {command.name}) _arguments -s {' '.join(map(shlex.quote, specs))} ;;")
    lines = "\n".join
    return f"""\
#compdef {program}
# Completion of {program} for zsh: source <({program} completion zsh), or a file _{program} in a folder of $fpath
_cello() {{
    local -a commands
    commands=({described})
    if (( CURRENT == 2 )); then
        _describe command commands
        return
    fi
    shift words
    (( CURRENT-- ))
    case $words[1] in
{lines(cases)}
    esac
}}
if [[ $funcstack[1] == _{program} ]]; then _cello "$@"; else compdef _cello {program}; fi
"""


def _zsh_options(command: Command) -> Iterator[str]:
    for option in command.options:
        for name in option.names:
            yield f"{name}[{_plain(option.help)}]" + (_zsh_action(option) if option.wants else "")


def _zsh_places(command: Command) -> Iterator[str]:
    for number, place in enumerate(command.places, start=1):
        yield f"{number}{_zsh_action(place)}"


def _zsh_action(word: Word) -> str:
    if word.choices:
        return f": :({' '.join(word.choices)})"
    return {"file": ": :_files", "folder": ": :_files -/"}.get(word.wants, ": : ")


def fish(program: str, commands: list[Command]) -> str:
    """Return the script for fish."""
    lines = [
        f"# Completion of {program} for fish: {program} completion fish > ~/.config/fish/completions/{program}.fish",
        f"complete -c {program} -f",
    ]
    for command in commands:
        quoted = shlex.quote(_plain(command.help))
        lines.append(f"complete -c {program} -n __fish_use_subcommand -a {command.name} -d {quoted}")
    for command in commands:
        begin = f"complete -c {program} -n '__fish_seen_subcommand_from {command.name}'"
        for option in command.options:
            names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
            lines.append(f"{begin} {names} -d {shlex.quote(_plain(option.help))}{_fish_value(option)}")
        for place in command.places:
            if place.choices:
                lines.append(f"{begin} -a {shlex.quote(' '.join(place.choices))}")
            elif place.wants == "file":
                lines.append(f"{begin} -F")
            elif place.wants == "folder":
                lines.append(f"{begin} -a '(__fish_complete_directories)'")
    return "\n".join(lines) + "\n"


def _fish_value(option: Word) -> str:
    if option.choices:
        return f" -x -a {shlex.quote(' '.join(option.choices))}"
    return {"file": " -r -F", "folder": " -x -a '(__fish_complete_directories)'", "text": " -x"}.get(option.wants, "")


def _plain(text: str) -> str:
    """Return a help text without what means something to a shell."""
    return text.translate(str.maketrans("[]:'\"`$\\", "()      ")).strip()


SHELLS: Mapping[str, Callable[[str, list[Command]], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
"""What writes the script of each shell."""
