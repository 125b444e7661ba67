"""The bundle: one file with everything that a prediction needs.

What belongs here: the file format, its metadata, and refusing files that are not bundles. What does not: where
bundles are kept, and which one is released.

A bundle is a zip of exactly ``model.txt`` (LightGBM's text), ``encoder.json`` and ``metadata.json``, in that order,
stored without compression and with fixed times, so that equal content has equal bytes on every machine. Reading one
runs no code that it brings.

Format version 2 has trees for each situation, earlier films of a series, weights by recency, and the profile of the
newest films; version 1 has none of these and is read and written as it was. A new version gets a number of its own, and
keeps the old ones readable.
"""

import io
import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from movie_platform.rating_model.config import TrainingConfig
from movie_platform.rating_model.documents import what_is_wrong
from movie_platform.rating_model.drift import Profile
from movie_platform.rating_model.encoder import Encoder
from movie_platform.rating_model.intervals import Intervals
from movie_platform.rating_model.model import RatingModel, TrainedOn
from movie_platform.rating_model.probes import PROBE_FILMS, Probe, probe_table

__all__ = ["FORMAT_VERSION", "MAX_BYTES", "Bundle", "BundleError", "BundleMetadata"]

FORMAT_VERSION: Final = 2

# What the newer fields are in a bundle that does not have them, and that it therefore is written without.
_CONFIG_OF_VERSION_1: Final[dict[str, Any]] = {
    "averaged_models": 1,
    "max_series_films": 0,
    "recency_half_life": None,
}
_NEW_IN_VERSION_2: Final = ("first_released_tree", "profile")
_NOT_IN_VERSION_1: Final[dict[str, Any]] = {
    **dict.fromkeys(_NEW_IN_VERSION_2, True),
    "config": set(_CONFIG_OF_VERSION_1),
}

# Far above what training makes by default (5 MiB in all), and an encoder at the limits of the config; far below what
# would hurt to read.
_MAX_BYTES: Final = {"model.txt": 32 * 2**20, "encoder.json": 8 * 2**20, "metadata.json": 2**18}
_MEMBERS: Final = tuple(_MAX_BYTES)
MAX_BYTES: Final = sum(_MAX_BYTES.values()) + 4096
"""No bundle has more bytes."""
_END: Final = struct.Struct("<4s4H2LH")
"""A zip file's last record: signature, 4 counts (the last is of members), size and start of the directory, comment."""

_REMEDY: Final = "restore the file from where it was released, or make it again by materializing trained_bundle"


class BundleError(ValueError):
    """The data is not a bundle that can be used. The message names the member and the remedy."""

    def __init__(self, member: str, problem: str, *, remedy: str = _REMEDY) -> None:
        super().__init__(f"{member}: {problem}; {remedy}")
        self.member = member


class BundleMetadata(BaseModel):
    """What a bundle says about itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1, 2]
    partition: date
    code_version: str = Field(min_length=1, description="The version of the sources that trained it.")
    config: TrainingConfig
    trained_on: TrainedOn
    days_used: tuple[date, ...] = Field(description="The daily tables it was trained on, oldest first.")
    days_missing: tuple[date, ...] = Field(description="The days of the look-back that had no table.")
    features: tuple[str, ...]
    intervals: Intervals
    probes: tuple[Probe, ...] = Field(min_length=1)
    first_released_tree: int = Field(default=0, ge=0, description="See RatingModel.")
    profile: Profile | None = None

    @property
    def synthetic(self) -> bool:
        """Whether it was trained on films that the built-in catalogue invented."""
        return self.trained_on.synthetic


@dataclass(frozen=True)
class Bundle:
    """A model and what is known about it."""

    model: RatingModel
    metadata: BundleMetadata

    @classmethod
    def make(
        cls,
        model: RatingModel,
        *,
        partition: date,
        code_version: str,
        days_used: Sequence[date],
        days_missing: Sequence[date] = (),
    ) -> Self:
        """Return the bundle of a newly trained model, with its predictions for the probes."""
        predictions = model.predict(probe_table(PROBE_FILMS))
        probes = tuple(
            Probe(film=film, situation=row.situation, prediction=row.prediction, low=row.low, high=row.high)
            for film, row in zip(PROBE_FILMS, predictions.itertuples(), strict=True)
        )
        metadata = BundleMetadata(
            format_version=FORMAT_VERSION,
            partition=partition,
            code_version=code_version,
            config=model.config,
            trained_on=model.trained_on,
            days_used=tuple(sorted(days_used)),
            days_missing=tuple(sorted(days_missing)),
            features=model.encoder.feature_names,
            intervals=model.intervals,
            probes=probes,
            first_released_tree=model.first_released_tree,
            profile=model.profile,
        )
        return cls(model=model, metadata=metadata)

    def check_probes(self) -> None:
        """Raise BundleError naming the film unless the model predicts for the probes exactly what it once did."""
        probes = self.metadata.probes
        try:
            predictions = self.model.predict(
                probe_table([probe.film for probe in probes]), situation=[probe.situation for probe in probes]
            )
        except ValueError as error:
            raise BundleError("metadata.json", f"probes: {error}") from error
        for probe, row in zip(probes, predictions.itertuples(), strict=True):
            expected, got = (probe.prediction, probe.low, probe.high), (row.prediction, row.low, row.high)
            if got != expected:
                raise BundleError(
                    "metadata.json",
                    f"probe {probe.film.title!r} should give {expected} and gives {got}",
                    remedy="install the versions of the lock file, or make the bundle again",
                )

    def to_bytes(self) -> bytes:
        """Return the file; equal bundles give equal bytes."""
        members = (
            self.model.model_text,
            self.model.encoder.to_json(),
            self.metadata.model_dump_json(indent=2, exclude=self._left_out()) + "\n",
        )
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, content in zip(_MEMBERS, members, strict=True):
                member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
                # Otherwise the operating system and its permissions would show.
                member.create_system = 3
                member.external_attr = 0o644 << 16
                archive.writestr(member, content)
        return file.getvalue()

    def _left_out(self) -> dict[str, Any]:
        return _NOT_IN_VERSION_1 if self.metadata.format_version == 1 else {}

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a file that ``to_bytes`` wrote. Raises BundleError for anything else."""
        model_text, encoder_json, metadata_json = _members(data)
        metadata = _metadata(metadata_json)
        try:
            encoder = Encoder.from_json(encoder_json)
        except ValueError as error:
            raise BundleError("encoder.json", str(error)) from error
        if (encoder.series is None) != (metadata.format_version == 1):
            raise BundleError("encoder.json", "series: they belong to format 2 alone, which always has them")
        if encoder.feature_names != metadata.features:
            raise BundleError("encoder.json", "its features are not those of metadata.json")
        try:
            model = RatingModel(
                model_text=model_text.decode("ascii"),
                encoder=encoder,
                intervals=metadata.intervals,
                config=metadata.config,
                trained_on=metadata.trained_on,
                first_released_tree=metadata.first_released_tree,
                profile=metadata.profile,
            )
        except ValueError as error:
            raise BundleError("model.txt", str(error)) from error
        return cls(model=model, metadata=metadata)


