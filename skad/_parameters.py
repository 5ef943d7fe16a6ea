"""Parameters, each declared once: name, type, default and constraint in one line of a class body.

``lr: Positive = 1e-3`` is a keyword of the constructor, an entry of scikit-learn's constraints and
a default in the documentation. A subclass that only changes a default writes ``lr = 5e-4``.
"""

import inspect
import re
from dataclasses import MISSING, dataclass, fields
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, dataclass_transform, get_args, get_origin

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions, make_constraint


class Number(Interval):
    """Interval of numbers; True and False do not count as numbers."""

    def is_satisfied_by(self, val):
        """Tell whether a value lies in the interval."""
        return not isinstance(val, (bool, np.bool_)) and super().is_satisfied_by(val)


Count = Annotated[int, Number(Integral, 1, None, closed="left")]
CountOrZero = Annotated[int, Number(Integral, 0, None, closed="left")]
Positive = Annotated[float, Number(Real, 0, None, closed="neither")]
NonNegative = Annotated[float, Number(Real, 0, None, closed="left")]
Fraction = Annotated[float, Number(Real, 0, 1, closed="neither")]
NJobs = Annotated[int | None, Number(Integral, None, None, closed="neither"), None]
Contamination = Annotated[float, Number(Real, 0, 0.5, closed="right")]
RandomState = Annotated[
    int | np.random.RandomState | None,
    Number(Integral, 0, 2**32 - 1, closed="both"),
    np.random.RandomState,
    None,
]


@dataclass_transform(kw_only_default=True, eq_default=False)
class DeclaredParameters:
    """Turns the annotated attributes of its subclasses into their constructors.

    The docstring of a subclass documents its own parameters and fitted attributes; those of its
    bases take the place of ``{parameters}`` and ``{attributes}``, and each default is filled in.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        declared = [vars(base).get("__dataclass_fields__", {}) for base in cls.__mro__]
        new_defaults = {n: f.type for part in declared for n, f in part.items() if n in vars(cls)}
        cls.__annotations__ = {**new_defaults, **inspect.get_annotations(cls)}
        dataclass(kw_only=True, eq=False, repr=False)(cls)
        parameters = {field.name: field for field in fields(cls)}
        cls._parameter_constraints = {n: _constraints(f.type) for n, f in parameters.items()}
        documented = _document(cls, {n: f.default for n, f in parameters.items()})
        order = sorted(parameters, key=lambda n: documented.index(n) if n in documented else -1)
        cls.__init__.__signature__ = inspect.Signature(
            [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
            + [_signature_entry(parameters[name]) for name in order]
        )


def _constraints(annotation):
    """Give scikit-learn's constraints that a declared type stands for."""
    if get_origin(annotation) is Annotated:
        return list(annotation.__metadata__)
    if get_origin(annotation) is Literal:
        return [StrOptions(set(get_args(annotation)))]
    if get_origin(annotation) in (Union, UnionType):
        return [c for part in get_args(annotation) for c in _constraints(part)]
    return [{bool: "boolean", NoneType: None}.get(annotation, annotation)]


def check_value(name, value, annotation):
    """Raise ValueError, naming it, when an argument of a method is not of a declared type."""
    for constraint in map(make_constraint, _constraints(annotation)):
        if constraint.is_satisfied_by(value):
            return
    allowed = " or ".join(str(make_constraint(c)) for c in _constraints(annotation))
    raise ValueError(f"{name} must be {allowed}, got {value!r}.")


def _signature_entry(field):
    kind = inspect.Parameter.KEYWORD_ONLY
    if not field.kw_only:
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    return inspect.Parameter(field.name, kind, default=default)


def _document(cls, defaults):
    """Complete the docstring of a class; return the documented parameters in their order."""
    cls.__doc__ = inspect.cleandoc(cls.__doc__ or "")
    bases = [base for base in cls.__mro__[1:] if issubclass(base, DeclaredParameters)]
    for section in ("Parameters", "Attributes"):
        shared = {}
        for base in bases:
            shared = {**shared, **{n: t for n, t in _entries(base, section) if n not in shared}}
        for name, _ in _entries(cls, section):
            shared.pop(name, None)
        cls.__doc__ = cls.__doc__.replace(f"{{{section.lower()}}}", "\n".join(shared.values()))
    documented = []
    for names, text in _entries(cls, "Parameters"):
        documented += names.split(", ")
        default = defaults.get(names, MISSING)
        if default is not MISSING:
            shown = default.__name__ if inspect.isclass(default) else repr(default)
            first, *rest = text.splitlines()
            first = re.sub(", default=.*", "", first) + f", default={shown}".replace("'", '"')
            cls.__doc__ = cls.__doc__.replace(text, "\n".join([first, *rest]))
    return documented


def _entries(cls, section):
    """List (name, text) of each entry of a numpydoc section of a class's docstring."""
    pattern = rf"^{section}\n-+\n(.*?)(?=\n\n\S[^\n]*\n---|\Z)"
    body = re.search(pattern, cls.__doc__ or "", flags=re.DOTALL | re.MULTILINE)
    texts = re.split(r"\n(?=\S)", body[1]) if body else []
    return [(text.split(" : ")[0], text) for text in texts if not text.startswith("{")]
