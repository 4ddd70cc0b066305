"""A campaign of one's own to begin with, commented: `sodiate new`."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from ...structures.errors import StructureError
from ...structures.host_names import parse_model
from ...structures.slabs import read_slab
from .campaign_file import name_of
from .hosts import bundled_hosts
from .load import bundled_campaigns
from .yaml import CONFIGS, SCHEMA, InputError, load_yaml, nearest

_TEMPLATE = CONFIGS / "new.yaml"
"""With places in braces for what the user names; braces of its own are doubled."""


def new_campaign(name: str, base: str | None, host: str | None, folder: Path) -> Path:
    """Write a commented campaign, and beside it the schema by which an editor knows its keys.

    Parameters
    ----------
    name
        Of the campaign and, with ``.yaml``, of its file.
    base
        A bundled campaign that it begins as; by default a short one of its own.
    host
        A bundled host, with vacancies (``graphene+VC``), or a structure file; by default WSe2.
    folder
        Where it is written.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If the name is none, the file is there, or base or host is unknown.
    """
    try:
        name_of(name)
    except ValueError as error:
        raise InputError(f"new: {error}") from None
    path = folder / f"{name}.yaml"
    if path.exists():
        raise InputError(f"{path} is there already; give another name, or move it away.")
    if base is not None and host is not None:
        raise InputError(
            "new: --from takes the hosts of a bundled campaign, and --host another one; give one of them."
        )
    text = _own(name, host or "WSe2", folder) if base is None else _copied(name, base, folder)
    path.write_text(text, encoding="utf-8")
    schema = folder / SCHEMA.name
    if not schema.exists():
        shutil.copy(SCHEMA, schema)
    return path


def _own(name: str, host: str, folder: Path) -> str:
    file = Path(host)
    if file.is_dir():
        raise InputError(f"new: --host {host} is a directory; name the structure file in it.")
    if file.is_file():
        title, model, more = _of_file(file, folder)
    else:
        layer, hosts = parse_model(host)[0], bundled_hosts()
        if layer not in hosts:
            raise InputError(
                f"new: --host {host}: no such file and no bundled host{nearest(layer, hosts)}; bundled hosts: "
                f"{', '.join(hosts)}."
            )
        title, model, more = host, f"{{host: {host}}}", ""
    template = _TEMPLATE.read_text(encoding="utf-8")
    return template.format(name=name, file=f"{name}.yaml", title=f"Na on {title}", model=model, more=more)


def _of_file(file: Path, folder: Path) -> tuple[str, str, str]:
    """Return the name of a host from a file, its line under ``models``, and one for it with a vacancy."""
    try:
        symbols = read_slab(file).symbols
    except StructureError as error:
        raise InputError(f"new: --host: {error}") from None
    title = re.sub(r"[^\w+@.\-]", "-", file.stem)
    place = file.name if file.resolve().parent == folder.resolve() else str(file.resolve())
    atom = f"{symbols[-1]}@{len(symbols) - 1}"
    model = f'{{name: {title}, file: "{place}"}}'
    return title, model, f'  # - {{name: {title}-vacancy, file: "{place}", remove: [{atom}]}}\n'


def _copied(name: str, base: str, folder: Path) -> str:
    bundled = bundled_campaigns()
    if base not in bundled:
        raise InputError(
            f"new: --from {base}: no bundled campaign{nearest(base, bundled)}; bundled campaigns: "
            f"{', '.join(bundled)}."
        )
    source = bundled[base]
    for file in _files(load_yaml(source, "campaign")):
        if not (folder / file).exists():
            shutil.copy(source.parent / file, folder / file)
    text = source.read_text(encoding="utf-8").replace(f"$schema=../{SCHEMA.name}", f"$schema={SCHEMA.name}", 1)
    return re.sub(r"(?m)^campaign: .*$", f"campaign: {name}", text, count=1)


def _files(value: object) -> list[str]:
    """Return the structure files that a campaign names."""
    if isinstance(value, dict):
        own = [str(file) for key, file in value.items() if key in ("file", "crystal", "molecule")]
        return own + [file for part in value.values() for file in _files(part)]
    return [file for part in value for file in _files(part)] if isinstance(value, list) else []
