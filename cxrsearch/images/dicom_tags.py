"""The tags of a DICOM header that a catalogue uses, as plain values that need no pydicom."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class DicomTags:
    """What a DICOM header says about the image. A value is None if the tag is missing or unusable.

    Attributes:
        patient_id: PatientID, without spaces around it.
        view: `PA` or `AP`; None for any other view.
        sex: `M` or `F`.
        age: completed years.
    """

    patient_id: str | None
    view: Literal["PA", "AP"] | None
    sex: Literal["M", "F"] | None
    age: int | None
