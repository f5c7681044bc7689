"""Writing Les Houches event files, version 3 (arXiv:1405.1067, section 5), such that reading gives the same again."""

from __future__ import annotations

import os
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

import awkward as ak
import numpy as np
from isal import igzip

from columnminer.errors import InputError, OutputExistsError
from columnminer.files import appearing
from columnminer.formats.lhe_header import DeclaredWeight, Generator
from columnminer.formats.lhe_pass import FLOAT_FIELDS, INTEGER_FIELDS, SCALAR_FIELDS
from columnminer.schema import EventBatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import BinaryIO

    from columnminer.formats.lhe_header import LHEInfo

__all__ = ["write_lhe"]

_DEFAULTS = {"lifetime": 0.0, "spin": 9.0}  # 9: spin unknown or unpolarised (hep-ph/0109068, SPINUP)

# %r of a float is the shortest text that reads back as the same double.
_EVENT = " ".join(["%d %d", *["%r"] * 4])
_PARTICLE = " ".join([*["%d"] * len(INTEGER_FIELDS), *["%r"] * len(FLOAT_FIELDS)])


def write_lhe(
    path: str | os.PathLike[str], batches: EventBatch | Iterable[EventBatch], info: LHEInfo, *, replace: bool = False
) -> None:
    """Write events as an LHE file, compressed if its name ends in ``.gz``.

    The file appears under its name when it is complete. Its bytes depend on the arguments only.

    Parameters
    ----------
    path
        File to write.
    batches
        Events with all fields of an LHE particle but, possibly, `lifetime` (then 0) and `spin` (then 9, unknown).
        Their first weight becomes XWGTUP, the others go to <rwgt> under their names.
    info
        Beams, processes, weighting and generators; weights that it declares or describes are declared alike.
    replace
        Whether an existing file may be replaced.

    Raises
    ------
    InputError
        If something that the format needs is missing, or the weights change from batch to batch.
    OutputExistsError
        If the file exists and is not to be replaced.

    Examples
    --------
    >>> generator = cm.DrellYan()
    >>> cm.write_lhe("copy.lhe.gz", generator.generate(100, seed=1), generator.info())
    >>> len(next(iter(cm.open_reader("copy.lhe.gz").batches())))
    100
    """
    target = Path(path)
    if target.exists() and not replace:
        msg = f"{target} exists already; choose another name, or replace=True"
        raise OutputExistsError(msg)
    with appearing(target) as new, new.open("xb") as file:
        if target.suffix == ".gz":
            gzip: Any = igzip.IGzipFile
            with gzip(filename="", mode="wb", fileobj=file, mtime=0) as compressed:
                _write(compressed, batches, info)
        else:
            _write(file, batches, info)
        file.flush()
        os.fsync(file.fileno())


def _write(file: BinaryIO, batches: EventBatch | Iterable[EventBatch], info: LHEInfo) -> None:
    names: tuple[str, ...] | None = None
    for batch in [batches] if isinstance(batches, EventBatch) else batches:
        if names is None:
            file.write(_opening(info, batch.weight_names).encode())
        elif names != batch.weight_names:
            msg = f"all batches of a file need the same weights, not {names} and then {batch.weight_names}"
            raise InputError(msg)
        names = batch.weight_names
        file.write("".join(_events(batch)).encode())
    if names is None:
        file.write(_opening(info, info.weight_names).encode())
    file.write(b"</LesHouchesEvents>\n")


def _opening(info: LHEInfo, weight_names: tuple[str, ...]) -> str:
    """Return everything before the first event."""
    if len(info.beams) != 2 or not info.processes or info.weighting is None:
        msg = "an LHE file needs two beams, at least one process and the weighting (IDWTUP) in its LHEInfo"
        raise InputError(msg)
    a, b = info.beams
    pairs = (a.pdgid, b.pdgid, a.energy, b.energy, a.pdf_group, b.pdf_group, a.pdf_set, b.pdf_set)
    init = [" ".join(map(repr, (*pairs, info.weighting, len(info.processes))))]
    init += [f"{p.cross_section!r} {p.cross_section_error!r} {p.max_weight!r} {p.id}" for p in info.processes]
    init += [_generator(generator) for generator in info.generators]
    lines = ['<LesHouchesEvents version="3.0">', "<header>", *_declarations(info, weight_names), "</header>"]
    return "\n".join([*lines, "<init>", *init, "</init>", ""])


def _generator(generator: Generator) -> str:
    return (
        f"<generator name={quoteattr(generator.name)} version={quoteattr(generator.version)}>"
        f"{escape(generator.text)}</generator>"
    )


def _declarations(info: LHEInfo, weight_names: tuple[str, ...]) -> Iterator[str]:
    """Yield the lines of <initrwgt>: what was declared, and weights of the events that were not."""
    declared = {weight.id for weight in info.declared}
    undeclared = [DeclaredWeight(name, text=info.weight_descriptions.get(name, "")) for name in weight_names[1:]]
    weights = [*info.declared, *(weight for weight in undeclared if weight.id not in declared)]
    if not weights:
        return
    yield "<initrwgt>"
    for group, members in groupby(weights, key=lambda weight: dict(weight.group)):
        if group:
            yield f"<weightgroup{_attributes(group)}>"
        for weight in members:
            yield f"<weight{_attributes({'id': weight.id, **weight.attributes})}>{escape(weight.text)}</weight>"
        if group:
            yield "</weightgroup>"
    yield "</initrwgt>"


def _attributes(attributes: Mapping[str, str]) -> str:
    return "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())


def _events(batch: EventBatch) -> Iterator[str]:
    """Yield the events of a batch, each as one text."""
    events, particles = batch.events, batch.events.particles
    fields = (*INTEGER_FIELDS, *FLOAT_FIELDS)
    missing = [name for name in fields if name not in (*particles.fields, *_DEFAULTS)]
    missing += [name for name in (*SCALAR_FIELDS, "process_id") if name not in events.fields]
    if missing:
        msg = f"{batch.source or 'event batch'}: an LHE file needs the fields {', '.join(missing)} too"
        raise InputError(msg)
    counts = ak.to_numpy(ak.num(particles)).tolist()
    flat = ak.flatten(particles)
    columns = [
        ak.to_numpy(flat[name]).tolist() if name in flat.fields else [_DEFAULTS[name]] * len(flat) for name in fields
    ]
    lines = [_PARTICLE % row for row in zip(*columns, strict=True)]
    scalars = [ak.to_numpy(events[name]).astype(np.float64).tolist() for name in SCALAR_FIELDS]
    weights = batch.weights.T.tolist()
    ids = [quoteattr(name).replace("%", "%%") for name in batch.weight_names[1:]]
    rwgt = "".join(["<rwgt>\n", *(f"<wgt id={name}>%r</wgt>\n" for name in ids), "</rwgt>\n"]) if ids else ""
    heads = zip(counts, ak.to_numpy(events.process_id).tolist(), weights[0], *scalars, strict=True)
    tails = zip(*weights[1:], strict=True) if ids else ((),) * len(counts)
    start = 0
    for head, tail in zip(heads, tails, strict=True):
        stop = start + head[0]
        yield "\n".join(["<event>", _EVENT % head, *lines[start:stop], rwgt % tail + "</event>\n"])
        start = stop
