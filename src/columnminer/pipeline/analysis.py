"""An analysis from its file to its report: read, checked, planned and run, stage by stage."""

from __future__ import annotations

import logging
import time
from functools import partial
from pathlib import Path

from columnminer.documents import read_document
from columnminer.pipeline.build import build_ingredients
from columnminer.pipeline.configuration import AnalysisConfig
from columnminer.pipeline.plan import Plan
from columnminer.pipeline.reporting import Results, load_results, report
from columnminer.pipeline.stages import Stage, Workspace
from columnminer.pipeline.steps import Running

__all__ = ["Analysis"]

_log = logging.getLogger(__name__)


class Analysis:
    """An analysis file that has been found right.

    Parameters
    ----------
    path
        YAML file; paths in it are relative to its folder.
    out
        Output folder.
    running
        Where work runs.

    Attributes
    ----------
    stages : list of Stage
        In the order in which they run; the last one writes the report.
    workspace : Workspace
        Their outputs.

    Raises
    ------
    InputError
        If the file, or something that it describes, is not right; the message says where.
    OutputExistsError
        If the output folder holds something else.
    """

    def __init__(self, path: Path | str, out: Path | str, running: Running | None = None) -> None:
        path = Path(path)
        self.config = read_document(path, AnalysisConfig)
        parts = build_ingredients(self.config, path.parent, str(path))
        self.workspace = Workspace(out)
        self.stages = Plan(self.config, parts, self.workspace.folder, running or Running()).stages
        title = self.config.report.title or path.stem
        options = {"title": title, "analysis": self.config.model_dump(mode="json")}
        make = partial(report, results=self._results, title=title, config=self.config)
        self.stages.append(Stage("report", "write the report", make, options, tuple(self.stages)))

    @property
    def report(self) -> Path:
        """Where the report is, or will be."""
        return self.workspace.path(self.stages[-1]) / "report.html"

    def run(self) -> Results:
        """Run the stages that are not done, and return the results.

        Raises
        ------
        ColumnMinerError
            If a stage cannot be done; those before it are kept.
        """
        with self.workspace.alone():
            for number, stage in enumerate(self.stages, start=1):
                place = f"[{number}/{len(self.stages)}] {stage.name}"
                if self.workspace.is_done(stage):
                    _log.info("%s: kept", place)
                    continue
                _log.info("%s: %s", place, stage.title)
                start = time.monotonic()
                self.workspace.run(stage)
                _log.info("%s: done in %.1f s", place, time.monotonic() - start)
        return self._results()

    def _results(self) -> Results:
        return load_results(self.workspace.folder, [stage.name for stage in self.stages])
