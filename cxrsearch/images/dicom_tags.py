"""What a DICOM header says of an image, without pydicom."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class DicomTags:
    """What a DICOM header says of the image; None where it says nothing usable.

    Attributes:
        patient_id: PatientID as it is written.
        view: `PA` or `AP`.
        sex: `M` or `F`.
        age: years.
    """

    patient_id: str | None
    view: Literal["PA", "AP"] | None
    sex: Literal["M", "F"] | None
    age: int | None
