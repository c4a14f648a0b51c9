"""Applications: what people really start, and the settings that each chooses where its user says nothing.

An application is a row of `data/apps.csv` (per runtime that it brings), its defaults are rows of
`data/app_defaults.csv`. A default that is computed names its rule, which is in `app_context`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from deployfit.errors import InputError, quoted, unknown
from deployfit.parameters import param
from deployfit.tables import Row, Table
from deployfit.values import NamedTuple

RULE = "rule:"
SAME_AS = "="


class App(NamedTuple):
    """A row of `data/apps.csv`: `options` are the parameters that it has; `command` starts it.

    `context_of_slot`: the context is that of each slot, not of all together.
    """

    name: str
    runtime: str
    title: str
    version: str
    options: tuple[str, ...]
    command: str
    source: str
    context_of_slot: bool


class Default(NamedTuple):
    """A row of `data/app_defaults.csv`: what the application sets, `unless` another parameter is given."""

    app: str
    runtime: str
    parameter: str
    value: str
    unless: str
    source: str


def _app(row: Row) -> App:
    return App(
        name=row.text("app"),
        runtime=row.text("runtime"),
        title=row.text("title"),
        version=row.text("version"),
        options=tuple(row.text("options").split()),
        command=row.text("command"),
        source=row.text("source"),
        context_of_slot=row.text("context", blank=True) == "slot",
    )


def _default(row: Row) -> Default:
    return Default(
        app=row.text("app"),
        runtime=row.text("runtime"),
        parameter=row.text("parameter"),
        value=row.text("value"),
        unless=row.text("unless", blank=True),
        source=row.text("source", blank=True),
    )


APPS = Table("apps.csv", ["app", "runtime", "title", "version", "options", "context", "command", "source"], _app)
DEFAULTS = Table("app_defaults.csv", ["app", "runtime", "parameter", "value", "unless", "source"], _default)


class Flag(NamedTuple):
    """A row of `data/app_flags.csv`: how a parameter is said to the application, where it has this value or any.

    `how`: as an "option" behind the command, in the "environment" of its server, as a "setting" that no command sets,
    or by another "program". It is no use without the parameter that it `needs`.
    """

    app: str
    runtime: str
    parameter: str
    value: str
    how: str
    says: str
    needs: str


def _flag(row: Row) -> Flag:
    return Flag(
        app=row.text("app"),
        runtime=row.text("runtime"),
        parameter=row.text("parameter"),
        value=row.text("value", blank=True),
        how=row.text("how"),
        says=row.text("says", blank=True),
        needs=row.text("needs", blank=True),
    )


FLAGS = Table("app_flags.csv", ["app", "runtime", "parameter", "value", "how", "says", "needs", "source"], _flag)


def find_app(text: str, apps: Sequence[App]) -> str:
    """Return the name of the application that a text means, whatever its case, blanks and dashes.

    >>> from deployfit.catalogue import rows
    >>> find_app("LM Studio", rows(APPS)), find_app("mlx-lm.server", rows(APPS))
    ('lmstudio', 'mlx_lm.server')
    """
    wanted = _folded(text)
    for app in apps:
        if wanted in (_folded(app.name), _folded(app.title)):
            return app.name
    on_engine = [app.name for app in apps if wanted == _folded(app.runtime)]
    if on_engine:
        raise InputError(f"{param('app')} {quoted(text)} is an engine; what starts it: {', '.join(on_engine)}")
    raise unknown("application", text, dict.fromkeys(app.name for app in apps))


def _folded(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalnum())


def app_of(name: str | None, runtime: str, apps: Sequence[App], typed: Iterable[str] = ()) -> App:
    """Return the application of a name that brings a runtime; without a name the usual one.

    Where the usual one has not every option that was typed, it is the first that has.

    >>> from deployfit.catalogue import rows
    >>> app_of(None, "mlx", rows(APPS)).name, app_of(None, "mlx", rows(APPS), ["parallel", "prompt"]).name
    ('mlx_lm.generate', 'mlx_lm.server')
    """
    if name is None:
        bringing = sorted((app for app in apps if app.runtime == runtime), key=lambda app: app.name not in USUAL)
        return next((app for app in bringing if {*app.options} >= {*typed}), bringing[0])
    found = [app for app in apps if app.name == name]
    for app in found:
        if app.runtime == runtime:
            return app
    raise InputError(f"{param('app')}: {found[0].title} does not run on {runtime}; choose {_others(runtime, apps)}")


USUAL = ("llama-server", "mlx_lm.generate")  # what is meant where no application is named


def _others(runtime: str, apps: Sequence[App]) -> str:
    return " or ".join(app.name for app in apps if app.runtime == runtime)


def defaults_of(app: App, rows: Sequence[Default], typed: Mapping[str, str]) -> dict[str, str]:
    """Return what the application sets beside what was typed, by parameter; rules are among the values.

    A value `=NAME` is that of another parameter, typed or not.

    >>> from deployfit.catalogue import rows
    >>> app = app_of("llama-server", "llama.cpp", rows(APPS))
    >>> [defaults_of(app, rows(DEFAULTS), typed).get("kv_unified") for typed in ({}, {"parallel": "4"})]
    ['true', None]
    """
    own = [row for row in rows if (row.app, row.runtime) == (app.name, app.runtime)]
    found = {row.parameter: row.value for row in own if row.parameter not in typed and row.unless not in typed}
    every = {**found, **typed}
    return {name: every[value[1:]] if value.startswith(SAME_AS) else value for name, value in found.items()}


def check_typed(app: App, typed: Sequence[str]) -> None:
    """Raise InputError for an option that the application does not have."""
    for name in typed:
        if name not in app.options:
            raise InputError(
                f"{param(name)}: {app.title} has no such option; leave it out, or choose another {param('app')}"
            )
