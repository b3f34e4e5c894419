"""The schema of requests whose marked columns are treated before anything else looks at them."""

from __future__ import annotations

from capstan.errors import InvalidRequestError
from capstan.features.treatments import RowTreatments
from capstan.serving.manifest import Manifest
from capstan.serving.schema import RequestSchema


class TreatedSchema(RequestSchema):
    """Rows that it accepts hold what stands for raw values; its errors quote none."""

    def __init__(self, manifest: Manifest, treatments: RowTreatments) -> None:
        super().__init__(manifest)
        self._treatments = treatments

    def check(self, row: object, where: str = "") -> None:
        """As that of any schema, once marked columns are treated; a treated row stays as it is."""
        if type(row) is dict:
            self._treatments.apply(row, where)
        super().check(row, where)

    def told(self, error: InvalidRequestError) -> InvalidRequestError:
        """The error without values, but for those of columns that are known and not marked."""
        open_columns = self.columns.keys() - self._treatments.columns
        first, *others = [
            one
            if one.field.rpartition(".")[2] in open_columns
            else InvalidRequestError(one.field, None, one.rule)
            for one in error.one_by_one()
        ]
        return InvalidRequestError(first.field, first.value, first.rule, others)


def schema_of(manifest: Manifest, treatments: RowTreatments | None) -> RequestSchema:
    """The schema of a service; `treatments`: None where no column is marked."""
    return RequestSchema(manifest) if treatments is None else TreatedSchema(manifest, treatments)
