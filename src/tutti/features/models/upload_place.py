"""The folder of an upload while it runs: beside the models, so that a rename moves the finished one into its
place."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from tutti.base.model import Model, ModelFile
from tutti.base.settings import Settings
from tutti.catalog.catalog import models_folder
from tutti.catalog.manifest import Manifest, PulledFile, read_manifest, write_manifest
from tutti.jobs.errors import Failed


@dataclass(frozen=True)
class Place:
    """The paths of an upload. Steps lead from `download` over `files` to `model`; each is there only when it
    is whole."""

    root: Path

    @property
    def download(self) -> Path:
        return self.root / "download"

    @property
    def files(self) -> Path:
        return self.root / "files"

    @property
    def model(self) -> Path:
        return self.root / "model"

    @property
    def work(self) -> Path:
        """The folder of a step that runs. The next try removes what one that was cut short has left."""
        return self.root / "work"

    @property
    def log(self) -> Path:
        return self.root / "log"

    def fresh_work(self) -> Path:
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        return self.work


def place_of(settings: Settings, job_id: str) -> Place:
    return Place(models_folder(settings) / ".uploads" / job_id)


def discard(place: Place) -> None:
    shutil.rmtree(place.root, ignore_errors=True)


def sizes(folder: Path) -> tuple[ModelFile, ...]:
    """Return the files of a finished model with their sizes. They have no sources: they are nowhere else."""
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return tuple(ModelFile(name, size_bytes=(folder / name).stat().st_size) for name in names)


def install(place: Place, model: Model, folder: Path, job_id: str) -> None:
    """Move `place.model` to `folder`, in one step. Raise Failed if another upload has the name."""
    if belongs_to(folder, job_id):
        return
    files = tuple(PulledFile(file.name, file.size_bytes, "", _mark(job_id)) for file in model.files)
    write_manifest(place.model, Manifest(model.name, None, files))
    try:
        place.model.rename(folder)
    except OSError as error:
        if folder.exists():
            raise Failed(f"There is already a model {model.name}: upload it under another name.") from error
        raise


def belongs_to(folder: Path, job_id: str) -> bool:
    """Return True if the model in the folder was installed by this job."""
    manifest = read_manifest(folder)
    return manifest is not None and any(file.source == _mark(job_id) for file in manifest.files)


def _mark(job_id: str) -> str:
    return f"upload {job_id}"