def _members(data: bytes) -> list[bytes]:
    # Zipfile would read a directory of a million members, wherever it finds one.
    signature, _, _, _, members, size, start, comment = _END.unpack(data[-_END.size :].rjust(_END.size, b"\0"))
    if signature != b"PK\5\6" or comment or start + size + _END.size != len(data):
        raise BundleError("bundle", "is not a whole zip file and nothing else")
    if members != len(_MEMBERS):
        raise BundleError("bundle", f"its {members} members are not {', '.join(_MEMBERS)}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            _check_members(infos)
            return [archive.read(info) for info in infos]
    except BundleError:
        raise
    # What zipfile raises for damaged files: its own error, or whatever the damaged number led to.
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        OSError,
        OverflowError,
        ValueError,
        struct.error,
    ) as error:
        raise BundleError("bundle", f"is not a whole zip file ({type(error).__name__})") from error


def _check_members(infos: list[zipfile.ZipInfo]) -> None:
    if tuple(info.filename for info in infos) != _MEMBERS:
        raise BundleError("bundle", f"its {len(infos)} members are not {', '.join(_MEMBERS)}, in this order")
    for info in infos:
        # A stored member cannot grow when it is read.
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise BundleError(info.filename, "is compressed, and members are stored as they are")
        if info.file_size > _MAX_BYTES[info.filename]:
            raise BundleError(info.filename, f"has {info.file_size} bytes, more than {_MAX_BYTES[info.filename]}")


def _metadata(data: bytes) -> BundleMetadata:
    try:
        metadata = BundleMetadata.model_validate_json(data, strict=True)
    except ValidationError as error:
        details = what_is_wrong(error)
    else:
        _check_version(metadata)
        if metadata.format_version == 1:
            config = metadata.config.model_copy(update=_CONFIG_OF_VERSION_1)
            return metadata.model_copy(update={"config": config})
        return metadata
    if details.startswith("format_version:"):  # the first field
        raise BundleError(
            "metadata.json",
            f"format_version: this code reads versions up to {FORMAT_VERSION}",
            remedy="install the version of movie_platform that made the bundle, or a newer one",
        )
    raise BundleError("metadata.json", details)


def _check_version(metadata: BundleMetadata) -> None:
    """A field of another format would be dropped, or made up, when the bundle is written again."""
    given = (
        *((name, name in metadata.model_fields_set) for name in _NEW_IN_VERSION_2),
        *((f"config.{name}", name in metadata.config.model_fields_set) for name in _CONFIG_OF_VERSION_1),
    )
    for name, is_given in given:
        if is_given and metadata.format_version == 1:
            raise BundleError("metadata.json", f"{name}: a bundle of format 1 does not have it")
        if not is_given and metadata.format_version > 1:
            raise BundleError("metadata.json", f"{name}: missing, and a bundle of format 2 has it")
