"""What a local model says of itself: its name, its licence, its architecture. Empty where it says nothing."""

import dataclasses
import json
import pathlib

import yaml


@dataclasses.dataclass
class ModelFacts:
    name: str
    licence: str
    architecture: str


def _licence_text(licence, name) -> str:
    """A model card's entries `license` and `license_name`; "other" and "unknown" say nothing by themselves."""
    stated = ", ".join(map(str, licence)) if isinstance(licence, list) else str(licence or "")
    if stated.lower() in ("other", "unknown", ""):
        return str(name or "")
    return stated


def _card_of(folder: pathlib.Path) -> tuple[dict, str]:
    """The entries between the --- lines at the top of README.md, and its first heading."""
    path = folder / "README.md"
    if not path.exists():
        return {}, ""
    text = path.read_text(encoding="utf-8", errors="replace")
    entries: dict = {}
    if text.startswith("---"):
        head, _, text = text[3:].partition("\n---")
        try:
            loaded = yaml.safe_load(head)
        except yaml.YAMLError:
            loaded = None
        entries = loaded if isinstance(loaded, dict) else {}
    heading = next((line.removeprefix("# ").strip() for line in text.splitlines() if line.startswith("# ")), "")
    return entries, heading


def facts_of_folder(folder: pathlib.Path) -> ModelFacts:
    path = folder / "config.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError:
        settings = {}
    card, heading = _card_of(folder)
    licence = _licence_text(card.get("license"), card.get("license_name")) or _licence_text(settings.get("license"), None)
    name = heading or settings.get("_name_or_path") or folder.resolve().name
    architecture = ", ".join(settings.get("architectures") or []) or settings.get("model_type") or ""
    return ModelFacts(name, licence, architecture)


def facts_of_gguf(reader, file: pathlib.Path) -> ModelFacts:
    """reader: an open gguf.GGUFReader."""

    def text(key: str) -> str:
        field = reader.get_field(key)
        return str(field.contents()) if field is not None else ""

    licence = _licence_text(text("general.license"), text("general.license.name"))
    return ModelFacts(text("general.name") or file.name, licence, text("general.architecture"))
