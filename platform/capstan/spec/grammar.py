"""What every part of the file has in common: frozen, no unknown keys, camelCase outside and snake_case inside."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic._internal._model_construction import ModelMetaclass
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from capstan.errors import InvalidSpecError

_COMPARISON = r"result *(<=|>=|==|!=|<|>) *-?[0-9]{1,15}(\.[0-9]{1,15})?(e-?[0-9]{1,2})?"
CONDITION_PATTERN = rf"^{_COMPARISON}(( +and +{_COMPARISON}){{0,3}}|( +or +{_COMPARISON}){{0,3}})$"
"""Comparisons of `result` with numbers, all joined by `and` or all by `or`."""
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
SYSTEM_NAME_PATTERN = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
SYSTEM_NAME_RULE = (
    "lower-case letters, digits and dashes, beginning with a letter (Services are named after the system) "
    "and ending with a letter or digit"
)
LONGEST_SYSTEM_NAME = 40
OWN_METRIC_PATTERN = r"^[A-Za-z][A-Za-z0-9]*$"
DELIMITER_PATTERN = r"^[!#$%&*+,./:;<=>?@^_|~ \t-]$"
"""One character that may stand between two values of a line."""
FACTORY_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$"


class _RaisesInvalidSpec(ModelMetaclass):
    """Construction in Python answers with InvalidSpecError.

    Not done in `__init__`: pydantic would then call it for every part of a file and stop at the first mistake.
    """

    if not TYPE_CHECKING:  # so that mypy goes on seeing the fields as the constructor's arguments

        def __call__(cls, *arguments, **fields):  # noqa: N805
            try:
                return super().__call__(*arguments, **fields)
            except ValidationError as error:
                from capstan.spec.mistakes import mistakes_of

                raise InvalidSpecError(mistakes_of(error, cls)) from error


class SpecModel(BaseModel, metaclass=_RaisesInvalidSpec):
    """Base of all parts of the file."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        allow_inf_nan=False,
        # The file is the documentation: a type's own docstring is not a field's meaning.
        use_attribute_docstrings=False,
    )


class OneOf(SpecModel):
    """A union: exactly one of `members` is set, as one key of the map."""

    members: ClassVar[tuple[str, ...]]
    """Attribute names of the alternatives."""

    @model_validator(mode="after")
    def _exactly_one(self) -> OneOf:
        present = [member for member in self.members if getattr(self, member) is not None]
        if len(present) != 1:
            names = ", ".join(to_camel(member) for member in self.members)
            if present:
                found = f"has {' and '.join(to_camel(member) for member in present)}"
                raise PydanticCustomError(
                    "one_of", "{found}; keep exactly one of {names}", {"found": found, "names": names}
                )
            raise PydanticCustomError(
                "one_of",
                "has none of {names}; write exactly one, such as {first}: {}",
                {"names": names, "first": to_camel(self.members[0])},
            )
        return self

    @classmethod
    def alternatives(cls) -> dict[str, type[SpecModel]]:
        """Each alternative's key, as the file writes it, with its grammar."""
        found = {}
        for member in cls.members:
            (grammar,) = (
                one for one in get_args(cls.model_fields[member].annotation) if one is not type(None)
            )
            found[to_camel(member)] = grammar
        return found

    @property
    def kind(self) -> str:
        """Attribute name of the alternative that is set, such as `shadow`."""
        return next(member for member in self.members if getattr(self, member) is not None)

    @property
    def key(self) -> str:
        """The same as the file writes it, such as `jsonLines`."""
        return to_camel(self.kind)

    @property
    def chosen(self) -> Any:
        """The alternative that is set."""
        return getattr(self, self.kind)


def _factory(value: str) -> str:
    if not re.fullmatch(FACTORY_PATTERN, value):
        raise PydanticCustomError("factory", "is not a factory; write module:name, such as mymodels:make")
    return value


Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=63)]
"""Lower-case letters, digits and dashes, as Kubernetes names are; at most 63."""
SystemNameText = Annotated[
    str, StringConstraints(pattern=SYSTEM_NAME_PATTERN, max_length=LONGEST_SYSTEM_NAME)
]
"""A Name that begins with a letter and has at most 40 characters, so that every name made from it is one too."""
ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=10_000)]
MetricName = Annotated[str, StringConstraints(min_length=1, max_length=63)]
"""Name of a metric; checked against the task in `capstan.spec.rules`."""
OwnMetricName = Annotated[str, StringConstraints(pattern=OWN_METRIC_PATTERN, max_length=63)]
"""Name that a file gives to a metric of its own: letters and digits, as those of tasks are."""
if TYPE_CHECKING:
    OwnMetric = str
else:
    OwnMetric = MetricName | None
    """A metric that the task knows by itself: None until the system is made, which fills it in."""
OWN_METRIC: Any = None
"""The default of such a metric."""
OWN_NUMBER: Any = None
"""The default of a number that the metric knows by itself; the system fills it in as well."""
Factory = Annotated[str, AfterValidator(_factory)]
"""`module:name` of the person's own code."""
