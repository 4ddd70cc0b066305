"""The cluster file: a scheduler, resource classes by kind of calculation, and settings of the codes there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf, create_model, model_validator

from ...analysis.records import Frozen
from ..campaign.protocol import Positive
from ..campaign.yaml import CONFIGS, InputError, load_based, nearest, validate
from ..engines import engines_here, make_engine
from ..engines.base import Settings
from ..kinds import KINDS
from .registry import SCHEDULERS
from .scheduler import Scheduler, Share

if TYPE_CHECKING:
    from ..plan.graph import Plan

Count = Annotated[int, Field(strict=True, ge=1)]


def _kind(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of calculation{nearest(kind, KINDS)}; kinds: {', '.join(KINDS)}.")
    return kind


def _kinds(value: Any) -> Any:
    if isinstance(value, str) and value != "rest":
        raise ValueError(f"{value!r} should be a list of kinds, or rest.")
    return value


Kinds = Literal["rest"] | Annotated[tuple[Annotated[str, AfterValidator(_kind)], ...], Field(min_length=1)]


def _in_quotes(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        raise ValueError("write it in quotes, such as '24:00:00': YAML reads it as a number of seconds otherwise.")
    return value


def _time(text: str) -> str:
    if not re.fullmatch(r"(\d+-)?\d{1,3}:\d\d:\d\d", text):
        raise ValueError(f"{text!r} is no time: write hours:minutes:seconds in quotes, such as '24:00:00'.")
    return text


def _option(text: str) -> str:
    if not text.startswith("-") or "\n" in text:
        raise ValueError(
            f"{text!r} is no option of a scheduler: write it as on the command line, such as '--qos=regular'."
        )
    return text


Options = tuple[Annotated[str, AfterValidator(_option)], ...]


def _worker_keys() -> Any:
    """Return a model with the worker keys of all engines that are installed here."""
    models = dict.fromkeys(engine.worker_keys for engine in engines_here())
    return create_model("_AllWorkerKeys", __base__=tuple(model for model in models if model is not Frozen) or Frozen)


_AllWorkerKeys: Any = _worker_keys()


def _scheduler(name: Any) -> Scheduler:
    if name not in list(SCHEDULERS):
        raise ValueError(f"{name!r} should be {' or '.join(map(repr, SCHEDULERS))}{nearest(str(name), SCHEDULERS)}.")
    return SCHEDULERS[name]


class Environment(_AllWorkerKeys):
    """Settings of the codes on a cluster: the worker keys of all engines, and a disk near the cores to compute on."""

    scratch: str | None = None
    """A disk near the cores to compute on, such as $TMPDIR; files are copied back every five minutes."""


class ResourceClass(Frozen):
    """The resources of a job of this class; its ``queue``, ``account`` and ``env`` override those of the file.

    ``kinds: rest`` stands for every kind that no other class lists, also kinds of a later sodiate. ``tasks`` is the
    total over all nodes, by default ``tasks_per_node`` on each; ``gpus`` and ``memory_gb`` are per node. Without
    ``memory_gb`` none is asked for. ``options`` are directives of the scheduler, after those of the file. With
    ``pack`` so many calculations run side by side, and each has an equal `share` of all this.
    """

    kinds: Annotated[Kinds, BeforeValidator(_kinds)]
    """Kinds of calculations that its jobs compute, or rest for all that no other class lists."""
    nodes: Count = 1
    """Nodes of a job."""
    tasks: Count | None = None
    """MPI ranks of a job over all its nodes."""
    tasks_per_node: Count | None = None
    """MPI ranks on each node; one of this and tasks is enough."""
    cpus_per_task: Count = 1
    """Cores of each rank; also OMP_NUM_THREADS."""
    gpus: Count | None = None
    """GPUs on each node."""
    exclusive: bool = Field(default=False, strict=True)
    """Whether a job has its nodes for itself."""
    pack: Count = 1
    """How many calculations run side by side in a job, each with an equal share."""
    wall_time: Annotated[str, BeforeValidator(_in_quotes), AfterValidator(_time)]
    """Hours:minutes:seconds, with days as 1-00:00:00; in quotes."""
    memory_gb: Positive | None = None
    """Memory on each node, GB; left out where a site gives whole nodes."""
    memory_max_gb: Positive | None = None
    """Up to which memory is raised for a calculation that ran out of it, GB."""
    queue: str | None = None
    """Partition or queue, in place of the file's."""
    account: str | None = None
    """Account or budget, in place of the file's."""
    options: Options = Field((), examples=[["--qos=regular"]])
    """Further directives of the scheduler, after those of the file."""
    env: Environment = Field(Environment(), examples=[{"scratch": "$TMPDIR"}])
    """Settings of the codes, in place of the file's."""

    @model_validator(mode="after")
    def _tasks_have_room(self) -> ResourceClass:
        room = self.nodes * (self.tasks_per_node or self.all_tasks)
        if self.all_tasks > room:
            raise ValueError(
                f"tasks: {self.all_tasks} in all, but {self.nodes} nodes with {self.tasks_per_node} tasks_per_node "
                f"hold {room}."
            )
        if self.memory_max_gb is not None and self.memory_gb is None:
            raise ValueError("memory_max_gb: it limits memory_gb, which is not there.")
        return self

    @model_validator(mode="after")
    def _pack_shares_evenly(self) -> ResourceClass:
        cores, gpus = self.all_tasks * self.cpus_per_task, self.nodes * (self.gpus or 0)
        if self.pack > cores:
            whole = " 'exclusive' does not say how many a node has." if self.exclusive else ""
            raise ValueError(
                f"pack: {self.pack} calculations side by side, but {cores} core{'s' * (cores > 1)} in all "
                f"(tasks × cpus_per_task): each needs one.{whole}"
            )
        if self.all_tasks % self.pack:
            raise ValueError(
                f"pack: {self.all_tasks} tasks are shared by {self.pack} calculations; make tasks a multiple of pack."
            )
        if self.pack > 1 and (self.all_tasks % self.nodes or (self.nodes % self.pack and self.pack % self.nodes)):
            raise ValueError(
                f"pack: {self.pack} calculations with {self.all_tasks} tasks cannot share {self.nodes} nodes evenly; "
                "as many on each node, or whole nodes for each."
            )
        if gpus % self.pack:
            raise ValueError(
                f"pack: {gpus} GPU{'s' * (gpus > 1)} in all cannot be shared evenly by {self.pack} calculations; "
                f"'pack: {gpus}' gives one to each."
            )
        return self

    @property
    def even_tasks_per_node(self) -> int | None:
        """The tasks on each node; None where their places are left to the scheduler, which may give one node more."""
        return self.all_tasks // self.nodes if self.pack > 1 else self.tasks_per_node

    @property
    def share(self) -> Share:
        """What each calculation of a job has."""
        per_node = max(self.pack // self.nodes, 1)
        gpus = None if self.gpus is None else self.gpus // per_node
        nodes = max(self.nodes // self.pack, 1)
        return Share(nodes, per_node, self.all_tasks // self.pack, self.cpus_per_task, gpus)

    @property
    def all_tasks(self) -> int:
        """The tasks over all nodes."""
        return self.tasks or self.nodes * (self.tasks_per_node or 1)

    @property
    def wall_time_s(self) -> int:
        """The wall time in seconds."""
        days, _, rest = self.wall_time.rpartition("-")
        hours, minutes, seconds = map(int, rest.split(":"))
        return (int(days or 0) * 24 + hours) * 3600 + minutes * 60 + seconds


class ClusterFile(Frozen):
    """The keys of a cluster file; ``name`` tells clusters apart that share a database, if schedulers do not."""

    name: str | None = None
    """Of the cluster, where schedulers do not say it and several share a database."""
    scheduler: Annotated[InstanceOf[Scheduler], BeforeValidator(_scheduler, json_schema_input_type=str)]
    """The scheduler, by its name."""
    max_jobs: Count
    """Jobs in the queue at once, all classes together."""
    queue: str | None = None
    """Partition or queue; without it the cluster's default."""
    account: str | None = None
    """Account or budget, where the cluster wants one."""
    options: Options = Field((), examples=[["--qos=regular"]])
    """Further directives of the scheduler, as on its command line."""
    modules: tuple[str, ...] = Field((), examples=[["gcc/12"]])
    """Modules that are loaded in a job."""
    setup: tuple[str, ...] = Field((), examples=[["source ~/sodiate/bin/activate"]])
    """Further lines of a job's script."""
    signal_s: Count = 300
    """How long before the wall time a code is ended cleanly, seconds."""
    env: Environment = Field(Environment(), examples=[{"scratch": "$TMPDIR"}])
    """Settings of the codes in all jobs."""
    classes: dict[str, ResourceClass] = Field(
        min_length=1, examples=[{"all": {"kinds": "rest", "tasks": 64, "wall_time": "24:00:00"}}]
    )
    """Resource classes by name; each kind of calculation belongs to one."""

    @model_validator(mode="after")
    def _one_class_a_kind(self) -> ClusterFile:
        if sum(resources.kinds == "rest" for resources in self.classes.values()) > 1:
            raise ValueError("classes: two classes have 'kinds: rest'; one class takes what is left.")
        kinds = [kind for name in self.classes for kind in self.kinds(name)]
        doubles = sorted({kind for kind in kinds if kinds.count(kind) > 1})
        missing = [kind for kind in KINDS if kind not in kinds]
        if doubles:
            raise ValueError(f"classes: {', '.join(doubles)} belongs to two classes; a kind belongs to one.")
        if missing:
            raise ValueError(
                f"classes: no class has the kind {', '.join(missing)}; list it, or give one class 'kinds: rest'."
            )
        for name, resources in self.classes.items():
            if resources.pack > 1 and resources.nodes > 1 and not self.scheduler.starts_on_all_nodes:
                raise ValueError(
                    f"classes.{name}: pack on {resources.nodes} nodes: with {self.scheduler.name} sodiate starts "
                    "calculations on a job's first node alone; write 'nodes: 1'."
                )
            if 2 * self.signal_s > resources.wall_time_s:
                raise ValueError(
                    f"classes.{name}: calculations are ended signal_s ({self.signal_s} s) before the wall time of "
                    f"{resources.wall_time}; make that longer, or signal_s at most half of it."
                )
        return self

    def kinds(self, name: str) -> tuple[str, ...]:
        """Return the kinds of calculations of a class."""
        kinds = self.resources(name).kinds
        if kinds != "rest":
            return kinds
        listed_kinds = {
            k for resources in self.classes.values() if resources.kinds != "rest" for k in resources.kinds
        }
        return tuple(kind for kind in KINDS if kind not in listed_kinds)

    def class_of(self, kind: str) -> str:
        """Return the class of a kind of calculations; each has one."""
        return next(name for name in self.classes if kind in self.kinds(name))

    def environment(self, name: str) -> dict[str, Any]:
        """Return the settings of the codes in jobs of a class."""
        return {
            key: value
            for environment in (self.env, self.resources(name).env)
            for key, value in environment.model_dump(exclude_none=True).items()
        }

    def resources(self, name: str) -> ResourceClass:
        """Return a class.

        Raises
        ------
        InputError
            If no class has this name.
        """
        if name not in self.classes:
            raise InputError(f"the cluster has no class {name!r}{nearest(name, self.classes)}.")
        return self.classes[name]

    def refuse_undivided(self, plan: Plan) -> None:
        """Raise `InputError` for a calculation whose parts do not divide the tasks that its class gives it."""
        for calculation in plan.calculations:
            name = self.class_of(calculation.kind)
            settings = Settings(execution=plan.execution(calculation))
            parts = make_engine(calculation.engine, settings).demand(calculation).divided_by
            tasks = self.resources(name).share.tasks
            if tasks % parts:
                raise InputError(
                    f"classes.{name}: {calculation.label} runs in {parts} parts side by side, which do not divide "
                    f"{tasks} tasks; give the class a multiple of {parts}."
                )


def load_cluster(path: Path) -> ClusterFile:
    """Read a cluster file, or a bundled one by its name; ``base`` names one of which it changes some keys.

    Raises
    ------
    InputError
        If it is missing or invalid.
    """
    bundled = {file.stem: file for file in (CONFIGS / "clusters").glob("*.yaml")}
    if not path.exists():
        path = bundled.get(path.name, path)
    return validate(ClusterFile, load_based(path, "cluster", bundled, _merged), f"cluster {path}")


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a cluster with changes: maps merge, and a class that is null is taken out."""
    values = dict(base)
    for key, change in changes.items():
        old = values.get(key)
        values[key] = _merged(old, change) if isinstance(old, Mapping) and isinstance(change, Mapping) else change
    classes = values.get("classes")
    if isinstance(classes, Mapping):
        values["classes"] = {name: resources for name, resources in classes.items() if resources is not None}
    return values
